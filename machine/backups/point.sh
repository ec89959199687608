#!/usr/bin/env bash
# Makes a restore point: a moment of database and files that belong together, in the repository. A timer runs it every minute.
#
# The database's point comes first, the files after it. Convex writes a file before the row that names it, and never changes
# or removes one that a row names. So these files contain everything that the database names at the point.
#
#   point.sh [now]  with `now`: also if one is being made at the moment
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/jobs.sh"

readonly ARCHIVE_SECONDS=200

main() {
  local point wal swapped saved
  open_repository
  one_at_a_time point "${1:-}"
  point=convex-$(date --utc +%Y%m%dT%H%M%SZ)
  wal=$(make_point "$point") || fail "PostgreSQL: does not answer. See: journalctl -u 'postgresql@*'"
  await_archive "$wal" || fail "restore point: was not made, because PostgreSQL's log did not reach the bucket within $ARCHIVE_SECONDS s. $(archive_failure)"
  if [[ -e $(data_directory)/convex-archive-gap ]]; then
    systemctl start --no-block convex-base-backup.service
    fail "restore point: was not made, because a part of PostgreSQL's log was dropped, as it could not be archived fast enough. A new backup has been started, and the next point will follow it"
  fi
  # When other files took the place of these, if they did; see move-in.sh.
  swapped=$(cat "$MOUNTPOINT/backups/swapped" 2> /dev/null) || true
  # A file that is being uploaded has another name, with a dot.
  saved=$(attempt "restore point, the files" restic backup --json --quiet --retry-lock 10m --host "$STANZA" --group-by host --tag "point=$point" ${swapped:+--tag "swapped=$swapped"} --exclude "$MOUNTPOINT/data/tmp" \
    --exclude "$MOUNTPOINT/data/storage/*/.*" "$MOUNTPOINT/data" "$(mark_of "$MOUNTPOINT")") || give_up "$point"
  record point "$(jq -c --arg point "$point" 'select(.message_type == "summary")
    | {point: $point, snapshot: .snapshot_id[:8], files: .total_files_processed, bytes: .total_bytes_processed, added: (.data_added_packed // .data_added)}' <<< "$saved")"
  say "$point, $(jq -r '"\(.files) files, \(.added) bytes of them new"' "$MOUNTPOINT/backups/point.json")"
}

# give_up NAME: removes a snapshot that is not complete, and fails.
give_up() {
  restic snapshots --json --host "$STANZA" --tag "point=$1" 2> /dev/null | jq -r '.[].id' | xargs --no-run-if-empty restic forget > /dev/null 2>&1 || true
  exit 1
}

# make_point NAME: prints the file of PostgreSQL's log that contains it. The transaction is a commit after the point: without one,
# no moment close to the point can be restored.
make_point() {
  sql "" << EOF | grep .
SELECT FROM pg_create_restore_point('$1');
SELECT FROM pg_current_xact_id();
SELECT pg_walfile_name(pg_switch_wal());
EOF
}

# await_archive WAL: in the server, because a connection for each look would cost more than the look.
await_archive() {
  sql "" << EOF > /dev/null
DO \$\$
BEGIN
  FOR look IN 1..$((ARCHIVE_SECONDS * 5)) LOOP
    IF EXISTS (SELECT FROM pg_ls_archive_statusdir() WHERE name = '$1.done') THEN RETURN; END IF;
    PERFORM pg_sleep(0.2);
  END LOOP;
  RAISE 'not archived';
END
\$\$
EOF
}

main "$@"
