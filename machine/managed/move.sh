#!/usr/bin/env bash
# Moves the instance's database, and the further ones, between this machine's own server and a managed cluster.
#
# First a rehearsal, while the instance serves: each database is copied from one snapshot to a scratch database of the other server, and all
# rows of both are compared. Then the cut: the containers that use the databases are stopped, their roles cannot log in any more, and
# everything is copied and compared again. At last the note on the volume changes, see place.sh. The former server keeps what it had at that
# moment, closed to the instance's roles, as the way back.
#
# Until the note has changed, the former server can be opened again: a failure does that at once, and after a kill or a reboot, `settle`. The
# journal on the volume says what to open, in lines name=value: to, role and container (repeated; in the order in which they start).
#
#   move.sh run managed|droplet  (from managed.sh and postgres.sh, once both servers answer) < database, role, databases (further ones: a
#                                name, and the words of its options), passwords (a role and its password on each line), cluster (its id),
#                                capacity_mb (the cluster's, empty if unknown)
#   move.sh settle               ends a move that was interrupted: opens the former server, or nothing is left to do
#   move.sh back                 makes the former server the instance's again, with the rows that it had when it was left
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/../backups/jobs.sh"
# shellcheck source=machine/backups/beside.sh
source "$here/../backups/beside.sh"
# shellcheck source=machine/lib/downtime.sh
source "$here/../lib/downtime.sh"
# shellcheck source=machine/managed/place.sh
source "$here/place.sh"

# Of the move: where to and where from, the databases that are moved, each with its owner, and their roles.
to='' from='' pairs='' roles=''
readonly RESUME=/etc/systemd/system/convex-database-move.service
# The text of a row must not depend on a server's settings, and a comparison may take long.
readonly READING="-c timezone=UTC -c datestyle=ISO -c intervalstyle=postgres -c extra_float_digits=3 -c bytea_output=hex -c xmloption=content \
-c search_path=pg_catalog -c client_min_messages=warning -c statement_timeout=0 -c idle_in_transaction_session_timeout=0 -c lock_timeout=0"

main() {
  # It goes on to its end if the connection breaks.
  trap '' PIPE
  MOUNTPOINT=$(declared MOUNTPOINT)
  mountpoint -q "$MOUNTPOINT" || fail "$MOUNTPOINT: is not mounted, it should be the data volume. Run $(pulumi_command up) again"
  JOURNAL=$(move_journal "$MOUNTPOINT")
  case ${1:-} in
    run | settle | back) patience=900 && alone && "$@" ;;
    *) fail "${1:-}: is not one of the verbs of this script, it should be run, settle or back" ;;
  esac
}

run() {
  local seconds database role databases passwords cluster capacity_mb
  take database role databases passwords cluster capacity_mb
  to=$1 from=$(other "$1")
  settle
  # Another run that waited for the same may have done it.
  [[ $(present) == "$from" ]] || return 0
  trap abandon EXIT
  pairs=$(present_pairs) || give_up "$(words "$from") does not answer, see above"
  roles=$(cut -d ' ' -f 2 <<< "$pairs" | awk '!seen[$0]++')
  require_version
  require_room
  tell_left_behind
  say "moving the database from $(words "$from") to $(words "$to"); first a rehearsal, while the instance serves"
  seconds=$SECONDS
  make_roles
  copy_all open
  drop_scratches
  seconds=$((SECONDS - seconds))
  say "the rehearsal took $seconds s. Now the instance does not serve, for about as long, and until its containers have started again"
  if [[ $from == droplet && -e $REPOSITORY ]]; then
    bash "$here/../backups/point.sh" now || give_up "the restore point of before the move cannot be made, see above"
  fi
  cut_over
  trap end_leftovers EXIT
  start_left || say "error: a container that leads there does not start, see above. See: $(pulumi_command up --refresh)"
  say "the database is in $(words "$to") now; $(words "$from") keeps what it had, until you confirm the move: $(pulumi_command "config rm" moveDatabase) && $(pulumi_command up)"
}

# present: where the instance's database is.
present() { if is_away "$MOUNTPOINT"; then echo managed; else echo droplet; fi; }
other() { if [[ $1 == managed ]]; then echo droplet; else echo managed; fi; }
words() { if [[ $1 == managed ]]; then echo "the managed cluster"; else echo "the droplet's server"; fi; }

# of PLACE CLIENT...: a client of one of the two servers, as its administrator.
of() {
  if [[ $1 == managed ]]; then
    PGSERVICEFILE=$CLUSTER_SERVER PGSERVICE=managed PGCONNECT_TIMEOUT=10 PGOPTIONS=$READING "${@:2}"
  else
    PGOPTIONS=$READING as_postgres "${@:2}"
  fi
}

# ask PLACE [DATABASE [STATEMENT]]: the result of a statement, or of stdin. Without a name, in the database that each server has.
ask() { PGDATABASE=${2:-$(if [[ $1 == managed ]]; then echo defaultdb; else echo postgres; fi)} of "$1" psql -qAtX -v ON_ERROR_STOP=1 -v VERBOSITY=terse ${3:+-c "$3"}; }

# give_up TEXT...: fails. Nothing has changed, because `abandon` opens the former server if it was closed.
give_up() { fail "$*. The instance goes on with $(words "$from"), whose data is unchanged; to stay there: $(pulumi_command "config set" database "$from")"; }

# abandon: when a run ends before the move is done.
abandon() {
  end_leftovers
  drop_scratches 2> /dev/null || true
  if [[ -e $JOURNAL ]]; then settle || say "error: $(words "$from") cannot be opened again, see above. The next $(pulumi_command up) does it"; fi
}

# scratch_of DATABASE: the same length for each, because PostgreSQL cuts names at 63 bytes, and no setting can have a name that begins with _.
scratch_of() { echo "_scratch_$(md5sum <<< "$1" | cut -d ' ' -f 1)"; }

# declared_pairs: each database and its owner.
declared_pairs() {
  local name options
  echo "$database $role"
  while read -r name options; do
    [[ -n $name ]] || continue
    echo "$name $name"
    if [[ " $options " == *" shadow "* ]]; then echo "${name}_shadow $name"; fi
  done <<< "$databases"
}

# present_pairs: those that are there. One that is declared only now is made at its new place.
present_pairs() {
  local there
  there=$(ask "$from" "" "SELECT datname FROM pg_database") || return
  declared_pairs | while read -r name owner; do
    if grep -qxF "$name" <<< "$there"; then echo "$name $owner"; fi
  done
}

# databases_in PLACE: all but those of the servers themselves, and scratch databases.
databases_in() { ask "$1" "" "SELECT datname FROM pg_database WHERE NOT datistemplate AND datname NOT IN ('postgres', 'defaultdb') AND datname !~ '^_' ORDER BY 1"; }

# tell_left_behind: what no setting declares is not taken along, such as what an earlier move-in has kept.
tell_left_behind() {
  local left
  left=$(databases_in "$from" \
    | grep -vxF --file <(cut -d ' ' -f 1 <<< "$pairs") | paste -sd ' ') || true
  if [[ -n $left ]]; then say "not moved, because no setting declares them: databases $left"; fi
}

require_version() {
  local theirs ours
  theirs=$(ask "$from" "" "SHOW server_version_num") || give_up "$(words "$from") does not answer, see above"
  ours=$(ask "$to" "" "SHOW server_version_num") || give_up "$(words "$to") does not answer, see above"
  ((ours / 10000 >= theirs / 10000)) \
    || give_up "$(words "$to") has PostgreSQL $((ours / 10000)), it should have at least $((theirs / 10000)), like $(words "$from"). Use an image with that version, see docs/upgrades.md"
}

# require_room: for the copy with its log, beside what is there.
require_room() {
  local size used needed free
  size=$(ask "$from" "" "SELECT coalesce(sum(pg_database_size(datname)), 0) FROM pg_database WHERE datname IN ($(listed "$(cut -d ' ' -f 1 <<< "$pairs")"))") \
    || give_up "the size of the databases cannot be read, see above"
  needed=$((size * 12 / 10 + 1024 ** 3))
  if [[ $to == droplet ]]; then
    free=$(free_bytes "$MOUNTPOINT")
    needed=$((needed + RESERVE))
    ((free >= needed)) \
      || give_up "$MOUNTPOINT: has $(human "$free") free, it should have $(human "$needed") for the database." \
        "Grow the volume, which cannot shrink again: $(pulumi_command "config set" volumeSizeGb "$((($(blockdev --getsize64 "$(findmnt --noheadings --output SOURCE "$MOUNTPOINT")") + needed - free) / 1024 ** 3 + 2))") && $(pulumi_command up)"
  elif [[ -n $capacity_mb ]]; then
    used=$(ask "$to" "" "SELECT coalesce(sum(pg_database_size(oid)), 0) FROM pg_database WHERE has_database_privilege(oid, 'CONNECT')") || give_up "$(words "$to") does not answer, see above"
    free=$((capacity_mb * 1024 ** 2 - used))
    ((free >= needed)) \
      || give_up "the managed cluster: has $(human "$free") free, it should have $(human "$needed") for the database. Choose a larger databaseSize, see docs/managed-database.md: $(pulumi_command "config set" databaseSize SIZE) && $(pulumi_command up)"
  fi
}

# make_roles: on the target, which nobody can use yet, with the passwords that the stack knows.
make_roles() {
  local name password limit found
  while read -r name password; do
    grep -qxF "$name" <<< "$roles" || continue
    limit=$(ask "$from" "" "SELECT rolconnlimit FROM pg_roles WHERE rolname = '$name'") || give_up "role $name: cannot be read in $(words "$from"), see above"
    found=$(ask "$to" "" "SELECT 1 FROM pg_roles WHERE rolname = '$name'") || give_up "role $name: cannot be read in $(words "$to"), see above"
    # On stdin, so that no process list shows it; and of the two, only the droplet's server lets its log be kept free of it, too.
    ask "$to" > /dev/null << END || give_up "role $name: cannot be made, see above"
$([[ $to == managed ]] || echo "SET log_min_error_statement = panic;")
SET password_encryption = 'scram-sha-256';
$([[ -n $found ]] && echo ALTER || echo CREATE) ROLE "$name" NOLOGIN CONNECTION LIMIT $limit PASSWORD '$password';
END
  done <<< "$passwords"
}

# copy_all open|closed
copy_all() {
  local name owner
  while read -r name owner; do copy_database "$name" "$owner" "$1"; done <<< "$pairs"
}

# copy_database NAME OWNER open|closed: into a scratch database of the target, and compares all rows. Sequences only once nobody
# uses the former server, because they belong to no snapshot.
copy_database() {
  local name=$1 owner=$2 scratch snapshot='' theirs ours
  scratch=$(scratch_of "$name")
  drop_database "$scratch" || give_up "database $scratch: cannot be dropped, see above"
  ask "$to" > /dev/null << END || give_up "database $scratch: cannot be made, see above"
CREATE DATABASE "$scratch" OWNER "$owner" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8';
REVOKE ALL ON DATABASE "$scratch" FROM PUBLIC;
END
  coproc HOLDER { PGDATABASE=$name of "$from" psql -qAtX -v ON_ERROR_STOP=1; }
  local holder=$HOLDER_PID answers=${HOLDER[0]} questions=${HOLDER[1]}
  printf '%s\n' "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;" "SELECT pg_export_snapshot();" >&"$questions"
  read -rt 60 snapshot <&"$answers" || give_up "database $name: gives no snapshot, see above"
  PGDATABASE=$name of "$from" pg_dump --format=custom --compress=0 --snapshot="$snapshot" | of "$to" pg_restore --exit-on-error --dbname="$scratch" \
    || give_up "database $name: cannot be copied, see above. What is in it should belong to $owner: an administrator's own tables, functions and extensions may not be made again there"
  ask "$to" "$scratch" "SET client_min_messages = error; ANALYZE" || give_up "database $scratch: cannot be analyzed, see above"
  theirs=$(contents "$3" "$snapshot" | ask "$from" "$name") || give_up "database $name: cannot be read in $(words "$from"), see above"
  ours=$(contents "$3" | ask "$to" "$scratch") || give_up "database $name: cannot be read in $(words "$to"), see above"
  exec {questions}>&-
  wait "$holder" 2> /dev/null || true
  [[ $ours == "$theirs" ]] \
    || give_up "database $name: has other rows in $(words "$to") than in $(words "$from"). The first table is $(diff <(echo "$theirs") <(echo "$ours") | sed -n '2s/^. //p')"
  say "database $name: $(awk -F '|' '$1 == "table" {rows += $3} END {print rows + 0}' <<< "$theirs") rows are the same"
}

# contents open|closed [SNAPSHOT]: statements that print number and checksum of the rows of each table, and of the large objects. What
# belongs to an extension is made by that.
contents() {
  echo "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;"
  if [[ -n ${2:-} ]]; then echo "SET TRANSACTION SNAPSHOT '$2';"; fi
  cat << 'END'
SELECT format('SELECT ''table'', %L, count(*), coalesce(sum(hashtextextended((t.*)::text, 0)), 0) FROM ONLY %s AS t', c.oid::regclass, c.oid::regclass)
FROM pg_class AS c
WHERE relkind = 'r' AND relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
ORDER BY c.oid::regclass::text COLLATE "C" \gexec
SELECT 'large objects', count(*), coalesce(sum(hashtextextended(encode(lo_get(oid), 'hex'), oid::bigint)), 0) FROM pg_largeobject_metadata;
END
  if [[ $1 == closed ]]; then
    cat << 'END'
SELECT format('SELECT ''sequence'', %L, last_value, is_called FROM %s', c.oid::regclass, c.oid::regclass)
FROM pg_class AS c WHERE relkind = 'S' AND relnamespace::regnamespace::text !~ '^(pg_|information_schema$)' ORDER BY c.oid::regclass::text COLLATE "C" \gexec
END
  fi
  echo "COMMIT;"
}

drop_database() { ask "$to" "" "DROP DATABASE IF EXISTS \"$1\" WITH (FORCE)"; }

drop_scratches() {
  local name owner
  while read -r name owner; do
    if [[ -n $name ]]; then drop_database "$(scratch_of "$name")"; fi
  done <<< "$pairs"
}

cut_over() {
  local containers container
  containers=$(users)
  write_journal
  date +%s > "$STOPPED"
  while read -r container; do
    [[ -z $container ]] || docker stop "$container" > /dev/null || give_up "container $container: does not stop. See: docker ps"
  done < <(tac <<< "$containers")
  close_roles
  copy_all closed
  put_in_place
  note_move
  end_journal
}

# users: the containers that run and have the URL of one of the databases, in the order in which they start: the backend first.
users() {
  local found
  found=$(docker ps --quiet | xargs --no-run-if-empty docker inspect --format '{{.Name}} {{json .Config.Env}}' \
    | grep -E "postgres(ql)?://($(paste -sd '|' <<< "$roles")):") || return 0
  {
    grep '"INSTANCE_SECRET=' <<< "$found" || true
    grep -v '"INSTANCE_SECRET=' <<< "$found" || true
  } | sed 's|^/\([^ ]*\) .*|\1|'
}

# start_left: services that lead to the new place already, and that a move in the other direction has stopped before it was interrupted. The
# engine does not know that they are stopped. A job that has ended does not start again.
start_left() {
  local host=host.docker.internal
  if [[ $to == managed ]]; then host=$(sed -n 's/^host=//p' "$CLUSTER_SERVER"); fi
  docker ps --all --quiet --filter status=exited | xargs --no-run-if-empty docker inspect --format '{{.HostConfig.RestartPolicy.Name}} {{.Name}} {{json .Config.Env}}' \
    | { grep '^unless-stopped ' || true; } | { grep -F "@$host:" || true; } | { grep -E "postgres(ql)?://($(paste -sd '|' <<< "$roles")):" || true; } \
    | sed 's|^[^ ]* /\([^ ]*\) .*|\1|' | xargs --no-run-if-empty docker start > /dev/null
}

write_journal() {
  install -m 0644 "$here/${RESUME##*/}" "$RESUME"
  systemctl daemon-reload
  systemctl enable --quiet "${RESUME##*/}"
  { echo "to=$to" && list role "$roles" && list container "$containers"; } > "$JOURNAL.new"
  sync "$JOURNAL.new"
  mv "$JOURNAL.new" "$JOURNAL"
  sync --file-system "$MOUNTPOINT"
}

in_journal() { sed -n "s/^$1=\(.\)/\1/p" "$JOURNAL"; }

end_journal() {
  rm -f "$JOURNAL"
  sync "$MOUNTPOINT"
  # An end that was interrupted may have removed it.
  if [[ -e $RESUME ]]; then systemctl disable --quiet "${RESUME##*/}"; fi
  rm -f "$RESUME"
  systemctl daemon-reload
}

# close_roles: nobody but administrators can write to the former server any more.
close_roles() {
  local name
  while read -r name; do ask "$from" "" "ALTER ROLE \"$name\" NOLOGIN" || give_up "role $name: cannot be shut out, see above"; done <<< "$roles"
  wait_until 60 "the sessions of the databases to end" have_ended || give_up "the sessions of $(paste -sd ' ' <<< "$roles") do not end"
}

have_ended() {
  local sessions
  sessions="FROM pg_stat_activity WHERE usename IN ($(listed "$roles"))"
  ask "$from" "" "SELECT pg_terminate_backend(pid) $sessions" > /dev/null && [[ $(ask "$from" "" "SELECT count(*) $sessions") == 0 ]]
}

# put_in_place: gives the copies their names, instead of what an earlier move has kept there; with the settings of roles and databases, and
# with who may connect.
put_in_place() {
  local name owner scratch
  while read -r name owner; do
    scratch=$(scratch_of "$name")
    drop_database "$name" || give_up "database $name: what an earlier move has kept cannot be dropped, see above"
    ask "$to" "" "ALTER DATABASE \"$scratch\" RENAME TO \"$name\"" || give_up "database $name: cannot be put in place, see above"
    database_properties "$name" | ask "$from" "" | ask "$to" > /dev/null || give_up "database $name: its settings cannot be taken over, see above"
  done <<< "$pairs"
  while read -r name; do
    role_properties "$name" | ask "$from" "" | ask "$to" > /dev/null || give_up "role $name: its settings cannot be taken over, see above"
  done <<< "$roles"
}

# The settings of databases and roles, as SET takes them: in the catalogue, a list is as it is written.
readonly SETTINGS="WITH settings AS (
  SELECT setrole, datname, name, CASE WHEN name IN ('search_path', 'temp_tablespaces', 'session_preload_libraries', 'local_preload_libraries') THEN value ELSE quote_literal(value) END AS value
  FROM pg_db_role_setting LEFT JOIN pg_database AS d ON d.oid = setdatabase, unnest(setconfig) AS config,
    LATERAL (SELECT split_part(config, '=', 1), substr(config, strpos(config, '=') + 1)) AS parts (name, value))"

# database_properties NAME: statements that print statements.
database_properties() {
  cat << END
SELECT 'ALTER DATABASE "$1" RESET ALL;';
$SETTINGS SELECT format('ALTER DATABASE "$1" SET %I TO %s;', name, value) FROM settings WHERE setrole = 0 AND datname = '$1';
SELECT format('GRANT %s ON DATABASE "$1" TO %s;', privilege_type, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(grantee)) END)
  FROM pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
  WHERE datname = '$1' AND grantee <> datdba AND (grantee = 0 OR pg_get_userbyid(grantee) IN ($(listed "$roles")));
END
}

# role_properties NAME: statements that print statements. It can log in again.
role_properties() {
  cat << END
SELECT 'ALTER ROLE "$1" LOGIN; ALTER ROLE "$1" RESET ALL;';
$SETTINGS SELECT format('ALTER ROLE "$1" %s SET %I TO %s;', 'IN DATABASE ' || quote_ident(datname), name, value)
  FROM settings WHERE setrole = '"$1"'::regrole AND (datname IS NULL OR datname IN ($(listed "$(cut -d ' ' -f 1 <<< "$pairs")")));
END
}

# listed LINES: names as an SQL list.
listed() { echo "$1" | sed "s/.*/'&'/" | paste -sd ,; }

# note_move: from here on, the target is the instance's server.
note_move() {
  local note kept left
  note=$(cluster_note "$MOUNTPOINT") kept=$(kept_note "$MOUNTPOINT") left=$(left_databases "$MOUNTPOINT" "$from")
  databases_in "$from" > "$left.new" || give_up "the databases in $(words "$from") cannot be listed, see above"
  sync "$left.new"
  mv --no-target-directory "$left.new" "$left"
  # The way back from an upgrade would undo the move, too.
  rm -f "$MOUNTPOINT/upgrade"
  if [[ $to == managed ]]; then
    echo "$cluster" > "$note.new"
    sync "$note.new"
    mv --no-target-directory "$note.new" "$note"
    rm -f "$kept"
  else
    mv --no-target-directory "$note" "$kept"
  fi
  rm -f "$(left_databases "$MOUNTPOINT" "$to")"
  sync --file-system "$MOUNTPOINT"
}

settle() {
  local to from name
  [[ -e $JOURNAL ]] || return 0
  to=$(in_journal to)
  from=$(other "$to")
  if [[ $(present) == "$from" ]]; then
    say "opening $(words "$from") again, after a move that was not completed"
    wait_until 300 "$(words "$from") to answer" is_up "$from" || return
    while read -r name; do ask "$from" "" "ALTER ROLE \"$name\" LOGIN" || return; done < <(in_journal role)
    while read -r name; do
      # One that a killed script was stopping may still be about to end. Somebody may have removed it.
      { docker stop "$name" && docker start "$name"; } > /dev/null || say "container $name: does not start again. See: docker ps --all"
    done < <(in_journal container)
  fi
  end_journal
}

is_up() { ask "$1" "" "SELECT 1" > /dev/null 2>&1; }

back() {
  local note kept from
  note=$(cluster_note "$MOUNTPOINT") kept=$(kept_note "$MOUNTPOINT")
  from=$(present)
  settle
  if [[ $from == managed ]]; then
    [[ -n $(own_data "$MOUNTPOINT") ]] || fail "$MOUNTPOINT/postgresql: has no database that a move has kept, so there is nothing to go back to"
    mv --no-target-directory "$note" "$kept"
  else
    [[ -e $kept ]] || fail "$kept: is not there, so no move has kept a cluster to go back to"
    mv --no-target-directory "$kept" "$note"
  fi
  sync "$MOUNTPOINT"
  rm -f "$STOPPED"
  changed "the instance's database is that of $(words "$(other "$from")") again, as it was when it was moved. Now: $(pulumi_command "config set" database "$(other "$from")") && $(pulumi_command up)"
  finish
}

main "$@"
