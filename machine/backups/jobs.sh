# shellcheck shell=bash
# What all jobs of the backups need, and move-in.sh.
# shellcheck disable=SC2153 # open_repository has read the capital ones

# shellcheck source=machine/lib/common.sh
source "${BASH_SOURCE[0]%/*}/../lib/common.sh"
# shellcheck source=machine/lib/sql.sh
source "${BASH_SOURCE[0]%/*}/../lib/sql.sh"
# shellcheck source=machine/lib/documents.sh
source "${BASH_SOURCE[0]%/*}/../lib/documents.sh"
# shellcheck source=machine/lib/on-volume.sh
source "${BASH_SOURCE[0]%/*}/../lib/on-volume.sh"
# shellcheck source=machine/buckets/place.sh
source "${BASH_SOURCE[0]%/*}/../buckets/place.sh"
# shellcheck source=machine/backups/repository.sh
source "${BASH_SOURCE[0]%/*}/repository.sh"

# one_at_a_time NAME [now]: if the same job is running, ends the script well; with `now`, waits for it.
one_at_a_time() {
  exec {job_lock}> "/run/convex-droplet-$1.lock"
  flock --nonblock "$job_lock" && return
  if [[ ${2:-} == now ]]; then
    say "waiting for the one that is running"
    flock "$job_lock"
  else
    say "is running already"
    exit 0
  fi
}

# record NAME JSON: notes on the volume that a job was completed, for drift and doctor.
record() {
  local new=$MOUNTPOINT/backups/.$1.new
  jq -c --arg at "$(date --utc +%FT%TZ)" '{at: $at} + .' <<< "$2" > "$new" && mv "$new" "$MOUNTPOINT/backups/$1.json"
}

# follow_cluster: if a restore has put the cluster of another volume in place, lets the volume's part of the repository go on with it, and
# sets `followed`. Until then, none of its log is archived.
follow_cluster() {
  local known present
  known=$(own_info | jq -r '.[0].db // [] | max_by(.id)["system-id"] // empty') || return
  present=$(sql "SELECT system_identifier FROM pg_control_system()") || return
  if [[ -z $known || $known == "$present" ]]; then return; fi
  attempt "the backups of another volume's cluster" in_repository stanza-upgrade || return
  say "the backups go on with the cluster of another volume"
  # shellcheck disable=SC2034 # for the caller
  followed=1
}

data_directory() { sed -n 's/^pg1-path=//p' "$PGBACKREST"; }
