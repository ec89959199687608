# shellcheck shell=bash
# That the data is on the volume and still there. Sourced after common.sh.
#
# A mount point proves nothing of what is below it: another mount, or a link, leads writes elsewhere, and they are gone with
# the droplet. And a folder that is there proves nothing of what was in it: a backend, or an initdb, makes an empty one. So the
# first start that is accepted leaves a mark on the volume and the same one among the backend's files.

# declared NAME: VOLUME or MOUNTPOINT, as host.sh has written them.
declared() { sed -n "s/^$1=//p" /etc/convex-droplet/volume.env; }

# elsewhere MOUNTPOINT: what of the data is not on the volume itself; a line each: its path, a tab, what it is.
elsewhere() {
  local mountpoint=$1 mounts path source
  mounts=$(findmnt --noheadings --raw --output TARGET,SOURCE) || return
  while read -r path source; do
    case $path in
      "$mountpoint"/data | "$mountpoint"/data/* | "$mountpoint"/postgresql | "$mountpoint"/postgresql/*)
        printf '%s\ta mount of its own, of %s\n' "$path" "$source"
        ;;
    esac
  done <<< "$mounts"
  # As deep as programs make their folders: below are users' files, and tablespaces, which are somebody's decision.
  {
    find "$mountpoint/data" "$mountpoint/postgresql" -maxdepth 2 -type l -printf '%p\ta link to %l\n'
    find "$mountpoint"/postgresql/*/*/ -maxdepth 1 -type l -printf '%p\ta link to %l\n'
  } 2> /dev/null || true
}

# require_on_volume MOUNTPOINT: fails where data is elsewhere; where a script only looks, that is told.
require_on_volume() {
  local found path what
  found=$(elsewhere "$1") || fail "$1: what is mounted below it cannot be found out. Look at: findmnt"
  [[ -n $found ]] || return 0
  while IFS=$'\t' read -r path what; do
    if differs "volume.on[$path]" "on the volume itself" "$what"; then
      fail "$path: is $what, it should be on the volume itself, or what is written there is lost with the droplet." \
        "Keep what is wanted of it and take it away, while nothing uses it; npm run drift says how"
    fi
  done <<< "$found"
}

# mark_of MOUNTPOINT, marked_files MOUNTPOINT: the mark on the volume, and the one among the files.
mark_of() { echo "$1/instance"; }
marked_files() { echo "$1/data/storage/.instance"; }

# lost_files MOUNTPOINT: whether the instance that was accepted here has other files now, or none.
lost_files() { [[ -e $(mark_of "$1") ]] && ! cmp -s "$(mark_of "$1")" "$(marked_files "$1")"; }

# mark MOUNTPOINT: leaves the mark of a first accepted start.
mark() {
  local mountpoint=$1 id
  [[ ! -e $(mark_of "$mountpoint") ]] || return 0
  read -r id < /proc/sys/kernel/random/uuid
  # Among the files first: one without the other is no mark yet, and made again.
  put_file 0600 "$(marked_files "$mountpoint")" <<< "$id"
  put_file 0600 "$(mark_of "$mountpoint")" <<< "$id"
}
