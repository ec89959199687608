#!/usr/bin/env bash
# Prints what can be restored, as one JSON object: stanza (this volume's part of the bucket), bucket, info (pgBackRest's, of all
# stanzas), snapshots (restic's), dumped (whether the database is managed, so that there are only dumps, and info is empty), and drill (the report of the last one; null if there was none).
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/jobs.sh"

main() {
  local folder
  open_repository
  folder=$(mktemp -d)
  # shellcheck disable=SC2064 # the name as it is now
  trap "rm -r '$folder'" EXIT
  if is_managed; then echo "[]" > "$folder/info"; else repository_info > "$folder/info" || exit 1; fi
  attempt "the restore points" timeout 60 restic snapshots --json --no-lock > "$folder/snapshots" || exit 1
  cat "$MOUNTPOINT/backups/drill.json" > "$folder/drill" 2> /dev/null || echo null > "$folder/drill"
  jq -nc --arg stanza "$STANZA" --arg bucket "$RESTIC_REPOSITORY" --slurpfile info "$folder/info" --slurpfile snapshots "$folder/snapshots" \
    --slurpfile drill "$folder/drill" --argjson dumped "$(either true false is_managed)" \
    '{$stanza, $dumped, bucket: ($bucket | ltrimstr("s3:") | rtrimstr("/files")), info: $info[0], snapshots: $snapshots[0], drill: $drill[0]}'
}

main "$@"
