#!/usr/bin/env bash
# Restores the instance from its backups. First it restores beside the running instance and checks the result; only then it stops
# PostgreSQL and the backend, swaps the folders by renames, and starts them again. Nothing is overwritten: what was replaced stays
# on the volume. On a volume without an instance, it puts both in place, and the next npx pulumi up starts it.
#
# A run that was killed is finished by the same command: before the swap it starts again, and a finished swap is not repeated.
# After a reboot, convex-restore.service does this. With another target, it takes the place of a restore, copy or move-in that is in place,
# but whose backend was not accepted.
#
#   restore.sh <to (latest, a restore point's name, or a moment in RFC 3339), stanza (whose backups; empty: this volume's, or the
#     only ones), mode, and the values of convex/backend.sh
#
#     mode plan    prints what a restore would do as JSON on stdout; changes nothing
#     mode run     restores; prints a line point=NAME: the last restore point before it, or nothing
#     mode forget  removes what earlier restores have kept
#
#   restore.sh resume   (after a reboot)
set -euo pipefail
# A restore takes as long as its data needs; 12 hours by default.
export CONVEX_DROPLET_LIMIT_SECONDS=${CONVEX_DROPLET_LIMIT_SECONDS:-43200}
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/jobs.sh"
# shellcheck source=machine/backups/beside.sh
source "$here/beside.sh"
# shellcheck source=machine/backups/swap.sh
source "$here/swap.sh"
# shellcheck source=machine/move-in/journal.sh
source "$here/../move-in/journal.sh"
# shellcheck source=machine/convex/upgrade.sh
source "$here/../convex/upgrade.sh"

main() {
  local values to stanza mode container
  if [[ ${1:-} == resume ]]; then
    open_repository
    resume
    return
  fi
  values=$(cat)
  take to stanza mode container <<< "$values"
  open_repository
  mountpoint -q "$MOUNTPOINT" || fail "$MOUNTPOINT: is not mounted, it should be the data volume. Run $(pulumi_command up)"
  case $mode in
    plan) plan "$to" "$stanza" ;;
    run) run "$to" "$stanza" "$container" "$values" ;;
    forget) forget ;;
    *) fail "mode: is '$mode', it should be plan, run or forget" ;;
  esac
}

# require_swapped: fails if database and files may be those of two instances.
require_swapped() {
  if [[ -e $(swapping) ]] && ! is_swapped; then
    fail "a $(in_journal request) was interrupted while it swapped database and files, it should be finished first. Run: $(swap_again)"
  fi
}

plan() {
  local stanza rows newest files now=null
  require_swapped
  stanza=$(choose_stanza "$2")
  find_target "$stanza" "$1"
  # Nothing on a blank volume.
  read -r rows newest files < <(current_state) || true
  if [[ -n $rows ]]; then now="[$rows, $newest, $files, $(rows_after), $(files_after)]"; fi
  python3 -IS -c '
import json, sys
from datetime import datetime, timezone
names = "stanza to point moment timeline backup snapshot database files needed free now".split()
value = dict(zip(names, sys.argv[1:]))
def utc(seconds):
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="seconds").replace("+00:00", "Z")
moment, now = float(value["moment"]), json.loads(value["now"])
plan = {
    "stanza": value["stanza"],
    "target": {"to": value["to"], "moment": utc(moment), "timeline": int(value["timeline"]), "point": value["point"],
               "backup": value["backup"], "snapshot": value["snapshot"]},
    "now": None,
    "lost": None,
    "bytes": {"database": int(value["database"]), "files": int(value["files"]), "needed": int(value["needed"]), "free": int(value["free"])},
}
if now:
    versions, newest, files, lost_versions, lost_files = now
    newest = newest / 1e9
    plan["now"] = {"newest": utc(newest) if newest else None, "versions": versions, "files": files}
    plan["lost"] = {"versions": lost_versions, "files": lost_files, "seconds": max(0, round(newest - moment)) if lost_versions else 0}
print(json.dumps(plan))' "$stanza" "${target[to]}" "${target[point]}" "${target[moment]}" "${target[timeline]}" "${target[backup]}" \
    "${target[snapshot]}" "${target[bytes]}" "${target[files]}" "$(needed_bytes)" "$(free_bytes "$MOUNTPOINT")" "$now"
}

serves() { in_database "$DATABASE" "SELECT" > /dev/null 2>&1; }

# current_state: rows, newest row (in ns since 1970) and files; nothing if there is no database that serves.
current_state() {
  serves || return 0
  echo "$(rows_in in_database "$DATABASE") $(count_files)"
}

# count_files [SECONDS]: how many stored files there are; with a moment, how many are newer. Those in buckets are counted by their rows.
count_files() {
  local prefix
  prefix=$(prefix_in in_database "$DATABASE") || return
  if [[ -n $prefix ]]; then
    stored_after in_database "$DATABASE" "${1:-0}"
  else
    { find "$MOUNTPOINT/data/storage/files" -type f ! -name '.*' ${1:+-newermt "@$1"} 2> /dev/null || true; } | wc -l
  fi
}

# rows_after, files_after: what is newer than the target.
rows_after() {
  if [[ -z $(has_documents in_database "$DATABASE") ]]; then echo 0; else
    in_database "$DATABASE" "SELECT count(*) FROM documents WHERE ts > ${target[moment]} * 1000000000"
  fi
}
files_after() { count_files "${target[moment]}"; }

run() {
  local to=$1 stanza container=$3 values=$4
  alone
  trap give_up EXIT
  # A connection that breaks must not stop it in the middle.
  trap '' PIPE
  install -d -m 0711 "$MOUNTPOINT/backups"
  require_swapped
  read_journal "$MOUNTPOINT"
  if [[ ${journal[phase]:-} =~ ^(swap|start)$ && ${journal[request]} == "$to $2" ]]; then
    say "finishing the restore to ${journal[to]}, which was interrupted"
    complete "$container" "$values"
    return
  fi
  stanza=$(choose_stanza "$2")
  find_target "$stanza" "$to"
  if [[ ${journal[phase]:-} =~ ^(ready|stop)$ && ${journal[of]} == "$(description "$stanza")" ]] && has_copies; then
    say "the copy of an earlier run is complete, and is used"
  else
    leave_earlier "$container"
    prepare "$stanza" "$to $2" "$container"
  fi
  complete "$container" "$values"
}

# leave_earlier CONTAINER: ends a restore, copy or move-in that is in place, so that its backend need not be accepted. It may be why somebody
# restores. Meanwhile, the instance serves if it can, and its server has the passwords.
leave_earlier() {
  if [[ ${journal[phase]:-} == stop ]]; then
    start_services "$1" || exit 1
    write_journal "$MOUNTPOINT" ready
  fi
  if [[ ${journal[phase]:-} =~ ^(swap|start)$ ]]; then
    say "leaving the restore to ${journal[to]}, which was not completed"
    lock
    finish_swap "$MOUNTPOINT"
    read_journal "$MOUNTPOINT"
    start_services "$1" || exit 1
    rm -f "$(journal_of "$MOUNTPOINT")"
    journal=()
    unlock
  fi
  if [[ -e $(swapping) ]]; then
    say "leaving the $(in_journal request), which was not completed"
    end_swap
  fi
}

has_copies() { [[ -d ${journal[cluster]}.restored && -d $MOUNTPOINT/data.restored ]]; }

# give_up: does not keep a copy that is not complete. Of a run that was killed, the next one removes it.
give_up() {
  tell_if_full
  end_leftovers
  if [[ ${journal[phase]:-} == stop ]]; then
    start_services "$(startable "${journal[container]}")" && write_journal "$MOUNTPOINT" ready
  elif [[ ${journal[phase]:-} == prepare ]]; then
    rm -rf "${journal[cluster]}.restored" "$MOUNTPOINT/data.restored" "$(journal_of "$MOUNTPOINT")"
  fi
}

# description STANZA: what a copy was made from. Without the snapshot's id, because a mark changes it.
description() { echo "$1 ${target[timeline]} ${target[backup]} ${target[point]} ${target[to]}"; }

# prepare STANZA REQUEST CONTAINER: makes and checks the copies.
prepare() {
  local stanza=$1 cluster=$MOUNTPOINT/postgresql/${target[version]}/main found
  journal=([request]=$2 [to]=${target[to]} [of]=$(description "$stanza") [container]=$3 [cluster]=$cluster)
  require_version
  write_journal "$MOUNTPOINT" prepare
  install -d -m 0755 "$MOUNTPOINT/postgresql"
  restore_beside "$stanza" "$cluster.restored" "$MOUNTPOINT/data.restored"
  found=$(check_beside "$MOUNTPOINT/data.restored") || exit 1
  keep_passwords
  stop_beside "$cluster.restored"
  # The copy is complete, so it is not removed any more if the volume becomes full.
  end_leftovers
  continue_archive "$cluster.restored"
  sync --file-system "$MOUNTPOINT"
  journal[found]=$found
  write_journal "$MOUNTPOINT" ready
}

# keep_passwords: gives the copy's roles the passwords that they have now, because the stack and the containers know no others.
keep_passwords() {
  serves || return 0
  local name hash known
  known=$(beside_sql postgres "SELECT rolname FROM pg_roles WHERE rolcanlogin")
  while read -r name hash; do
    if grep -Fxq -- "$name" <<< "$known"; then
      as_postgres psql -h "$BESIDE" -qAtX -v ON_ERROR_STOP=1 -d postgres << EOF
SET log_min_error_statement = panic;
ALTER ROLE "$name" PASSWORD '$hash';
EOF
    fi
  done < <(in_database postgres "SELECT rolname || ' ' || rolpassword FROM pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL")
}

# complete CONTAINER VALUES: from a complete copy to an instance that serves. Each phase is safe to do again.
complete() {
  local container=$1 values=$2
  if [[ ${journal[phase]} =~ ^(ready|stop)$ ]]; then pause_points; fi
  lock
  if [[ ${journal[phase]} =~ ^(ready|stop)$ ]]; then
    # Another restore takes the place of the way back from an upgrade.
    if [[ ${journal[request]% *} != "$(line_of "$MOUNTPOINT/upgrade" point)" ]]; then rm -f "$MOUNTPOINT/upgrade"; fi
    journal[point]=$(keep_undone)
    journal[stamp]=$(date --utc +%Y%m%dT%H%M%SZ)
    write_journal "$MOUNTPOINT" stop
    say "stopping the backend and PostgreSQL"
    stop_services "$container"
    write_journal "$MOUNTPOINT" swap
  fi
  finish_swap "$MOUNTPOINT"
  read_journal "$MOUNTPOINT"
  start_services "$container" || exit 1
  unlock
  if [[ -n $(container_state "$container") ]]; then
    bash "$here/../convex/backend.sh" stay <<< "$values" > /dev/null \
      || fail "the backend does not serve after the restore to ${journal[to]}, see above. Fix the cause, which $(npm_command doctor) may know, and run again: $(again)." \
        "Or restore to another time, which undoes this one${journal[point]:+, such as the last one before it: $(npm_command restore) --to ${journal[point]} --yes}"
  fi
  continue_backups
  rm -f "$(journal_of "$MOUNTPOINT")"
  allow_points
  # Until there is one, the latest restore point is one that this restore has undone.
  if configured; then systemctl start convex-restore-point.service 2> /dev/null || say "no restore point was made yet; its timer tries again"; fi
  printf 'point=%s\n' "${journal[point]:-}" || true
  tell
  if [[ -z $(container_state "$container") ]]; then say "there is no backend yet. Start the instance with: $(pulumi_command up --refresh --run-program --skip-preview) --yes"; fi
}

# again: the command that goes on with the restore in the journal.
again() {
  local to=${journal[request]% *} stanza=${journal[request]##* }
  printf '%s --to %q%s --yes' "$(npm_command restore)" "$to" "${stanza:+ --stanza $stanza}"
}

# continue_backups: after the cluster of another volume was put in place.
continue_backups() {
  local followed=
  if ! configured; then return; fi
  follow_cluster || say "the backups do not go on with this cluster yet; the one of tonight tries it again, and so does: $(npm_command backup) now"
  if [[ -n $followed ]]; then systemctl start --no-block convex-base-backup.service 2> /dev/null || say "no backup of this cluster was started yet; its timer tries again"; fi
}

unit_of() {
  local version=${journal[cluster]%/main}
  echo "postgresql@${version##*/}-main.service"
}

# configured: whether the droplet's PostgreSQL is set up; on a new one it is not.
configured() {
  local version=${journal[cluster]%/main}
  [[ -e /etc/postgresql/${version##*/}/main/postgresql.conf ]]
}

container_state() { docker inspect --format '{{.State.Status}}' "$1" 2> /dev/null || true; }

stop_services() {
  if [[ -n $(container_state "$1") ]]; then docker stop "$1" > /dev/null || fail "$1: does not stop. See: docker ps"; fi
  if configured; then systemctl stop "$(unit_of)" || fail "PostgreSQL: does not stop. See: journalctl -u $(unit_of)"; fi
}

# startable CONTAINER: nothing while an upgrade is being undone, because the container has the previous image, and the data is the new one's.
startable() { if ! is_going_back "$MOUNTPOINT"; then echo "$1"; fi; }

start_services() {
  local unit
  unit=$(unit_of)
  if configured; then
    say "starting PostgreSQL"
    systemctl reset-failed "$unit" 2> /dev/null || true
    systemctl start "$unit" || fail "PostgreSQL: does not start with the restored data. See: journalctl -u $unit"
    wait_until 300 "PostgreSQL to answer on its socket" pg_isready --quiet
  fi
  if [[ -n $(container_state "$1") ]]; then docker start "$1" > /dev/null || fail "$1: does not start. See: docker logs $1"; fi
}

# resume: after a reboot. Before the swap, the instance goes on as it was; after it, with what was restored.
resume() {
  # At boot, a drill may be first.
  local patience=3600
  alone
  lock
  read_journal "$MOUNTPOINT"
  case ${journal[phase]:-} in
    stop)
      start_services "$(startable "${journal[container]}")"
      write_journal "$MOUNTPOINT" ready
      ;;
    swap | start)
      finish_swap "$MOUNTPOINT"
      read_journal "$MOUNTPOINT"
      start_services "${journal[container]}"
      # If it has undone an upgrade, that must not be done again, over what is written from now on.
      rm -f "$MOUNTPOINT/upgrade"
      rm -f "$(journal_of "$MOUNTPOINT")"
      tell
      unlock
      continue_backups
      ;;
  esac
}

# kept: the folders that restores have replaced.
kept() {
  find "$MOUNTPOINT" "$MOUNTPOINT"/postgresql/*/ -mindepth 1 -maxdepth 1 -type d \
    \( -name 'data.before-[0-9]*' -o -name 'main.before-[0-9]*' \) 2> /dev/null | sort || true
}

tell() {
  local folders size
  say "restored to ${journal[to]}"
  mapfile -t folders < <(kept)
  ((${#folders[@]})) || return 0
  size=$(du --summarize --total --block-size=1 "${folders[@]}" | tail -n 1 | cut -f 1)
  say "what was replaced takes $(human "$size"): ${folders[*]}"
}

forget() {
  local folders folder
  alone
  read_journal "$MOUNTPOINT"
  [[ ! ${journal[phase]:-} =~ ^(stop|swap|start)$ ]] \
    || fail "a restore to ${journal[to]} was interrupted, it should be completed first. Run: $(again); or restore to another time"
  mapfile -t folders < <(kept)
  folders+=("$MOUNTPOINT"/postgresql/*/main.restored "$MOUNTPOINT/data.restored")
  end_leftovers
  # First, because it may name one of these folders.
  rm -f "$(journal_of "$MOUNTPOINT")"
  for folder in "${folders[@]}"; do
    if [[ -d $folder ]]; then
      rm -rf "$folder"
      changed "removed $folder"
    fi
  done
  finish
}

main "$@"
