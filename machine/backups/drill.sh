#!/usr/bin/env bash
# Proves that the backups can be restored: restores the newest restore point beside the instance, reads everything in it, compares
# each stored file with its row, and checks the bucket. Changes nothing on the instance. Removes what it has restored, also
# what a killed drill has left, and writes the report MOUNTPOINT/backups/drill.json:
#
#   started   the time, RFC 3339
#   seconds   how long it took
#   point     the restore point; null if none was found
#   rows      versions of documents in the restored database; null if it could not be read
#   files     stored files that are as their rows say; null if one is not
#   result    ok or failed
#   problems  sentences
#
# With a managed database, the restore point is one of dumps. They are loaded into a server of this machine, so the cluster is not asked.
#
# Exits with 1 if it has found a problem. A timer runs it; without values on stdin.
#
#   drill.sh [all]   (all: reads all that is in the bucket; otherwise, a seventh of the files' backups on each day, and the
#     database's on Sundays)
set -euo pipefail
# A drill takes as long as its data needs; 12 hours by default.
export CONVEX_DROPLET_LIMIT_SECONDS=${CONVEX_DROPLET_LIMIT_SECONDS:-43200}
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/jobs.sh"
# shellcheck source=machine/backups/beside.sh
source "$here/beside.sh"
# shellcheck source=machine/backups/dumps.sh
source "$here/dumps.sh"

main() {
  # A timer starts it too, and nobody is there to start it again.
  local patience=3600
  thorough=${1:-}
  open_repository
  alone
  folder=$MOUNTPOINT/backups/drill
  results=$(mktemp -d)
  trap clean_up EXIT
  rm -rf "$folder"
  install -d -m 0711 "$MOUNTPOINT/backups"
  # postgres has to reach its cluster below.
  install -d -m 0711 "$folder"
  if is_managed; then step restore_dumps; else step restore; fi
  # Before the rest, which may take long.
  end_leftovers
  rm -rf "$folder"
  step check_files_in_bucket
  is_managed || step check_database_in_bucket
  report
  [[ ! -s $results/problems ]] || exit 1
  say "the backups can be restored: $(< "$results/point")"
}

clean_up() {
  end_leftovers
  rm -rf "$folder" "$results"
}

# step COMMAND...: runs it, and notes its errors for the report.
step() {
  local status
  # Behind `||`, the step would go on after an error, and restic tries for a quarter of an hour.
  set +e
  (
    set -e
    "$@"
  ) 2> "$results/errors"
  status=$?
  set -e
  cat "$results/errors" >&2
  if [[ -e $FULL ]]; then tell_if_full 2>&1 | tee "$results/errors" >&2; fi
  sed -n "s/^${0##*/}: error: //p" "$results/errors" >> "$results/problems"
  if ((status != 0)) && ! grep -q "^${0##*/}: error: " "$results/errors"; then
    echo "${*//_/ }: ended with exit code $status, without a reason" >> "$results/problems"
  fi
}

restore() {
  local stanza
  stanza=$(choose_stanza "$STANZA") || exit 1
  find_target "$stanza" latest
  echo "${target[point]}" > "$results/point"
  restore_beside "$stanza" "$folder/cluster" "$folder/files"
  check_restored
  stop_beside "$folder/cluster"
}

# restore_dumps: for a managed database.
restore_dumps() {
  find_dump "" latest
  echo "${target[point]}" > "$results/point"
  # With its indexes, a loaded database is larger than its dump.
  require_space "$(existing "$folder")" $((target[bytes] * 3 + target[files] + 1024 ** 3))
  install -d -o postgres -g postgres -m 0700 "$BESIDE"
  watch_space
  restore_files "$folder/files"
  load_beside "$folder/cluster"
  check_restored
  stop_beside "$folder/cluster"
}

# check_restored: reads everything in what was restored, and compares it.
check_restored() {
  check_beside "$folder/files" > "$results/found" || rm "$results/found"
  if [[ -e $BUCKETS ]]; then check_copy; fi
  attempt_all "the restored database: has damaged tables or indexes" \
    "/usr/lib/postgresql/${target[version]}/bin/pg_amcheck" -h "$BESIDE" --all --heapallindexed --install-missing
  attempt_all "the restored database: cannot be read completely" \
    "/usr/lib/postgresql/${target[version]}/bin/pg_dumpall" -h "$BESIDE" --no-role-passwords
}

# check_copy: compares the copy of the buckets with the rows.
check_copy() {
  local prefix found
  prefix=$(prefix_in beside_sql "$DATABASE")
  [[ -n $prefix ]] || return 0
  # With objects that are younger than the last copy.
  gently bash "$here/objects.sh" copy now || fail "the files in buckets: cannot be saved, see above"
  found=$(stored_rows beside_sql "$DATABASE" | gently bash "$here/objects.sh" compare "$prefix") || fail "the copy of the buckets: cannot be compared with the rows, see above"
  while read -r found; do say "error: $found"; done < <(head -n -1 <<< "$found")
}

# attempt_all PROBLEM COMMAND...: runs it as postgres, and goes on if it fails.
attempt_all() {
  local output
  if ! output=$(gently runuser -u postgres -- "${@:2}" 2>&1 > /dev/null); then
    tail -n 15 <<< "$output" >&2
    say "error: $1. The first message is: $(head -n 1 <<< "$output")"
  fi
}

# Reads a seventh of the files' backups on each day of the week.
check_files_in_bucket() {
  local part
  part=$(date +%u)/7
  [[ $thorough != all ]] || part=100%
  say "checking the files' backups"
  reach_files
  attempt "the files' backups" gently restic check --quiet --no-lock --read-data-subset="$part" > /dev/null
}

# Looks for gaps in the write-ahead log, which pgBackRest does not report. On Sundays, reads all of the database's backups.
check_database_in_bucket() {
  local output lists problem
  say "checking the database's backups"
  lists=$results/lists
  mkdir "$lists"
  repository_info > "$lists/info" || exit 1
  attempt "the write-ahead log" as_postgres pgbackrest --stanza="$STANZA" repo-ls --recurse --output=json "archive/$STANZA" > "$lists/archive" || exit 1
  output=$(python3 -IS "$HELPERS/target.py" gaps "$STANZA" "$lists") || say "error: the write-ahead log: cannot be checked"
  while read -r problem; do [[ -z $problem ]] || say "error: $problem"; done <<< "$output"
  [[ $thorough == all || $(date +%u) == 7 ]] || return 0
  # It exits with 0 also if it has found something.
  output=$(attempt "the database's backups" gently runuser -u postgres -- pgbackrest --stanza="$STANZA" --log-level-console=off --log-level-stderr=error --output=text --verbose verify) || exit 1
  if ! grep -q '^status: ok$' <<< "$output"; then
    printf '%s\n' "$output" >&2
    say "error: the database's backups: $(grep -Eom 1 '(checksum|size) invalid: [1-9][0-9]*|missing: [1-9][0-9]*|other: [1-9][0-9]*' <<< "$output" | tail -n 1) of its objects in the bucket, see above. Make a new backup now"
  fi
}

report() {
  python3 -IS -c '
import json, os, sys, time
folder, results, started, seconds = sys.argv[1:]
def lines(name):
    path = os.path.join(results, name)
    return open(path).read().splitlines() if os.path.exists(path) else []
found = [int(value) for line in lines("found") for value in line.split()]
problems = list(dict.fromkeys(lines("problems")))
report = {"started": started, "seconds": int(seconds), "point": (lines("point") or [None])[0],
          "rows": found[0] if found else None, "files": found[2] if found else None,
          "result": "failed" if problems else "ok", "problems": problems}
with open(folder + "/drill.json.new", "w") as file:
    json.dump(report, file, indent=2)
    file.write("\n")
    file.flush()
    os.fsync(file.fileno())
os.rename(folder + "/drill.json.new", folder + "/drill.json")' "$MOUNTPOINT/backups" "$results" "$started" "$SECONDS"
}

started=$(date --utc +%FT%TZ)
main "$@"
