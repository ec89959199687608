# shellcheck shell=bash
# Finds and loads the restore points of an instance with a managed database, which dump.sh makes. Sourced after beside.sh, by drill.sh and
# move-in.sh.
# shellcheck disable=SC2004,SC2153,SC2154 # beside.sh declares target, and open_repository has read the capital ones

# The snapshot with the dump of each database of the target.
declare -A dumps=()

# find_dump WANTED TO: chooses a restore point for TO: latest, or its name. WANTED is the volume whose backups are used; empty for this one's,
# or the only others. Sets target (stanza, point, moment, snapshot, data, files and bytes, as find_target does) and dumps.
find_dump() {
  local listed chosen name value
  reach_files || exit 1
  listed=$(attempt "the restore points" restic snapshots --json --no-lock) || exit 1
  chosen=$(python3 -IS "$HELPERS/target.py" dump "$STANZA" "$1" "$2" "$(declared STACK)" <<< "$listed") || fail "$chosen"
  target=() dumps=()
  while IFS='=' read -r name value; do
    if [[ $name == dump ]]; then dumps[${value% *}]=${value#* }; else target[$name]=$value; fi
  done <<< "$chosen"
  target[files]=$(size_of "${target[snapshot]}") && target[bytes]=$(size_of "${dumps[@]}") || exit 1
}

# size_of SNAPSHOT...: what they take when they are restored, in bytes.
size_of() {
  local said
  said=$(attempt "the restore point" restic stats --json --no-lock --mode restore-size "$@") || return
  jq .total_size <<< "$said"
}

# restore_files FOLDER: the target's files. What is in the folder is thrown away.
restore_files() {
  say "restoring the files of ${target[point]} ($(human "${target[files]}"))"
  rm -rf "$1"
  install -d -m 0755 "$1"
  attempt "the files of ${target[point]}" gently restic restore --quiet --no-lock "${target[snapshot]}:${target[data]}" --target "$1" > /dev/null || exit 1
  # The backend makes it, but its backup leaves it out.
  install -d -m 0755 "$1/tmp"
}

# read_dump DATABASE: prints the target's dump.
read_dump() { attempt "the dump of database $1" gently restic dump --no-lock "${dumps[$1]}" "/$1.dump"; }

# load_beside CLUSTER: makes a throw-away server on this machine, and loads the target's dumps into it. The managed one is not asked.
load_beside() {
  local cluster=$1 bin database
  bin=$(printf '%s\n' /usr/lib/postgresql/*/bin | sort -V | tail -n 1)
  target[version]=${bin%/bin} target[version]=${target[version]##*/}
  install -d -o postgres -g postgres -m 0700 "$cluster" "$BESIDE"
  attempt "a server for the copy" gently runuser -u postgres -- "$bin/initdb" --pgdata="$cluster" --encoding=UTF8 --locale=C.UTF-8 --auth=peer --no-sync > /dev/null || exit 1
  printf '%s\n' "data_directory = '$cluster'" "hba_file = '$BESIDE/pg_hba.conf'" "ident_file = '$BESIDE/pg_ident.conf'" "autovacuum = off" "fsync = off" > "$BESIDE/postgresql.conf"
  admit_postgres
  chown -R postgres:postgres "$BESIDE"
  serve_beside "$bin" "" -c listen_addresses= -c ssl=off || fail "a server for the copy: does not start, see above"
  for database in "${!dumps[@]}"; do
    say "loading the dump of database $database"
    beside_sql postgres "CREATE DATABASE \"$database\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'" || exit 1
    read_dump "$database" | attempt "the dump of database $database" load_into "$database" || exit 1
  done
}

load_into() { gently runuser -u postgres -- pg_restore --host="$BESIDE" --exit-on-error --no-owner --no-privileges --no-comments --dbname="$1"; }
