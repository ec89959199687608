# shellcheck shell=bash
# What the scripts on the machine share. Sourced, never run: telling people what happens, waiting for a state, installing
# packages, writing files. Whatever is already as it should be is left alone; `changes` counts the rest.

changes=0

readonly PENDING=/run/convex-droplet LISTS_UPDATED=/run/convex-droplet-lists

# say TEXT...: tells a person, on stderr; stdout is for data.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# changed TEXT...: tells what was done, and counts it.
changed() {
  changes=$((changes + 1))
  say "$@"
}

# fail TEXT...: ends the script with a sentence that names what is wrong and how to mend it.
fail() {
  say "error: $*"
  exit 1
}

# finish: the last word of a run.
finish() {
  if ((changes == 0)); then say "unchanged"; else say "done, $changes changed"; fi
}

# wait_until SECONDS WHAT COMMAND...: polls until the command succeeds, or fails naming what was awaited.
wait_until() {
  local seconds=$1 what=$2
  shift 2
  local deadline=$((SECONDS + seconds))
  until "$@"; do
    if ((SECONDS >= deadline)); then
      say "error: waited ${seconds} s for $what"
      return 1
    fi
    sleep 0.2
  done
}

# lock: waits for its turn. A run whose pulumi was killed may still be at work on the machine.
lock() {
  exec {run_lock}> /run/convex-droplet.lock
  flock --timeout 900 "$run_lock" || fail "another run is at work on this machine and has not ended for 15 minutes. Look at: lslocks"
}

# put_file MODE PATH [READER]: writes stdin to PATH atomically unless it is there already, and notes, until `settled READER`,
# that whoever reads the file has to be told.
put_file() {
  local mode=$1 path=$2 reader=${3:-} new=${2%/*}/.${2##*/}.new
  { mkdir -p "${path%/*}" && rm -f "$new" && (umask 077 && cat > "$new") && chmod "$mode" "$new"; } || fail "$path: cannot be written"
  if [[ -f $path && ! -L $path ]] && cmp -s "$new" "$path" && [[ $(stat -c '%a %U' "$path") == "${mode#0} root" ]]; then
    rm "$new"
    return
  fi
  # Before the file itself, or a run killed between the two would leave a reader that is never told. The notes are in
  # /run: a reboot tells all readers.
  if [[ -n $reader ]]; then install -D /dev/null "$PENDING/$reader"; fi
  mv "$new" "$path"
  changed "wrote $path"
}

# pending READER: whether files were written that READER has not been told of.
pending() { [[ -e $PENDING/$1 ]]; }

# settled READER: says that READER has been told.
settled() { rm -f "$PENDING/$1"; }

# reload_units: makes systemd read the units and drop-ins that were written.
reload_units() {
  pending systemd || return 0
  systemctl daemon-reload
  settled systemd
}

# start_unit NAME: enables a unit and starts it.
start_unit() {
  reload_units
  systemctl is-enabled --quiet "$1" || systemctl enable --quiet "$1"
  if ! systemctl is-active --quiet "$1"; then
    systemctl start "$1" || fail "$1: does not start. Look at: journalctl -u $1"
    changed "started $1"
  fi
}

# guard_unit NAME MOUNTPOINT: lets a unit start only when the data volume is mounted.
guard_unit() {
  local drop_in
  drop_in=$(< "${BASH_SOURCE[0]%/*}/files/requires-volume.conf")
  put_file 0644 "/etc/systemd/system/$1.d/convex-volume.conf" systemd <<< "${drop_in//@MOUNTPOINT@/$2}"
}

# install_packages NAME...: installs what is missing, without what is only recommended.
install_packages() {
  local package missing=()
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  say "installing ${missing[*]}"
  local log deadline=$((SECONDS + 300)) apt=(apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0)
  log=$(mktemp)
  # Ubuntu would restart services meanwhile.
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
  # A run that was killed may have left packages half configured.
  dpkg --configure -a > /dev/null 2>&1 < /dev/null || true
  until { update_lists "${apt[@]}" && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } > "$log" 2>&1 < /dev/null; do
    rm -f "$LISTS_UPDATED"
    # apt waits for dpkg's lock, but not for those of its lists and its cache, which a daily timer may hold.
    if ! grep -q "Could not get lock" "$log" || ((SECONDS >= deadline)); then
      tail -n 15 "$log" >&2
      rm "$log"
      fail "packages ${missing[*]}: could not be installed, apt's last lines are above. See that the droplet reaches its package mirror, then run pulumi up again"
    fi
    sleep 1
  done
  rm "$log"
  changed "installed ${missing[*]}"
}

# update_lists APT...: gets the lists of packages that there are, unless a script of the same run just has.
update_lists() {
  [[ -z $(find "$LISTS_UPDATED" -mmin -10 2> /dev/null) ]] || return 0
  "$@" update && install /dev/null "$LISTS_UPDATED"
}
