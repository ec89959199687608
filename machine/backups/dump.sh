#!/usr/bin/env bash
# Makes a restore point of an instance with a managed database: a dump of each of its databases, and its files, in the repository. A timer
# runs it every hour. Nothing of a dump is on the disk: pg_dump's output goes into restic.
#
# The dumps come first, each of one moment, the files after them, those in buckets before those on the volume. Convex writes a file before the row that names it, and never changes or
# removes one that a row names. So these files contain everything that the dump names. The snapshot of the files makes the point: without
# it, dumps belong to a run that was killed or has failed, and the next one removes them.
#
#   dump.sh [now]  with `now`: also if one is being made at the moment
set -euo pipefail
export CONVEX_DROPLET_LIMIT_SECONDS=${CONVEX_DROPLET_LIMIT_SECONDS:-43200}
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/jobs.sh"

main() {
  local point database saved started=$SECONDS bytes=0
  open_repository
  # What has replaced database and files waits for the same lock.
  one_at_a_time point "${1:-}"
  # Removes only the locks of processes that are gone.
  restic unlock --quiet 2> /dev/null || true
  point=convex-$(date --utc +%Y%m%dT%H%M%SZ)
  for database in ${DUMPED:?}; do dump "$database" "$point"; done
  if [[ -e $BUCKETS ]]; then bash "$here/objects.sh" copy now || fail "restore point: was not made, because the files in buckets could not be saved, see above"; fi
  # A file that is being uploaded has another name, with a dot.
  saved=$(attempt "restore point, the files" restic backup --json --quiet --retry-lock 10m --host "$STANZA" --tag "point=$point,dumped" \
    --exclude "$MOUNTPOINT/data/tmp" --exclude "$MOUNTPOINT/data/storage/*/.*" "$MOUNTPOINT/data" "$(mark_of "$MOUNTPOINT")") || exit 1
  record point "$(jq -c --arg point "$point" --argjson bytes "$bytes" --argjson seconds "$((SECONDS - started))" 'select(.message_type == "summary")
    | {point: $point, snapshot: .snapshot_id[:8], files: .total_files_processed, bytes: .total_bytes_processed, dumps: $bytes, seconds: $seconds}' <<< "$saved")"
  say "$point, $(jq -r '"\(.dumps) bytes of dumps, \(.files) files"' "$MOUNTPOINT/backups/point.json")"
  thin_out
}

# dump DATABASE POINT: adds its size to `bytes`. If pg_dump fails, restic does, too, for want of input, and the other way round; only the cause
# is shown.
dump() {
  local name=$1 log said ended=0 added
  log=$(mktemp) said=$(mktemp)
  # restic compresses, and finds what is unchanged only in what is not compressed.
  added=$(
    set +e
    PGDATABASE=$name as_administrator pg_dump --format=custom --compress=0 --no-password 2> "$log" \
      | attempt "the dump of database $name" restic backup --json --quiet --retry-lock 10m --host "$STANZA" --tag "of=$2" --stdin --stdin-filename "$name.dump" 2> "$said"
    statuses=("${PIPESTATUS[@]}")
    # Without a reader, a signal ends pg_dump, or it says so.
    if ((statuses[0] > 0 && statuses[0] != 141)) && ! grep -q "Broken pipe" "$log"; then exit 1; fi
    exit $((statuses[1] > 0 || statuses[0] > 0 ? 2 : 0))
  ) || ended=$?
  if ((ended == 1)); then
    tail -n 15 "$log" >&2
    say "error: the dump of database $name: failed. $(explain_dump < "$log")"
  else
    cat "$said" >&2
  fi
  rm "$log" "$said"
  ((ended == 0)) || exit 1
  bytes=$((bytes + $(jq -s 'map(select(.message_type == "summary").total_bytes_processed) | add // 0' <<< "$added")))
}

# explain_dump <LOG: the cause and the fix of a failure of pg_dump.
explain_dump() {
  local log
  log=$(cat)
  case $log in
    *"server version mismatch"*)
      echo "The cluster has a newer version of PostgreSQL than the droplet's client. Use a droplet image that has that version; until then, the cluster's own backups are the only ones"
      ;;
    *"permission denied"*)
      echo "The cluster's administrator may not read all of it. Run $(pulumi_command up --replace "'**convex-database-client'"), then see who owns what it names"
      ;;
    *"does not exist"*) echo "It is not in the cluster. Make it again, empty, with: $(pulumi_command up --refresh --run-program)" ;;
    *) echo "See whether the cluster is online, and admits this droplet: $(npm_command doctor)" ;;
  esac
}

# thin_out: once a day, removes restore points that are older than the retention, and dumps without their point. Of what a restore has replaced,
# the last point stays as long as everything else.
thin_out() {
  local done=$MOUNTPOINT/backups/thinned
  [[ -z $(find "$done" -mmin -1380 2> /dev/null) ]] || return 0
  say "removing what is older than $BACKUP_DAYS days"
  attempt "restore point: was made, but old ones were not removed; that" forget_points || exit 1
  touch "$done"
}

forget_points() {
  local listed old first forget=(restic forget --quiet --retry-lock 10m)
  first=$(date --utc --date="$BACKUP_DAYS days ago" +%FT%T)
  old=$(restic snapshots --json --no-lock --host "$STANZA" --tag dumped,undone | jq -r --arg first "$first" '.[] | select(.time < $first) | .id') || return
  xargs --no-run-if-empty "${forget[@]}" <<< "$old" || return
  "${forget[@]}" --host "$STANZA" --tag dumped --group-by host --keep-last 12 --keep-within-hourly 2d --keep-within-daily "${BACKUP_DAYS}d" --keep-tag undone || return
  listed=$(restic snapshots --json --no-lock --host "$STANZA") || return
  # Of each dump, whether its point is still there.
  jq -r '[.[] | select(.tags // [] | index("dumped")) | .tags[] | select(startswith("point=")) | ltrimstr("point=")] as $points
    | .[] | select((.tags // [] | map(select(startswith("of=")) | ltrimstr("of="))) as $of | ($of | length > 0) and ($of - $points | length > 0)) | .id' <<< "$listed" \
    | xargs --no-run-if-empty "${forget[@]}" || return
  restic prune --quiet --retry-lock 10m
}

main "$@"
