# shellcheck shell=bash
# Restores an instance beside the running one: a cluster that was replayed to the target, and the files of that time, each in a
# folder that the caller names. Checks both. Never touches what the instance uses. Sourced after jobs.sh by restore.sh, drill.sh and
# move-in.sh; only one of them may run.
# shellcheck disable=SC2153 # open_repository has read the capital ones
#
# The copy is promoted while its archiving is off, so nothing of it reaches the bucket. One that is to be the instance's gets a mark
# that makes the real server archive the new timeline's history first, see continue_archive.

# The server for the copy: only its socket, which only root and postgres reach.
readonly BESIDE=/run/convex-droplet-beside
# What all heavy work runs in. Whatever a killed run leaves in it is ended by end_leftovers.
readonly BESIDE_SLICE=backups-beside.slice BESIDE_SERVER=convex-backups-beside.service
# Where another stack's backups are, and their secrets, for a copy of its instance; see move-in/from-backup.sh.
readonly OTHER=/run/convex-droplet-other
# What stays free for the instance, in bytes. This file is there after a copy's work was stopped because of it.
readonly RESERVE=$((512 * 1024 ** 2)) FULL=$BESIDE/full

readonly HELPERS=${BASH_SOURCE[0]%/*}

# What find_target has chosen: kind (name or time), to (for PostgreSQL), point (whose files are used), moment (seconds since 1970),
# timeline, archives (the parts of the bucket with the cluster's write-ahead log), backup, bytes (the cluster's size), version
# (PostgreSQL's), snapshot, data (the files' folder in it), files (their size in bytes).
declare -A target=()

# alone: lets only one restore or drill use the copy's server, and waits $patience seconds for another one. Whatever happens, that server
# does not outlive the script.
alone() {
  exec {beside_lock}> /run/convex-droplet-beside.lock
  if ! flock --nonblock "$beside_lock" && ((${patience:-0} > 0)); then say "waiting for another restore, drill or rehearsal on this droplet"; fi
  flock --timeout "${patience:-0}" "$beside_lock" \
    || fail "another restore, drill or rehearsal is at work on this droplet. Wait until it has ended, or see: systemctl status $BESIDE_SLICE"
  rm -rf "$OTHER"
  trap end_leftovers EXIT
}

# pause_points, allow_points: no restore point is made meanwhile, because it would contain rows of one time and files of another. One that is
# being made may take hours, with large uploads. So this waits as long as the script may run, and comes before `lock`.
pause_points() {
  exec {points_lock}> /run/convex-droplet-point.lock
  if ! flock --nonblock "$points_lock"; then
    say "waiting for the restore point that is being made"
    flock "$points_lock"
  fi
}
allow_points() { if [[ -n ${points_lock:-} ]]; then exec {points_lock}>&-; fi; }

# keep_undone: marks the last restore point before a swap, which base.sh keeps. Only this one has all files that are undone. Prints its name;
# nothing if there is none.
keep_undone() {
  local last point of=(--host "$STANZA")
  # Not the dump of a managed database, but the files, which make its point.
  if is_managed; then of+=(--tag dumped); fi
  read -r last point < <(timeout 60 restic snapshots --json --no-lock "${of[@]}" latest 2> /dev/null \
    | jq -r '.[0] // empty | "\(.id) \(.tags // [] | map(select(startswith("point=")))[0] // "" | ltrimstr("point="))"') || true
  [[ -n $last ]] || return 0
  attempt "the mark of the last restore point" timeout 60 restic tag --quiet --retry-lock 30s --add undone "$last" > /dev/null \
    || say "what is undone now can be restored for two days only"
  printf '%s\n' "$point"
}

# gently COMMAND...: runs it when nobody else needs the processors and the disk. It does not keep the lock, because it may outlive a
# script that is killed.
gently() (
  exec {beside_lock}>&-
  systemd-run --quiet --scope --slice="$BESIDE_SLICE" --property=CPUWeight=10 --property=IOWeight=10 nice -n 19 ionice -c 3 "$@"
)

# end_leftovers: ends what a killed run has left running.
end_leftovers() {
  systemctl stop "$BESIDE_SLICE" 2> /dev/null || true
  rm -rf "$BESIDE"
}

# pgbackrest_of STANZA CLUSTER OPTION...: runs pgBackRest as the owner of the cluster, which has to be the one of its files.
pgbackrest_of() { as_postgres pgbackrest --stanza="$1" --pg1-path="$2" --log-level-console=warn --log-level-stderr=warn "${@:3}"; }

# reach_files: restic itself tries for a quarter of an hour to reach a bucket that is not there.
reach_files() { attempt "the files' backups" timeout 30 restic cat config --no-lock > /dev/null; }

# snapshots_of STANZA: the snapshots of its files, as restic describes them.
snapshots_of() { reach_files && attempt "the files' backups" restic snapshots --json --no-lock --host "$1"; }

# choose_stanza WANTED: prints WANTED; if it is empty, the volume's own stanza, or the only other one.
choose_stanza() {
  local info chosen
  info=$(repository_info) || exit 1
  chosen=$(python3 -IS "$HELPERS/target.py" stanza "$STANZA" "$1" <<< "$info") || fail "$chosen"
  printf '%s\n' "$chosen"
}

# find_target STANZA TO: chooses backup, timeline and snapshot for TO: latest, the name of a restore point, or a moment (RFC 3339).
find_target() {
  local chosen name value
  chosen=$(choose_target "$1" "$2") || exit 1
  target=()
  while IFS='=' read -r name value; do target[$name]=$value; done <<< "$chosen"
  chosen=$(attempt "the files of ${target[point]}" restic stats --json --no-lock --mode restore-size "${target[snapshot]}") || exit 1
  target[files]=$(python3 -IS -c 'import json, sys; print(json.load(sys.stdin)["total_size"])' <<< "$chosen")
}

# choose_target STANZA TO: prints what target.py chooses. For a subshell, whose end removes what it has listed. Messages name the stack
# whose backups they are: `source`, or this one.
choose_target() {
  local stanza=$1 to=$2 folder chosen archives archive file
  folder=$(mktemp -d)
  # shellcheck disable=SC2064 # the name as it is now
  trap "rm -r '$folder'" EXIT
  repository_info > "$folder/info" || exit 1
  snapshots_of "$stanza" > "$folder/snapshots" || exit 1
  archives=$(python3 -IS -c '
import json, sys
stanza = next(stanza for stanza in json.load(open(sys.argv[1])) if stanza["name"] == sys.argv[2])
print(*[archive["id"] for archive in stanza["archive"]])' "$folder/info" "$stanza")
  for archive in $archives; do
    mkdir "$folder/$archive"
    attempt "the database's backups" as_postgres pgbackrest --stanza="$stanza" repo-ls --output=json "archive/$stanza/$archive" > "$folder/$archive/archive" || exit 1
    while read -r file; do
      attempt "the history of timeline ${file%.history}" as_postgres pgbackrest --stanza="$stanza" repo-get "archive/$stanza/$archive/$file" > "$folder/$archive/$file" || exit 1
    done < <(grep -o '[0-9A-F]\{8\}\.history' "$folder/$archive/archive" || true)
  done
  chosen=$(python3 -IS "$HELPERS/target.py" choose "$stanza" "$to" "$folder" "${source:-$(declared STACK)}") || fail "$chosen"
  printf '%s\n' "$chosen"
}

# needed_bytes: what the target needs beside the instance, with a margin for the write-ahead log that is replayed, and for what the
# instance writes meanwhile.
needed_bytes() { echo $(((target[bytes] + target[files]) * 11 / 10 + 1024 ** 3)); }

# free_bytes FOLDER
free_bytes() { df --block-size=1 --output=avail "$1" | tail -n 1 | tr -d ' '; }

# require_space FOLDER NEEDED: fails if fewer bytes are free.
require_space() {
  local needed=$2 free
  free=$(free_bytes "$1")
  ((free >= needed)) \
    || fail "$1: has $(human "$free") free, it should have $(human "$needed") to restore beside what is there. Grow the volume with volumeSizeGb," \
      "or remove what earlier restores have kept: $(npm_command restore) --forget"
}

human() { numfmt --to=iec --suffix=B --format=%.1f "$1"; }

# restore_beside STANZA CLUSTER FILES: restores the target's cluster and files into these two folders, and leaves a server for
# the cluster running. What is in the folders is thrown away.
restore_beside() {
  local stanza=$1 cluster=$2 files=$3 bin=/usr/lib/postgresql/${target[version]}/bin
  [[ -x $bin/postgres ]] || fail "PostgreSQL: the backup is of version ${target[version]}, which is not installed here. Use the droplet image that it was made with"
  end_leftovers
  rm -rf "$cluster" "$files"
  require_space "$(existing "$cluster")" "$(needed_bytes)"
  install -d -o postgres -g postgres -m 0700 "${cluster%/*}" "$cluster" "$BESIDE"
  watch_space
  say "restoring the database from backup ${target[backup]} ($(human "${target[bytes]}"))"
  attempt "backup ${target[backup]}" gently runuser -u postgres -- \
    pgbackrest --stanza="$stanza" --pg1-path="$cluster" --log-level-console=warn --log-level-stderr=warn --set="${target[backup]}" --type=default --target-timeline="${target[timeline]}" restore || exit 1
  say "restoring the files of ${target[point]} ($(human "${target[files]}"))"
  install -d -m 0755 "$files"
  attempt "the files of ${target[point]}" gently restic restore --quiet --no-lock "${target[snapshot]}:${target[data]}" --target "$files" > /dev/null || exit 1
  # The snapshot is younger than a moment. A file is written before the row that names it, so the rows name none of these. A restore
  # point is the snapshot's own; its name has no fractions of a second.
  if [[ ${target[kind]} == time ]]; then find "$files/storage" -type f -newermt "@${target[moment]}" -delete; fi
  # The backend makes it, but its backup leaves it out.
  install -d -m 0755 "$files/tmp"
  fetch_history "$stanza" "$cluster"
  replay "$stanza" "$cluster" "$bin"
}

# watch_space: stops the copy's work if the volume becomes full meanwhile, whoever fills it, because PostgreSQL stops without space.
# Ends with end_leftovers.
watch_space() {
  # shellcheck disable=SC2016 # of the inner shell
  systemd-run --quiet --collect --slice="$BESIDE_SLICE" bash -c '
    until (($(df --block-size=1 --output=avail "$0" | tail -n 1) < $1)); do sleep 0.5; done
    touch "$2"
    systemctl stop --no-block "$3"' "$MOUNTPOINT" "$RESERVE" "$FULL" "$BESIDE_SLICE"
}

# tell_if_full: prints why the copy's work was stopped, if it was because of the space. Everything else that failed is a consequence.
tell_if_full() {
  [[ -e $FULL ]] || return 0
  say "error: $MOUNTPOINT: something filled the volume meanwhile, so the copy was removed when $(human "$RESERVE") were left for the instance." \
    "Make room on it, or grow it with volumeSizeGb"
}

# existing PATH: the path itself, or the nearest folder above it that exists.
existing() {
  local path=$1
  while [[ ! -d $path ]]; do path=${path%/*}; done
  echo "$path"
}

# fetch_history STANZA CLUSTER: copies the histories of all timelines. Otherwise PostgreSQL asks the bucket which numbers are in use
# when it promotes the copy, and takes one twice if the bucket does not answer.
fetch_history() {
  local archive listed file
  listed=$(for archive in ${target[archives]}; do as_postgres pgbackrest --stanza="$1" repo-ls "archive/$1/$archive" || exit; done) \
    || fail "the database's backups: cannot be listed"
  while read -r file; do
    attempt "the history of timeline ${file%.history}" pgbackrest_of "$1" "$2" archive-get "$file" "$2/pg_wal/$file" || exit 1
  done < <(grep '\.history$' <<< "$listed" || true)
}

# replay STANZA CLUSTER BIN: starts a server that replays to the target and is promoted there.
replay() {
  local stanza=$1 cluster=$2 bin=$3
  install -d -o postgres -g postgres -m 0700 "$BESIDE"
  # The mark is of the time of the backup.
  rm -f "$cluster/convex-archive-gap"
  # What an earlier restore has left, because a server with two targets does not start.
  sed -i -E '/^(restore_command|recovery_[a-z_]+) /d' "$cluster/postgresql.auto.conf"
  recovery_settings "$stanza" "$cluster" "$bin" > "$BESIDE/postgresql.conf"
  admit_postgres
  install -o postgres -g postgres -m 0600 /dev/null "$cluster/recovery.signal"
  chown -R postgres:postgres "$BESIDE"
  say "replaying the write-ahead log to ${target[to]} on timeline ${target[timeline]}"
  serve_beside "$bin" "" -c listen_addresses= -c ssl=off \
    || fail "the restored database: could not be replayed to ${target[to]}. $(explain < "$BESIDE/log")"
}

# admit_postgres: only PostgreSQL's own user may use the server for the copy.
admit_postgres() {
  echo "local all postgres peer" > "$BESIDE/pg_hba.conf"
  : > "$BESIDE/pg_ident.conf"
}

# serve_beside BIN NAMESPACE OPTION...: starts the server for the copy, with the configuration in BESIDE, and waits until it accepts writes.
# NAMESPACE is the file of another network's namespace; it may be empty.
serve_beside() {
  # ALTER SYSTEM may have set some of these settings on the instance, and only the command line is stronger.
  systemd-run --quiet --collect --unit="$BESIDE_SERVER" --slice="$BESIDE_SLICE" --uid=postgres --property=Type=exec \
    ${2:+--property=NetworkNamespacePath="$2"} \
    --property=CPUWeight=10 --property=IOWeight=10 --nice=19 --property=IOSchedulingClass=idle \
    --property=KillMode=mixed --property=KillSignal=SIGINT --property=TimeoutStopSec=600 \
    --property=StandardOutput="append:$BESIDE/log" --property=StandardError="append:$BESIDE/log" \
    "$1/postgres" -c config_file="$BESIDE/postgresql.conf" -c port=5432 -c unix_socket_directories="$BESIDE" \
    -c archive_mode=off -c archive_command= -c shared_buffers=64MB -c shared_preload_libraries= -c logging_collector=off \
    -c log_destination=stderr "${@:3}" || return
  until [[ $(beside_sql postgres "SELECT pg_is_in_recovery()" 2> /dev/null) == f ]]; do
    if ! systemctl is-active --quiet "$BESIDE_SERVER"; then
      tail -n 15 "$BESIDE/log" >&2
      return 1
    fi
    sleep 0.2
  done
}

# recovery_settings STANZA CLUSTER BIN: the configuration of the server for the copy.
recovery_settings() {
  local stanza=$1 cluster=$2
  cat << EOF
data_directory = '$cluster'
hba_file = '$BESIDE/pg_hba.conf'
ident_file = '$BESIDE/pg_ident.conf'
autovacuum = off
max_parallel_workers_per_gather = 0
restore_command = 'pgbackrest ${PGBACKREST_CONFIG:+--config=$PGBACKREST_CONFIG }--stanza=$stanza --pg1-path=$cluster --log-level-console=warn --log-level-stderr=warn archive-get %f "%p"'
recovery_target_${target[kind]} = '${target[to]}'
recovery_target_timeline = '${target[timeline]}'
recovery_target_action = 'promote'
EOF
  replay_limits "$3/pg_controldata" "$cluster"
}

# replay_limits PG_CONTROLDATA...: a server that replays needs at least the limits of the one that wrote, which this command shows.
replay_limits() {
  local name limit least
  while read -r name least; do
    limit=$(LC_ALL=C "$@" | sed -n "s/^$name setting: *//p")
    echo "${name/xact/transaction} = $((limit > least ? limit : least))"
  done << 'EOF'
max_connections 500
max_worker_processes 16
max_wal_senders 16
max_prepared_xacts 0
max_locks_per_xact 128
EOF
}

# beside_sql DATABASE STATEMENT: asks the server for the copy.
beside_sql() { managed_server='' PGHOST=$BESIDE in_database "$@"; }

# check_beside FILES: checks what was restored; fails if it is not complete. Prints on stdout: rows, newest row (in ns since 1970), files.
check_beside() {
  local files=$1 database
  [[ -n $(beside_sql postgres "SELECT 1 FROM pg_database WHERE datname = '$DATABASE'") ]] \
    || fail "the backup: has no database $DATABASE, but $(beside_sql postgres "SELECT string_agg(datname, ', ') FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')")." \
      "It belongs to another instance. Restore it into a stack with that instance's name, or copy that instance from the backups of its own stack, which takes the place of ITS_STACK: $(npm_command restore) --from ITS_STACK --to latest"
  while read -r database; do
    beside_sql "$database" "SELECT count(*) FROM pg_class" > /dev/null || fail "the restored database $database: cannot be read"
  done < <(beside_sql postgres "SELECT datname FROM pg_database WHERE datallowconn")
  compare_files beside_sql "$files"
}

# compare_files SQL FILES: compares the stored files with their rows in DATABASE, with a function that asks its server; fails if they
# are not complete. Prints on stdout: rows, newest row (in ns since 1970), files and their bytes.
compare_files() {
  local files=$2 found problems rows stored prefix where=()
  rows=$(rows_in "$1" "$DATABASE") || fail "database $DATABASE: its documents cannot be read"
  stored=$(attempt "the rows of the stored files" stored_rows "$1" "$DATABASE") || exit 1
  prefix=$(prefix_in "$1" "$DATABASE") || fail "database $DATABASE: does not say where its files are"
  where=("$files/storage/files")
  if [[ -n $prefix ]]; then where=("$BUCKETS" "$prefix"); fi
  # A new droplet gets the buckets' key only with its first backend.
  if [[ -n $prefix && ! -e $BUCKETS ]]; then
    say "the stored files are in buckets, and this droplet does not know them yet, so they are not compared with their rows"
    echo "$rows $(grep -c . <<< "$stored" || true) 0"
    return
  fi
  found=$(gently python3 -IS "$HELPERS/blobs.py" "${where[@]}" <<< "$stored") || fail "the stored files: cannot be compared with their rows, see above"
  problems=$(head -n -1 <<< "$found")
  if [[ -n $problems ]]; then
    while read -r found; do say "error: $found"; done <<< "$problems"
    exit 1
  fi
  echo "$rows $found"
}

# stop_beside CLUSTER: ends the server for the copy.
stop_beside() {
  systemctl stop "$BESIDE_SERVER"
  LC_ALL=C "/usr/lib/postgresql/${target[version]}/bin/pg_controldata" "$1" | grep -q '^Database cluster state: *shut down$' \
    || fail "the restored database: its server did not end as it should. Its last lines are in $BESIDE/log"
}

# continue_archive CLUSTER: makes the real server archive the copy's timeline from its beginning. PostgreSQL itself leaves these
# marks when it is promoted while archiving is on.
continue_archive() {
  local current timeline file control
  control=$(LC_ALL=C "/usr/lib/postgresql/${target[version]}/bin/pg_controldata" "$1")
  current=$(sed -n "s/^Latest checkpoint's REDO WAL file: *//p" <<< "$control")
  timeline=${current:0:8}
  for file in "$1/pg_wal/$timeline"*; do
    file=${file##*/}
    if [[ $file == "$timeline.history" || (${#file} == 24 && $file < $current) ]]; then
      install -o postgres -g postgres -m 0600 /dev/null "$1/pg_wal/archive_status/$file.ready"
    fi
  done
}
