# shellcheck shell=bash
# Checks that the data is on the volume and still there. Sourced after common.sh.
#
# A mounted volume is not enough: another mount or a link below it can lead writes elsewhere, and they are lost with the droplet.
# An existing folder is not enough either, because a backend or an initdb creates an empty one. So the first accepted start
# writes a mark to the volume, and the same mark to the backend's files.

# elsewhere MOUNTPOINT: lists data that is not on the volume itself, on each line: path, tab, what it is.
elsewhere() {
  local mountpoint=$1 mounts path source
  mounts=$(findmnt --noheadings --raw --output TARGET,SOURCE) || return
  while read -r path source; do
    case $path in
      "$mountpoint"/data | "$mountpoint"/data/* | "$mountpoint"/postgresql | "$mountpoint"/postgresql/*)
        printf '%s\ta mount of %s\n' "$path" "$source"
        ;;
    esac
  done <<< "$mounts"
  # Only as deep as programs create their folders. Below are users' files, and tablespaces, which somebody made on purpose.
  {
    find "$mountpoint/data" "$mountpoint/postgresql" -maxdepth 2 -type l -printf '%p\ta link to %l\n'
    find "$mountpoint"/postgresql/*/*/ -maxdepth 1 -type l -printf '%p\ta link to %l\n'
  } 2> /dev/null || true
}

# require_on_volume MOUNTPOINT: fails if data is elsewhere; in check mode, it prints the difference.
require_on_volume() {
  local found path what
  found=$(elsewhere "$1") || fail "$1: the mounts below it cannot be listed. See: findmnt"
  [[ -n $found ]] || return 0
  while IFS=$'\t' read -r path what; do
    if differs "volume.on[$path]" "on the volume itself" "$what"; then
      fail "$path: is $what, it should be on the volume itself, because data elsewhere is lost with the droplet." \
        "Copy what you need from it, stop what uses it, and remove it; $(npm_command drift) prints the commands"
    fi
  done <<< "$found"
}

# mark_of MOUNTPOINT, marked_files MOUNTPOINT: the mark on the volume, and the one in the backend's files.
mark_of() { echo "$1/instance"; }
marked_files() { echo "$1/data/storage/.instance"; }

# lost_files MOUNTPOINT: whether the instance that was accepted here has other files now, or none.
lost_files() { [[ -e $(mark_of "$1") ]] && ! cmp -s "$(mark_of "$1")" "$(marked_files "$1")"; }

# mark MOUNTPOINT: writes the mark of a first accepted start.
mark() {
  local mountpoint=$1 id
  [[ ! -e $(mark_of "$mountpoint") ]] || return 0
  read -r id < /proc/sys/kernel/random/uuid
  # In the files first: if a run is killed between the two, the next run writes both again.
  put_file 0600 "$(marked_files "$mountpoint")" <<< "$id"
  put_file 0600 "$(mark_of "$mountpoint")" <<< "$id"
}
