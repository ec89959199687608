#!/usr/bin/env bash
# Starts the backups: the instance's part of the repository, and the timers of its jobs. Without a repository, it removes both
# from the machine. The second run changes nothing and says so.
#
# With a managed database, the jobs are others: every hour dumps and files, instead of PostgreSQL's log and copies of its cluster.
#
#   backups.sh <mountpoint, dumped (with a managed database: the databases, Convex's first), move (true or false: whether a move of the database
#     is not confirmed yet), and the values of the repository (see repository.sh)
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/units.sh
source "$here/../lib/units.sh"
# shellcheck source=machine/backups/jobs.sh
source "$here/jobs.sh"

readonly OF_OWN_SERVER=(convex-restore-point convex-base-backup) OF_MANAGED=(convex-dump) OF_BUCKETS=(convex-objects)

main() {
  local mountpoint dumped move job jobs=(convex-drill) others "${REPOSITORY_VALUES[@]}"
  take mountpoint dumped move "${REPOSITORY_VALUES[@]}"
  lock
  if [[ -z $repository_endpoint ]]; then
    stop_backups
    finish
    return
  fi
  if [[ -n $dumped ]]; then
    mapfile -t dumped <<< "$dumped"
    configure_dumps "$mountpoint" "${dumped[@]}"
    leave_own_server "$move"
    jobs+=("${OF_MANAGED[@]}") others=("${OF_OWN_SERVER[@]}" "${OF_BUCKETS[@]}")
  else
    jobs+=("${OF_OWN_SERVER[@]}") others=("${OF_MANAGED[@]}")
    # Dumps save them with each restore point.
    if [[ -e $BUCKETS ]]; then jobs+=("${OF_BUCKETS[@]}"); else others+=("${OF_BUCKETS[@]}"); fi
  fi
  if [[ -e $BUCKETS ]]; then install_packages rclone fuse3; fi
  for job in "${others[@]}"; do
    if differs "units.$job.timer" "not installed" "$(either installed "not installed" test -e "/etc/systemd/system/$job.timer")"; then
      remove_job "$job"
      changed "removed $job"
    fi
  done
  for job in "${jobs[@]}"; do put_file 0644 "/etc/systemd/system/$job.service" systemd < "$here/$job.service"; done
  checking || open_repository
  if [[ -n ${dumped[0]} ]]; then
    checking || begin_dumps
  else
    checking || begin
    put_resume
  fi
  for job in "${jobs[@]}"; do put_unit "$job.timer"; done
  finish
}

# begin_dumps: makes the repository, if it is not there, and starts the first dump, which may take hours.
begin_dumps() {
  local found
  await_files
  found=$(attempt "the restore points" timeout 60 restic snapshots --json --no-lock --host "$STANZA" --tag dumped) || exit 1
  [[ $found == "[]" ]] || return 0
  # Of another bucket.
  rm -f "$mountpoint"/backups/{point,drill}.json
  reload_units
  systemctl start --no-block convex-dump.service
  changed "started the first dump"
}

# await_files: a new key may take some seconds to be accepted.
await_files() {
  wait_until 60 "the bucket to accept the key" has_files 2> /dev/null \
    || fail "backups: the bucket cannot be used. $(briefly restic cat config 2>&1 | explain)"
}

# begin: makes the volume's part of the repository, if it is not there, and starts the first backup, which may take hours.
begin() {
  local said
  await_files
  said=$(in_repository stanza-create 2>&1) || said=$(in_repository stanza-upgrade 2>&1) \
    || fail "backups: the bucket cannot be used for PostgreSQL. $(explain <<< "$said")"
  said=$(own_info) || exit 1
  if ! has_current_backup <<< "$said"; then
    announce_timelines
    # A part of PostgreSQL's log makes the whole way.
    in_repository check > /dev/null 2>&1 || fail "backups: PostgreSQL's log does not reach the bucket. $(archive_failure)"
    # Of another bucket, or another cluster.
    rm -f "$mountpoint"/backups/{point,base,drill}.json
    systemctl daemon-reload
    systemctl start --no-block convex-base-backup.service
    changed "started the first backup"
  fi
}

# announce_timelines: archives the histories of the timelines that an earlier restore has left, also those whose own volume or bucket
# was another one. PostgreSQL never removes them.
announce_timelines() {
  local file log
  log=$(data_directory)/pg_wal
  for file in "$log"/*.history; do
    if [[ -e $file ]]; then install -o postgres -g postgres -m 0600 /dev/null "$log/archive_status/${file##*/}.ready"; fi
  done
}

# has_files: whether restic's part of the repository is there; makes it if the bucket has none.
has_files() {
  local said
  said=$(briefly restic cat config 2>&1) && return
  [[ $said == *"unable to open config file"* || $said == *"Is there a repository at the following location"* ]] || return 1
  briefly restic init --quiet > /dev/null 2>&1 && changed "made the repository of the files"
}

# briefly COMMAND...: with a time limit, because restic tries for a quarter of an hour to reach a server.
briefly() { timeout 20 "$@"; }

# put_resume: goes on at boot with a restore that was interrupted.
put_resume() {
  put_file 0644 /etc/systemd/system/convex-restore.service systemd < "$here/convex-restore.service"
  enable_unit convex-restore.service
}

# leave_own_server MOVE: removes what the backups of this machine's own server needed, with a key and the passphrase. Until a move is confirmed,
# it stays, because what the move has kept can be used again. On the way back, postgres.sh makes it again.
leave_own_server() {
  local file found='' own=("$PGBACKREST" /etc/systemd/system/{convex-restore,pgbackrest}.service)
  if [[ $1 == true ]]; then
    declare_files "${own[@]}"
    return
  fi
  for file in "${own[@]}"; do
    if differs "files[$file]" nothing "$(kind_of "$file")"; then found=1; fi
  done
  [[ -n $found ]] || return 0
  systemctl disable --quiet convex-restore.service 2> /dev/null || true
  # Without the mask, its server would start.
  purge pgbackrest
  rm -f "${own[@]}"
  rmdir "${PGBACKREST%/*}" 2> /dev/null || true
  systemctl daemon-reload
  changed "removed what the backups of the server on this droplet needed"
}

# purge NAME...: removes those of these packages that are installed.
purge() {
  local packages
  mapfile -t packages < <(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2> /dev/null | sed -n 's/^installed //p')
  ((${#packages[@]})) || return 0
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 purge "${packages[@]}" > /dev/null < /dev/null \
    || fail "${packages[*]}: cannot be removed. Run $(pulumi_command up) again; if that does not help, see: apt-get purge ${packages[*]}"
}

stop_backups() {
  local job jobs=("${OF_OWN_SERVER[@]}" "${OF_MANAGED[@]}" "${OF_BUCKETS[@]}" convex-drill)
  differs "files[$REPOSITORY]" nothing "$(kind_of "$REPOSITORY")" || return 0
  for job in "${jobs[@]}"; do remove_job "$job"; done
  systemctl disable --quiet convex-restore.service 2> /dev/null || true
  rm -f /etc/systemd/system/convex-restore.service "$PGBACKREST" "$REPOSITORY_AUTHORITY"
  purge pgbackrest restic rclone
  rm -f /etc/systemd/system/pgbackrest.service
  systemctl daemon-reload
  # A job that was stopped in its work has failed, and is of no interest any more.
  systemctl reset-failed "${jobs[@]/%/.service}" 2> /dev/null || true
  # Last, because the next run looks for it if this one is killed.
  rm "$REPOSITORY"
  changed "stopped the backups"
}

remove_job() {
  systemctl disable --quiet --now "$1.timer" 2> /dev/null || true
  systemctl stop "$1.service" 2> /dev/null || true
  rm -f "/etc/systemd/system/$1".{service,timer}
}

main "$@"
