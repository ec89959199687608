# shellcheck shell=bash
# Puts a restored cluster and restored files in the place of the current ones, by renames. Sourced after common.sh and
# on-volume.sh, by restore.sh and by volume.sh, whose guard runs before every service that writes to the volume.
#
# The journal on the volume shows how far a restore has come, in lines name=value:
#
#   phase    prepare: the copies are being made · ready: they are complete · stop: services are being stopped · swap: the renames
#            have begun, so they have to be finished · start: services are being started
#   stamp    what the replaced folders are called after: NAME.before-STAMP
#   cluster  the cluster's folder
#   and what restore.sh needs to go on

declare -A journal=()

journal_of() { echo "$1/backups/restore.journal"; }

# read_journal MOUNTPOINT: into `journal`, which is empty if no restore has begun.
read_journal() {
  local name value
  journal=()
  [[ -e $(journal_of "$1") ]] || return 0
  while IFS='=' read -r name value; do journal[$name]=$value; done < "$(journal_of "$1")"
}

# write_journal MOUNTPOINT PHASE: writes `journal` with this phase, so that it is the old or the new one after a loss of power.
write_journal() {
  local path name
  path=$(journal_of "$1")
  journal[phase]=$2
  for name in "${!journal[@]}"; do printf '%s=%s\n' "$name" "${journal[$name]}"; done > "$path.new"
  sync "$path.new"
  mv "$path.new" "$path"
  sync "${path%/*}"
}

# finish_swap MOUNTPOINT: if a restore's renames have begun, does those that are missing. Several may run at once.
finish_swap() {
  local mountpoint=$1 swap_lock
  [[ -e $(journal_of "$mountpoint") ]] || return 0
  exec {swap_lock}> "$mountpoint/backups/swap.lock"
  flock "$swap_lock"
  read_journal "$mountpoint"
  if [[ ${journal[phase]} == swap ]]; then
    put_in_place "${journal[cluster]}" "${journal[stamp]}"
    put_in_place "$mountpoint/data" "${journal[stamp]}"
    mark_as_restored "$mountpoint"
    sync --file-system "$mountpoint"
    write_journal "$mountpoint" start
  fi
  exec {swap_lock}>&-
}

# put_in_place PATH STAMP [COPY]: replaces PATH by PATH.COPY (restored by default) and keeps it as PATH.before-STAMP.
put_in_place() {
  local path=$1 before=$1.before-$2 copy=$1.${3:-restored}
  [[ -e $copy ]] || return 0
  # A new volume has an empty one.
  rmdir "$path" 2> /dev/null || true
  if [[ -e $path ]]; then
    [[ ! -e $before ]] || fail "$path: was made again during a restore, it should not be there. Nothing was started. Move it away, then run the restore again"
    mv --no-target-directory "$path" "$before"
  fi
  mv --no-target-directory "$copy" "$path"
}

# mark_as_restored MOUNTPOINT: gives the volume the mark of the restored files.
mark_as_restored() {
  local from to
  from=$(marked_files "$1") to=$(mark_of "$1")
  if [[ -e $from ]]; then
    install -m 0600 "$from" "$to.new"
    mv --no-target-directory "$to.new" "$to"
  else
    rm -f "$to"
  fi
}
