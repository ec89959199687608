#!/usr/bin/env bash
# Receives a hand-made installation: its database and its files arrive on stdin and are put beside the running instance, as database
# NAME_moving and folder data.moving. `swap` puts both in place of the instance's own, and keeps those as NAME_before_STAMP and
# data.before-moved-STAMP. Until then, nothing of the instance changes.
#
# A run that was killed leaves an incomplete copy, which the next one replaces. A swap that was interrupted is finished by the next `swap`:
# its journal is there from before the first change until the backend serves. After a reboot, `resume` finishes it, if the database was
# renamed already, and the next `swap` only checks it. Otherwise nothing was changed, and `resume` starts the instance as it was.
#
#   move-in.sh facts DATABASE           what there is, as lines name=value
#   move-in.sh database DATABASE OWNER  < a dump in pg_dump's custom format
#   move-in.sh files [add]              < a tar of the backend's folder; `add` keeps the files that are there
#   move-in.sh from_backup …            instead of a dump and a tar, see from-backup.sh
#   move-in.sh from_dump …              the same with a managed database, see from-dump.sh
#   move-in.sh from_cluster …           the same from another cluster
#   move-in.sh empty DATABASE OWNER     instead of both: nothing, so that the instance starts afresh
#   move-in.sh check DATABASE           < name, secret; compares the copy with itself, prints lines name=value
#   move-in.sh drop DATABASE…           removes the copy
#   move-in.sh swap                     < database, request (in words), and the values of convex/backend.sh; prints a line
#                                       point=NAME: the last restore point before it, or nothing
#   move-in.sh leave                    ends a swap that was interrupted, without a check of the backend, which may be why something else
#                                       is to take its place
#   move-in.sh resume                   (after a reboot)
#   move-in.sh forget DATABASE…         removes what swaps have kept, and an incomplete copy
set -euo pipefail
# As long as the data needs.
export CONVEX_DROPLET_LIMIT_SECONDS=${CONVEX_DROPLET_LIMIT_SECONDS:-43200}
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/../backups/jobs.sh"
# shellcheck source=machine/backups/beside.sh
source "$here/../backups/beside.sh"
# shellcheck source=machine/backups/swap.sh
source "$here/../backups/swap.sh"
# shellcheck source=machine/move-in/journal.sh
source "$here/journal.sh"
# shellcheck source=machine/move-in/from-backup.sh
source "$here/from-backup.sh"
# shellcheck source=machine/backups/dumps.sh
source "$here/../backups/dumps.sh"
# shellcheck source=machine/backups/other-cluster.sh
source "$here/../backups/other-cluster.sh"
# shellcheck source=machine/move-in/from-dump.sh
source "$here/from-dump.sh"

main() {
  local verb=$1 patience=0
  MOUNTPOINT=$(declared MOUNTPOINT)
  mountpoint -q "$MOUNTPOINT" || fail "$MOUNTPOINT: is not mounted, it should be the data volume. Run $(pulumi_command up)"
  # At boot, a drill may be first.
  if [[ $verb == resume ]]; then patience=3600; fi
  alone
  case $verb in
    facts | database | files | from_backup | from_dump | from_cluster | empty | check | drop | swap | leave | resume | forget) "$verb" "${@:2}" ;;
    *) fail "$verb: is not one of the verbs of this script" ;;
  esac
}

# Names are cut at 63 bytes.
moving_of() { echo "${1:0:55}_moving"; }
before_of() { echo "${1:0:38}_before_$2"; }

# has_database NAME: prints 1, or nothing. Fails if PostgreSQL does not answer.
has_database() { sql "SELECT 1 FROM pg_database WHERE datname = '$1'"; }

facts() {
  local version rows
  version=$(sql "SHOW server_version_num")
  read_journal "$MOUNTPOINT"
  rows=$(own_rows in_database "$1")
  printf '%s\n' "version=$((version / 10000))" "free=$(free_bytes "$MOUNTPOINT")" "own_rows=$rows" \
    "swapping=$(either yes no test -e "$(swapping)")" "request=$(in_journal request 2> /dev/null || true)" "restoring=$(either yes no test -n "${journal[phase]:-}")" "phase=${journal[phase]:-}" "restore=${journal[request]:-}"
}

# refuse_during_swap: after the swap has begun, the copy may be in use.
refuse_during_swap() { [[ ! -e $(swapping) ]] || fail "an earlier cut-over was interrupted while it swapped. Run it again to finish it"; }

database() {
  local moving
  make_moving "$@"
  moving=$(moving_of "$1")
  as_administrator pg_restore --exit-on-error --no-owner --no-privileges --no-comments --role="$2" --dbname="$moving" \
    || fail "the dump: cannot be restored, see above. The instance is unchanged"
  in_database "$moving" "SET client_min_messages = error; ANALYZE" || fail "database $moving: cannot be analyzed, see above. The instance is unchanged"
}

# make_moving DATABASE OWNER: makes the copy's database, without any tables.
make_moving() {
  local moving
  refuse_during_swap
  moving=$(moving_of "$1")
  [[ " ${DUMPED:-} " != *" $moving "* ]] || fail "database $moving: is one of this stack, and has the name that the copy of $1 needs. Nothing was changed. Rename it in databases"
  drop_moving "$1"
  {
    sql "CREATE DATABASE \"$moving\" OWNER \"$2\" TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8'" \
      && sql "REVOKE ALL ON DATABASE \"$moving\" FROM PUBLIC"
  } || fail "database $moving: cannot be created, see above. The instance is unchanged"
}

empty() {
  make_moving "$@"
  rm -rf "$MOUNTPOINT/data.moving"
  install -d -m 0755 "$MOUNTPOINT/data.moving/tmp"
}

drop_moving() {
  local moving
  moving=$(moving_of "$1")
  sql "DROP DATABASE IF EXISTS \"$moving\" WITH (FORCE)" 2> /dev/null || fail "database $moving: cannot be dropped. Is PostgreSQL running? See: systemctl status 'postgresql@*'"
}

files() {
  local folder=$MOUNTPOINT/data.moving inner
  refuse_during_swap
  if [[ ${1:-} != add ]]; then rm -rf "$folder"; fi
  install -d -m 0755 "$folder"
  tar --extract --file=- --directory="$folder" --no-same-owner || fail "the files: are not a complete tar, see above. The instance is unchanged"
  # A tar of the folder itself, such as docker cp makes.
  for inner in "$folder"/*/storage; do
    if [[ -d $inner && ! -e $folder/storage ]]; then
      mv "${inner%/storage}" "$folder.inner"
      rm -r "$folder"
      mv "$folder.inner" "$folder"
    fi
  done
  [[ -d $folder/storage ]] || fail "the files: have no folder storage, they should be the content of the backend's /convex/data"
  rm -rf "$folder/tmp"
  install -d -m 0755 "$folder/tmp"
}

check() {
  local name secret credentials=$MOUNTPOINT/data.moving/credentials identity=same rows newest files bytes
  take name secret
  DATABASE=$(moving_of "$1")
  [[ -n $(has_documents in_database "$DATABASE") ]] \
    || fail "the database: has no table documents in its default schema, so no Convex backend has used it"
  if [[ ! -e $credentials/instance_secret ]]; then
    identity=unknown
  elif [[ $(cat "$credentials/instance_name") != "$name" ]]; then
    identity="name $(tr -dc 'a-z0-9_-' < "$credentials/instance_name")"
  elif [[ $(tr A-F a-f < "$credentials/instance_secret") != "${secret,,}" ]]; then
    identity=secret
  fi
  read -r rows newest files bytes < <(compare_files in_database "$MOUNTPOINT/data.moving") || exit 1
  [[ -n $rows ]] || exit 1
  printf '%s\n' "identity=$identity" "rows=$rows" "newest=$newest" "files=$files" "bytes=$bytes"
}

drop() {
  local name
  refuse_during_swap
  for name in "$@"; do drop_moving "$name"; done
  rm -rf "$MOUNTPOINT/data.moving"
}

swap() {
  local values container database request
  # The old backend is stopped, so a connection that breaks must not stop this in the middle.
  trap '' PIPE
  values=$(cat)
  take container database request <<< "$values"
  pause_points
  lock
  begin "$database" "$container" "$request"
  take_over
  allow_points
  unlock
  bash "$here/../convex/backend.sh" stay <<< "$values" > /dev/null \
    || fail "the backend does not serve after the $(in_journal request), see above. Fix the cause, which $(npm_command doctor) may know, and run again:" \
      "$(swap_again)$(way_back)"
  printf 'point=%s\n' "$(in_journal point)" || true
  # If nobody hears it, because the command was killed, the same command still has to learn that it is done.
  if printf '%s\n' "${0##*/}: what was here before is kept as database $(before_of "$database" "$(in_journal stamp)") and folder $MOUNTPOINT/data.before-moved-$(in_journal stamp)" >&2; then
    end_swap
  fi
}

leave() {
  pause_points
  lock
  if [[ -e $(swapping) ]]; then
    say "leaving the $(in_journal request), which was not completed"
    take_over
    end_swap
  fi
  allow_points
  unlock
}

# way_back: how to undo a swap, at the end of a sentence; nothing if there is no restore point before it.
way_back() {
  local point
  point=$(in_journal point)
  if [[ -n $point ]]; then echo ". To go back to what was here before, without what was written since $point: $(npm_command restore) --to $point --yes"; fi
}

resume() {
  pause_points
  lock
  if [[ -e $(swapping) ]]; then
    wait_until 300 "PostgreSQL to answer" has_database template1 > /dev/null
    if [[ -n $(has_database "$(moving_of "$(in_journal database)")") ]]; then
      # Nothing was renamed yet. Somebody may have used the instance since then.
      say "starting the instance as it was"
      docker start "$(in_journal container)" > /dev/null || fail "$(in_journal container): does not start. See: docker logs $(in_journal container)"
      end_swap
    else
      take_over
    fi
  else
    end_swap
  fi
  allow_points
}

# take_over: puts both in place, and starts the backend with them. Safe to do again.
take_over() {
  local database container stamp
  database=$(in_journal database) container=$(in_journal container) stamp=$(in_journal stamp)
  say "stopping the backend"
  docker stop "$container" > /dev/null || fail "$container: does not stop. See: docker ps"
  note_swap
  say "putting database and files in place"
  wait_until 120 "database $database to have no users" swap_database "$database" "$stamp" || fail "database $database: cannot be renamed. Run the same command again"
  put_in_place "$MOUNTPOINT/data" "moved-$stamp" moving
  mark_as_restored "$MOUNTPOINT"
  sync --file-system "$MOUNTPOINT"
  docker start "$container" > /dev/null || fail "$container: does not start. See: docker logs $container"
}

# note_swap: notes the time, which the next restore points get from point.sh: their files are not those of moments before it.
note_swap() {
  local path=$MOUNTPOINT/backups/swapped
  date --utc +%s.%6N > "$path.new"
  sync "$path.new"
  mv "$path.new" "$path"
}

# begin DATABASE CONTAINER REQUEST: writes the journal of a new swap, whose copy is complete, and a unit that resumes it at boot.
begin() {
  local path found point='' also=''
  path=$(swapping)
  [[ ! -e $path ]] || return 0
  found=$(has_database "$(moving_of "$1")")
  [[ -d $MOUNTPOINT/data.moving && -n $found ]] || fail "there is no complete copy to put in place. Run the cut-over again"
  if [[ -e $REPOSITORY ]]; then
    open_repository
    point=$(keep_undone)
  fi
  if is_managed && [[ -e $(loaded) ]]; then also=$(grep -Fxv -- "$1" "$(loaded)" | tr '\n' ' ') || true; fi
  sync --file-system "$MOUNTPOINT"
  install -m 0644 "$here/${RESUME##*/}" "$RESUME"
  systemctl enable --quiet "${RESUME##*/}"
  sync --file-system "$RESUME"
  install -d -m 0711 "$MOUNTPOINT/backups"
  # The way back from an upgrade would undo this, too.
  rm -f "$MOUNTPOINT/upgrade"
  printf '%s\n' "stamp=$(date --utc +%Y%m%dT%H%M%SZ)" "database=$1" "also=$also" "container=$2" "request=$3" "point=$point" > "$path.new"
  sync "$path.new"
  mv "$path.new" "$path"
  sync "${path%/*}"
}

# swap_database DATABASE STAMP: in one transaction, and only once. Jobs of the backups may use it for a moment. PostgreSQL may not answer
# yet.
swap_database() {
  local name found renames=''
  found=$(has_database "$(moving_of "$1")") || return
  [[ -n $found ]] || return 0
  for name in "$1" $(in_journal also); do
    renames+="SELECT FROM pg_stat_activity, pg_terminate_backend(pid) WHERE datname IN ('$name', '$(moving_of "$name")') AND pg_has_role(usesysid, 'USAGE');
ALTER DATABASE \"$name\" RENAME TO \"$(before_of "$name" "$2")\";
ALTER DATABASE \"$(moving_of "$name")\" RENAME TO \"$name\";
"
  done
  sql > /dev/null << END
BEGIN;
${renames}COMMIT;
END
}

forget() {
  local found name
  drop "$@"
  for name in "$@"; do
    while read -r found; do
      sql "DROP DATABASE \"$found\" WITH (FORCE)"
      changed "removed database $found"
    done < <(sql "SELECT datname FROM pg_database WHERE datname ~ '^$(before_of "$name" '[0-9TZ]+')\$'")
  done
  # Also if a restore to a time before the swap has already replaced the database.
  for found in "$MOUNTPOINT"/data.before-moved-*; do
    [[ -d $found ]] || continue
    rm -rf "$found"
    changed "removed $found"
  done
  finish
}

main "$@"
