# shellcheck shell=bash
# Declares systemd's units: installed, enabled and started. Sourced after common.sh.

# The declared drop-ins of each unit.
declare -A drop_ins=()

# reload_units: makes systemd read the units and drop-ins that were written.
reload_units() {
  pending systemd || return 0
  systemctl daemon-reload
  settled systemd
}

# put_unit NAME: installs a unit whose file is in the script's folder, enables and starts it.
put_unit() {
  put_file 0644 "/etc/systemd/system/$1" systemd < "${0%/*}/$1"
  start_unit "$1" /etc/systemd/system
}

# guard_unit NAME MOUNTPOINT: lets a unit start only if the data volume is mounted and the data is on it.
guard_unit() {
  local drop_in
  drop_in=$(< "${BASH_SOURCE[0]%/*}/requires-volume.conf")
  put_drop_in "$1" convex-volume.conf <<< "${drop_in//@MOUNTPOINT@/$2}"
}

# restart_unit NAME: makes systemd restart a unit that was killed.
restart_unit() { put_drop_in "$1" convex-restarts.conf < "${BASH_SOURCE[0]%/*}/restarts.conf"; }

# put_drop_in UNIT NAME <CONTENT
put_drop_in() {
  local path=/etc/systemd/system/$1.d/$2
  drop_ins[$1]+=${drop_ins[$1]:+$'\n'}$path
  put_file 0644 "$path" systemd
}

# start NAME: starts a unit, even if it has failed often before.
start() {
  systemctl reset-failed "$1" 2> /dev/null || true
  systemctl start "$1"
}

# start_unit NAME [FOLDER]: enables and starts a unit whose file is in FOLDER (default: the folder of packages' units).
start_unit() {
  enable_unit "$1"
  load_unit "$@"
  if differs "units.$1 active" active "$(systemctl is-active "$1")"; then
    start "$1" || fail "$1: does not start. See: journalctl -u $1"
    changed "started $1"
  fi
}

# enable_unit NAME: makes a unit start at boot.
enable_unit() {
  reload_units
  differs "units.$1 enabled" enabled "$(systemctl is-enabled "$1" 2> /dev/null)" || return 0
  systemctl unmask --quiet "$1"
  systemctl enable --quiet "$1"
  changed "enabled $1"
}

# load_unit NAME [FOLDER]: makes systemd load the unit's current file. If somebody has overridden the unit or added drop-ins,
# there may be a reason: the script reports them and does not change them.
load_unit() {
  local name=$1 template=${1/@*./@.} folder=${2:-/usr/lib/systemd/system} key value
  local -A state=()
  while IFS='=' read -r key value; do state[$key]=$value; done \
    < <(systemctl show --property FragmentPath,DropInPaths,NeedDaemonReload "$name")
  if differs "units.$name needs-reload" no "${state[NeedDaemonReload]}"; then
    systemctl daemon-reload
    changed "read $name again"
  fi
  if checking; then
    differs "units.$name file" "$folder/$template" "${state[FragmentPath]}" || true
    # The distribution's own drop-ins are below /usr.
    differs "units.$name drop-ins" "${drop_ins[$template]:-}" "$(tr ' ' '\n' <<< "${state[DropInPaths]}" | grep -v ^/usr/ | sort)" || true
  fi
}

# forget_scripts NAMES: removes scripts of an earlier release that this one does not have. Call it after the last unit that may
# name one of them was written. Removes nothing unless all of NAMES are there: a run that copied no scripts has the old ones.
forget_scripts() {
  if checking; then return; fi
  local folder=/usr/local/lib/convex-droplet file
  while read -r file; do [[ -f $folder/$file ]] || return 0; done <<< "$1"
  while IFS= read -rd '' file; do
    if rm -f -- "$folder/$file"; then changed "removed $file, which is not one of the scripts any more"; fi
  done < <(find "$folder" -type f -printf '%P\0' | grep -zFxv --file <(printf '%s\n' "$1"))
  find "$folder" -mindepth 1 -type d -empty -delete
}
