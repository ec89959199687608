#!/usr/bin/env bash
# The files of a backend that keeps them in buckets, in the repository. The buckets are mounted, read-only, where only this script sees them,
# and restic saves them like folders. So it reads only what is new: Convex never changes an object.
#
#   objects.sh copy [now]   saves what is new. A timer runs it every hour, or dump.sh with a managed database; with `now`: also if one is
#                           being saved at the moment
#   objects.sh compare PREFIX < rows of stored files   compares the newest copy with the rows: name and size of all, the content of some;
#                           prints what blobs.py prints
#   objects.sh put          puts back what is missing in the buckets, and stored files of another size than their rows say, from the newest
#                           copy that has it. Changes nothing else that is there
set -euo pipefail
# The mounts end with the script, however it ends.
if [[ -z ${CONVEX_DROPLET_OBJECTS:-} ]]; then CONVEX_DROPLET_OBJECTS=1 exec unshare --mount --propagation private bash "$0" "$@"; fi
export CONVEX_DROPLET_LIMIT_SECONDS=${CONVEX_DROPLET_LIMIT_SECONDS:-43200}
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/jobs.sh"

# Where the buckets are, and the copies of them. And the folders for the buckets, in the order of settings/file-storage.ts: the buckets may
# get other names.
readonly VIEW=/run/convex-droplet-objects COPIES=/run/convex-droplet-copies USES=(exports files modules search snapshot-imports)

main() {
  local verb=${1:-}
  open_repository
  open_store
  case $verb in
    copy | compare | put) "$verb" "${@:2}" ;;
    *) fail "$verb: is not known, it should be copy, compare or put" ;;
  esac
}

# open_store: exports what rclone needs. Its own file of settings could be a person's.
open_store() {
  local name value index=0 upstreams=
  local -A place=()
  while IFS='=' read -r name value; do place[$name]=$value; done < "$BUCKETS"
  for name in ${place[buckets]}; do
    upstreams+=" ${USES[index]}=store:$name"
    index=$((index + 1))
  done
  export RCLONE_CONFIG=/dev/null RCLONE_CONTIMEOUT=20s RCLONE_TIMEOUT=60s RCLONE_LOW_LEVEL_RETRIES=3 RCLONE_RETRIES=1
  export RCLONE_CONFIG_STORE_TYPE=s3 RCLONE_CONFIG_STORE_PROVIDER=Other RCLONE_CONFIG_STORE_FORCE_PATH_STYLE=true RCLONE_CONFIG_STORE_LIST_VERSION=2
  export RCLONE_CONFIG_STORE_ENDPOINT=${place[endpoint]} RCLONE_CONFIG_STORE_REGION=${place[region]} RCLONE_CONFIG_STORE_NO_CHECK_BUCKET=true
  export RCLONE_CONFIG_STORE_ACCESS_KEY_ID=${place[key]} RCLONE_CONFIG_STORE_SECRET_ACCESS_KEY=${place[key_secret]}
  export RCLONE_CONFIG_ALL_TYPE=combine RCLONE_CONFIG_ALL_UPSTREAMS=${upstreams# }
}

# mount_at FOLDER WHAT COMMAND...: mounts something by a program that goes on, and ends with this script.
mount_at() {
  local folder=$1 what=$2 log
  install -d -m 0700 "$folder"
  log=$(mktemp)
  setpriv --pdeathsig KILL "${@:3}" > "$log" 2>&1 &
  # shellcheck disable=SC2064 # the process as it is now
  trap "kill $! 2> /dev/null || true; rm -f '$log'" EXIT
  until mountpoint -q "$folder"; do
    if ! kill -0 $! 2> /dev/null; then
      tail -n 15 "$log" >&2
      fail "$what: cannot be mounted. $(explain < "$log")"
    fi
    sleep 0.2
  done
}

copy() {
  local stamp saved
  one_at_a_time objects "${1:-}"
  stamp=$(date --utc +%Y%m%dT%H%M%SZ)
  # With `mount`, reading extended attributes fails, and restic takes that for a damaged file.
  mount_at "$VIEW" "the buckets" rclone mount2 all: "$VIEW" --read-only --use-server-modtime --dir-cache-time 24h --poll-interval 0 --attr-timeout 1h --buffer-size 1M --log-level ERROR
  # Numbers and times of a mount mean nothing. An object is known by its name, size and time.
  saved=$(attempt "the copy of the buckets" restic backup --json --quiet --retry-lock 10m --host "$STANZA-objects" --tag "objects,copy=$stamp" \
    --ignore-inode --ignore-ctime --exclude 'convex-droplet-probe-*' "$VIEW") || give_up "$stamp"
  record objects "$(jq -c 'select(.message_type == "summary") | {snapshot: .snapshot_id[:8], files: .total_files_processed, bytes: .total_bytes_processed, added: (.data_added_packed // .data_added)}' <<< "$saved")"
  say "$(jq -r '"\(.files) objects, \(.added) bytes of them new"' "$MOUNTPOINT/backups/objects.json")"
  thin_out
}

# give_up STAMP: removes a copy that is not complete, and fails.
give_up() {
  restic snapshots --json --host "$STANZA-objects" --tag "copy=$1" 2> /dev/null | jq -r '.[].id' | xargs --no-run-if-empty restic forget > /dev/null 2>&1 || true
  exit 1
}

# thin_out: once a day, as base.sh does it with restore points.
thin_out() {
  local thinned=$MOUNTPOINT/backups/thinned-objects
  [[ -z $(find "$thinned" -mmin -1380 2> /dev/null) ]] || return 0
  attempt "the copy of the buckets: was made, but old ones were not removed; that" restic forget --quiet --retry-lock 10m --host "$STANZA-objects" --group-by host \
    --keep-last 12 --keep-within-hourly 2d --keep-within-daily "${BACKUP_DAYS}d" --prune || exit 1
  touch "$thinned"
}

# copies: all copies, also those of earlier volumes, the newest first.
copies() { attempt "the copies of the buckets" timeout 60 restic snapshots --json --no-lock --tag objects | jq -r 'sort_by(.time) | reverse | .[].id'; }

compare() {
  local newest
  newest=$(copies) || exit 1
  newest=${newest%%$'\n'*}
  [[ -n $newest ]] || fail "the copies of the buckets: there is none yet. Make one with: $(npm_command backup) now"
  python3 -IS "$here/blobs.py" "$newest" "$VIEW/files" "$1"
}

# put: uses all copies, because only stored files have rows that say what is missing.
put() {
  local ids id use folder rows wrong damaged prefix size key added put=0 lists index=0 names name
  local -A bucket=()
  prefix=$(prefix_in in_database "$DATABASE") || fail "database $DATABASE: does not answer. See: $(npm_command doctor)"
  rows=$(stored_rows in_database "$DATABASE") || fail "database $DATABASE: the rows of the stored files cannot be read. See: $(npm_command doctor)"
  wrong=$(problems "$prefix" <<< "$rows") || exit 1
  damaged=$(damaged_in <<< "$wrong")
  ids=$(copies) || exit 1
  lists=$(mktemp -d)
  names=$(sed -n 's/^buckets=//p' "$BUCKETS")
  for name in $names; do
    use=${USES[index]} index=$((index + 1))
    bucket[$use]=$name
    attempt "bucket $name" rclone lsf --recursive --files-only "store:$name" > "$lists/unsorted" || exit 1
    LC_ALL=C sort "$lists/unsorted" > "$lists/$use"
  done
  mount_at "$COPIES" "the repository" restic mount --quiet --no-lock "$COPIES"
  for id in $ids; do
    folder=$COPIES/ids/${id:0:8}$VIEW
    for use in "${USES[@]}"; do
      [[ -d $folder/$use ]] || continue
      added=$(put_back "$folder/$use" "${bucket[$use]}" "$lists/$use") || exit 1
      put=$((put + added))
    done
    while read -r size key; do
      if [[ -n $key && $(stat --format %s "$folder/files/$prefix$key" 2> /dev/null) == "$size" ]]; then
        attempt "object $prefix$key" rclone copyto --ignore-times "$folder/files/$prefix$key" "store:${bucket[files]}/$prefix$key" || exit 1
        say "object $prefix$key: had another size than its row says, and was replaced"
        put=$((put + 1)) damaged=$(grep -Fvx "$size $key" <<< "$damaged" || true)
      fi
    done <<< "$damaged"
  done
  rm -r "$lists"
  say "put back $put objects"
  wrong=$(problems "$prefix" <<< "$rows") || exit 1
  [[ -z $wrong ]] || fail "the buckets: not all stored files could be put back, because no copy has them as they were stored: $(tr '\n' ';' <<< "$wrong" | cut -c 1-500)"
}

# put_back FOLDER BUCKET LIST: puts what the bucket does not have into it, and into the list of what it has. Prints how many objects.
put_back() {
  local log missing
  log=$(mktemp) missing=$(mktemp)
  find "$1" -type f -printf '%P\n' | LC_ALL=C sort | LC_ALL=C comm -23 - "$3" > "$missing" || fail "a copy of bucket $2: cannot be read. Run the same command again"
  if [[ -s $missing ]]; then
    rclone copy "$1" "store:$2" --files-from-raw "$missing" --no-traverse --ignore-existing --transfers 4 > "$log" 2>&1 || {
      tail -n 5 "$log" >&2
      fail "bucket $2: what is missing cannot be put back, see above. Run the same command again"
    }
    LC_ALL=C sort --merge --output "$3" "$3" "$missing"
  fi
  wc -l < "$missing"
  rm "$log" "$missing"
}

# problems PREFIX <ROWS: each of these stored files that the bucket does not have as its row says, on a line.
problems() { python3 -IS "$here/blobs.py" --all "$BUCKETS" "$1" | head -n -1; }

# damaged_in <PROBLEMS: of those with another size, the size in the row and the key.
damaged_in() { sed -nE 's/^file ([^:]*): has .*, its row says ([0-9]+)$/\2 \1/p'; }

main "$@"
