#!/usr/bin/env bash
# Starts the backups: the instance's part of the repository, and the timers of its jobs. Without a repository, it removes both
# from the machine. The second run changes nothing and says so.
#
#   backups.sh <mountpoint, and the values of the repository (see repository.sh)
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/units.sh
source "$here/../lib/units.sh"
# shellcheck source=machine/backups/jobs.sh
source "$here/jobs.sh"

readonly JOBS=(convex-restore-point convex-base-backup convex-drill)

main() {
  local mountpoint "${REPOSITORY_VALUES[@]}"
  take mountpoint "${REPOSITORY_VALUES[@]}"
  lock
  if [[ -z $repository_endpoint ]]; then
    stop_backups
    finish
    return
  fi
  local job
  for job in "${JOBS[@]}"; do put_file 0644 "/etc/systemd/system/$job.service" systemd < "$here/$job.service"; done
  checking || open_repository
  checking || begin
  put_resume
  for job in "${JOBS[@]}"; do put_unit "$job.timer"; done
  finish
}

# begin: makes the volume's part of the repository, if it is not there, and starts the first backup, which may take hours.
begin() {
  local said
  # A new key may take some seconds to be accepted.
  wait_until 60 "the bucket to accept the key" has_files 2> /dev/null \
    || fail "backups: the bucket cannot be used. $(briefly restic cat config 2>&1 | explain)"
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

stop_backups() {
  local job
  differs "files[$REPOSITORY]" nothing "$(kind_of "$REPOSITORY")" || return 0
  for job in "${JOBS[@]}"; do
    systemctl disable --quiet --now "$job.timer" 2> /dev/null || true
    systemctl stop "$job.service" 2> /dev/null || true
    rm -f "/etc/systemd/system/$job".{service,timer}
  done
  systemctl disable --quiet convex-restore.service 2> /dev/null || true
  rm -f /etc/systemd/system/convex-restore.service "$PGBACKREST" "$REPOSITORY_AUTHORITY"
  DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o DPkg::Lock::Timeout=300 purge pgbackrest restic > /dev/null < /dev/null \
    || fail "pgbackrest: cannot be removed. Run $(pulumi_command up) again; if that does not help, see: apt-get purge pgbackrest restic"
  rm -f /etc/systemd/system/pgbackrest.service
  systemctl daemon-reload
  # A job that was stopped in its work has failed, and is of no interest any more.
  systemctl reset-failed "${JOBS[@]/%/.service}" 2> /dev/null || true
  # Last, because the next run looks for it if this one is killed.
  rm "$REPOSITORY"
  changed "stopped the backups"
}

main "$@"
