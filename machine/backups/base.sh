#!/usr/bin/env bash
# Saves the whole database in the repository, once a week in full, on other days what has changed since then, and removes what is
# older than the retention. A timer runs it every night.
#
#   base.sh [now]  with `now`: also if there was one today; only what has changed since the last one
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/jobs.sh"

main() {
  local type started pace=()
  open_repository
  one_at_a_time base "${1:-}"
  started=$(mktemp)
  # shellcheck disable=SC2064 # the name as it is now
  trap "rm -f '$started'" EXIT
  # If the restore itself could not do it.
  follow_cluster || exit 1
  type=$(type_of_backup "${1:-}") || exit 1
  # Otherwise PostgreSQL spreads its checkpoint over some minutes, to disturb less.
  if [[ ${1:-} == now || $type == full ]]; then pace=(--start-fast); fi
  attempt "backup" in_repository backup --type="$type" "${pace[@]}" || exit 1
  pass_gap "$started"
  # Removes only the locks of processes that are gone.
  restic unlock --quiet 2> /dev/null || true
  attempt "backup: was made, but old files were not removed; that" forget_points || exit 1
  record base "$(own_info | jq -c '.[0].backup[-1] | {label, type, bytes: .info.size, added: .info.repository.delta}')"
  say "$(jq -r '"\(.label), \(.bytes) bytes, \(.added) of them new"' "$MOUNTPOINT/backups/base.json")"
}

# type_of_backup [now]: full, diff or incr.
type_of_backup() {
  local listed
  listed=$(own_info) || return
  current_backups <<< "$listed" | jq -r --arg now "${1:-}" '[.[] | select(.type == "full") | .timestamp.stop] | max // 0
    | if . < (now - 6.5 * 86400) then "full" elif $now == "now" then "incr" else "diff" end'
}

# forget_points: thins out the restore points. Files are only added, so a later one contains those of an earlier one, except for what a
# restore, copy or move-in has replaced.
forget_points() {
  local old forget=(restic forget --quiet --retry-lock 10m)
  old=$(restic snapshots --json --no-lock --host "$STANZA" --tag undone \
    | jq -r --arg first "$(date --utc --date="$BACKUP_DAYS days ago" +%FT%T)" '.[] | select(.time < $first) | .id') || return
  xargs --no-run-if-empty "${forget[@]}" <<< "$old" || return
  "${forget[@]}" --host "$STANZA" --group-by host --keep-last 12 --keep-within-hourly 2d --keep-within-daily "${BACKUP_DAYS}d" --keep-tag undone --prune
}

# pass_gap STARTED: forgets a gap in PostgreSQL's log that is older than the file STARTED, because a backup now follows it.
pass_gap() {
  local gap
  gap=$(data_directory)/convex-archive-gap
  if [[ $gap -ot $1 ]]; then rm -f "$gap"; fi
}

main "$@"
