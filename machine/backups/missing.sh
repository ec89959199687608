#!/usr/bin/env bash
# Puts back stored files that rows name and that are not there any more: in buckets, or on a new volume beside a managed database, which still
# has all rows. Takes them from the newest restore points that have them, and changes nothing that is there. The instance goes on meanwhile.
set -euo pipefail
export CONVEX_DROPLET_LIMIT_SECONDS=${CONVEX_DROPLET_LIMIT_SECONDS:-43200}
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/jobs.sh"
# shellcheck source=machine/backups/beside.sh
source "$here/beside.sh"

main() {
  local prefix
  open_repository
  prefix=$(prefix_in in_database "$DATABASE") || fail "database $DATABASE: does not answer. See: $(npm_command doctor)"
  if [[ -n $prefix ]]; then
    exec bash "$here/objects.sh" put
  elif is_managed; then
    alone
    put_on_volume
  else
    fail "the files are on the volume, and only database and files together can be restored. See what there is: $(npm_command backup) list; then: $(npm_command restore) --to latest"
  fi
}

put_on_volume() {
  local listed id data before missing files=$MOUNTPOINT/data/storage
  reach_files || exit 1
  listed=$(attempt "the restore points" restic snapshots --json --no-lock --tag dumped) || exit 1
  install -d -m 0755 "$files"
  before=$(count)
  missing=$(missing_files) || exit 1
  while [[ -n $missing ]] && read -r id data; do
    say "putting back the files of restore point ${id:0:8}"
    attempt "the files" gently restic restore --quiet --no-lock "$id:$data/storage" --target "$files" --overwrite never > /dev/null || exit 1
    missing=$(missing_files) || exit 1
  done < <(jq -r 'sort_by(.time) | reverse | .[] | "\(.id) \(.paths | map(select(endswith("/data")))[0])"' <<< "$listed")
  say "put back $(($(count) - before)) files"
  [[ -z $missing ]] || fail "the files: not all could be put back, because no restore point has them: $missing"
}

count() { find "$MOUNTPOINT/data/storage" -type f ! -name '.*' | wc -l; }

# missing_files: what is wrong with the stored files, in one line; nothing if they are complete.
missing_files() {
  local rows
  rows=$(stored_rows in_database "$DATABASE") && python3 -IS "$HELPERS/blobs.py" "$MOUNTPOINT/data/storage/files" <<< "$rows" | head -n -1 | tr '\n' ';' | cut -c 1-500
}

main
