#!/usr/bin/env bash
# Puts back files that are not there any more: in buckets, or on a volume beside a managed database, which still has all rows. Also replaces
# stored files that are not as their rows say. Changes nothing else that is there. The instance goes on meanwhile.
#
# It uses all restore points, the newest first. No row names the files of functions and of searches in a form that could be checked here, and a
# point that was made after a loss has none of what was lost. Convex removes no files, so none comes back that should be gone.
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

# put_on_volume: restores into a folder beside the files, in which those that are there have another name, so they take no room and restic leaves
# them. So a kill leaves no incomplete file in the instance's place, and a file of a point can be compared with its row before.
put_on_volume() {
  local listed rows wrong point points id data added put=0 key damaged storage=$MOUNTPOINT/data/storage beside=$MOUNTPOINT/backups/files
  reach_files || exit 1
  listed=$(attempt "the restore points" restic snapshots --json --no-lock --tag dumped) || exit 1
  rows=$(stored_rows in_database "$DATABASE") || fail "database $DATABASE: the rows of the stored files cannot be read. See: $(npm_command doctor)"
  end_leftovers
  rm -rf "$beside"
  # shellcheck disable=SC2064 # the name as it is now
  trap "end_leftovers; rm -rf '$beside'" EXIT
  install -d -m 0755 "$storage"
  install -d -m 0700 "$beside"
  # One that is being uploaded, with a dot, may get its final name meanwhile.
  cp --archive --link "$storage" "$beside" 2> /dev/null || true
  find "$beside" -name '.*' -delete
  wrong=$(problems "$storage" <<< "$rows") || exit 1
  mapfile -t damaged < <(damaged_in <<< "$wrong")
  for key in "${damaged[@]}"; do rm -f "$beside/storage/files/$key"{.blob,}; done
  mapfile -t points < <(jq -r 'sort_by(.time) | reverse | .[] | "\(.id) \(.paths | map(select(endswith("/data")))[0])"' <<< "$listed")
  say "comparing the files with ${#points[@]} restore points"
  for point in "${points[@]}"; do
    read -r id data <<< "$point"
    attempt "the files of restore point ${id:0:8}" gently restic restore --quiet --no-lock "$id:$data" --include '/storage/*/*' --target "$beside" --overwrite never > /dev/null || exit 1
    rows=$(rows_of "$wrong" <<< "$rows")
    wrong=$(problems "$beside/storage" <<< "$rows") || exit 1
    # As wrong in this point; an older one may have it.
    while read -r key; do rm -f "$beside/storage/files/$key"{.blob,}; done < <(damaged_in <<< "$wrong")
    # What is new has no other name yet.
    added=$(find "$beside/storage" -type f -links 1 | wc -l)
    if ((added == 0)); then continue; fi
    for key in "${damaged[@]}"; do replace "$key"; done
    cp --archive --link --update=none "$beside/storage" "${storage%/*}"
    say "put back $added files of restore point ${id:0:8}"
    put=$((put + added))
  done
  say "put back $put files"
  wrong=$(problems "$storage" <<< "$(rows_of "$wrong" <<< "$rows")") || exit 1
  [[ -z $wrong ]] || fail "the files: not all could be put back, because no restore point has them as they were stored: $(tr '\n' ';' <<< "$wrong" | cut -c 1-500)"
}

# replace KEY: with the variables of put_on_volume. If the point had the stored file as its row says, it takes the place of the damaged one.
replace() {
  local file
  for file in "$beside/storage/files/$1"{.blob,}; do
    if [[ -n $(find "$file" -links 1 2> /dev/null) ]]; then
      ln --force "$file" "$storage/files/"
      say "file $1: was not as its row says, and was replaced"
    fi
  done
}

# problems STORAGE <ROWS: each of these stored files that is missing or not as its row says, on a line.
problems() { python3 -IS "$HELPERS/blobs.py" --all "$1/files" | head -n -1; }

# damaged_in <PROBLEMS: the keys of files that are there.
damaged_in() { sed -nE '/: is missing/!s/^file ([[:alnum:]][[:alnum:]._-]*): .*/\1/p'; }

# rows_of PROBLEMS <ROWS: the rows of these files.
rows_of() {
  [[ -n $1 ]] || return 0
  grep -F --file <(sed -n 's/^file \([^:]*\): .*/\1/p' <<< "$1") || true
}

main
