#!/usr/bin/env bash
# Waits until the Convex backend serves, then checks an admin key and prints the key that the backend accepts, and nothing
# else, on stdout: the given key, or if the backend refuses it, one made by the backend's own tool. The backend is accepted if
# its files are on the volume and are those of its first accepted start, and if a write works; with an image that rehearse.sh has
# tried, also if its migrations have ended as there, and a query and a stored file can be read. Changes only the mark of the
# first accepted start, the note of its buckets and the name of the accepted image on the volume, and restarts a backend that has failed and waits for its
# next start. Each run does the same. If a new image fails, it puts the previous one and the data of before back, and fails; see go-back.sh.
#
#   backend.sh <container, image, name (the instance's), port (the API's on the droplet), site_port (the HTTP actions'), cloud_origin and
#     site_origin (URLs that the backend itself must reach; may be empty), mountpoint, key (the admin key)
#
#   backend.sh stay  < the same; never goes back
set -euo pipefail
# After an upgrade, as long as its migrations need, or a restore.
export CONVEX_DROPLET_LIMIT_SECONDS=${CONVEX_DROPLET_LIMIT_SECONDS:-18000}
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/lib/sql.sh
source "$here/../lib/sql.sh"
# shellcheck source=machine/lib/documents.sh
source "$here/../lib/documents.sh"
# shellcheck source=machine/lib/engine.sh
source "$here/../lib/engine.sh"
# shellcheck source=machine/convex/gate.sh
source "$here/gate.sh"
# shellcheck source=machine/convex/upgrade.sh
source "$here/upgrade.sh"
# shellcheck source=machine/lib/on-volume.sh
source "$here/../lib/on-volume.sh"
# shellcheck source=machine/buckets/place.sh
source "$here/../buckets/place.sh"
# shellcheck source=machine/lib/downtime.sh
source "$here/../lib/downtime.sh"
# shellcheck source=machine/convex/go-back.sh
source "$here/go-back.sh"

# What the gate has said.
readonly GATE=/run/convex-droplet-gate

main() {
  local mode=${1:-} values container image name port site_port cloud_origin site_origin mountpoint key log status
  # It goes on to its end if the connection breaks.
  trap '' PIPE
  values=$(cat)
  take container name port site_port cloud_origin site_origin mountpoint key <<< "$values"
  if [[ $mode != stay ]]; then
    take image <<< "$values"
    if is_going_back "$mountpoint"; then go_back "$mountpoint" "$container" "$values"; fi
    if is_refused "$mountpoint" "$image" && ! same_image "$image" "$(image_of "$container")"; then fail "$(tell_refused "$mountpoint")"; fi
  fi
  require_on_volume "$mountpoint"
  if lost_files "$mountpoint"; then
    fail "backend: has lost its files: $mountpoint/data/storage is not the folder that this instance was accepted with. Restore it from" \
      "a backup; to continue without the stored files, and without functions until you deploy them again:" \
      "$(npm_command ssh) 'rm $(mark_of "$mountpoint")', then run $(pulumi_command up) again"
  fi
  say "waiting for the backend"
  # Only for root, because the backend's log may contain what its users have written.
  exec {log}> >(umask 077 && exec tee --output-error=warn-nopipe "$GATE" >&2)
  # Behind `||`, it would go on after an error.
  set +e
  key=$(
    set -e
    gate 2>&"$log"
  )
  status=$?
  set -e
  exec {log}>&-
  wait "$!" || true
  if ((status != 0)); then
    if [[ $mode != stay ]] && can_go_back "$mountpoint" "$container" "$values"; then
      begin_to_go_back "$mountpoint" "$(sed -n 's/^backend\.sh: error: //p' "$GATE" | tail -n 1)"
      go_back "$mountpoint" "$container" "$values"
      fail "$(tell_refused "$mountpoint")"
    fi
    tell_way_back
    exit 1
  fi
  note_place "$mountpoint" "$container"
  mark "$mountpoint"
  accept_image "$mountpoint" "$container"
  require_self_reach "$container" "$name" "$cloud_origin" "$site_origin" "$site_port"
  tell_downtime
  say "the backend is healthy and accepts the admin key"
  printf '%s\n' "$key"
}

# gate: what the image is responsible for; prints the key that the backend accepts.
gate() {
  key=$(pass_gate "$container" "$port" "$name" "$key") || exit 1
  require_own_folder "$container" "$mountpoint/data"
  require_write "$container" "$port" "$key"
  require_upgraded "$mountpoint" "$container" "$port" "$key" "${name//-/_}"
  printf '%s\n' "$key"
}

# require_upgraded MOUNTPOINT CONTAINER PORT KEY DATABASE: after an upgrade, checks what its rehearsal has seen.
require_upgraded() {
  local mountpoint=$1 container=$2 port=$3 key=$4 database=$5 version
  version=$(of_upgrade "$mountpoint" "$container" version)
  [[ -n $version ]] || return 0
  say "waiting for the migrations"
  wait_until 3600 "the migrations to version $version of the tables" has_migrated "$container" "$database" "$version" \
    || fail "backend: has not migrated its tables to version $version, as it did on the copy. See its log: docker logs $container"
  require_query "$container" "$port" "$key"
  require_file "$port" in_database "$database"
}

# has_migrated CONTAINER DATABASE VERSION
has_migrated() {
  local found
  found=$(version_in in_database "$2") || return
  if ((${found:-0} >= $3)); then return; fi
  if docker logs --since "$(docker inspect --format '{{.State.StartedAt}}' "$1")" "$1" 2>&1 | failed_migration >&2; then
    fail "backend: a migration has failed, see above"
  fi
  return 1
}

# tell_way_back: if a new image was not accepted, and stays.
tell_way_back() {
  local images point moment
  images=$(of_upgrade "$mountpoint" "$container" images) point=$(of_upgrade "$mountpoint" "$container" point)
  moment=$(of_upgrade "$mountpoint" "$container" moment)
  if [[ -z $images ]]; then return; fi
  if [[ -n $moment ]]; then
    say "to go back to the previous image: $images. If it cannot read what the new backend has migrated, restore the managed database to $moment, without what was written since then: $(npm_command restore) --to $moment --yes"
  elif [[ -n $point ]]; then
    say "to go back to $point, without what was written since then: $images && $(npm_command restore) --to $point --yes"
  else
    say "to go back: $images. The data stays as the new backend has migrated it, because this stack had no backup yet; if it has snapshots of the volume, see docs/backups.md"
  fi
}

# Checks the folder that the container was started with, because later mounts and unmounts do not reach a running container.
require_own_folder() {
  local container=$1 data=$2 pid
  pid=$(docker inspect --format '{{.State.Pid}}' "$container")
  [[ $(folder_at "/proc/$pid/root/convex/data") == "$(folder_at "$data")" ]] \
    || fail "backend: writes to another folder than $data on the volume. Copy what you need from it, then: $(npm_command ssh) 'docker restart $container'"
}

# Functions call their own backend at these URLs, and so do the libraries for sign-in. Not every network lets a machine reach its
# own public address, and not every certificate is trusted inside of the container.
require_self_reach() {
  local container=$1 name=$2 cloud_origin=$3 site_origin=$4 site_port=$5 path=/.well-known/convex-droplet expected
  [[ -n $cloud_origin ]] || return 0
  require_answer "$container" "$cloud_origin/instance_name" "$name (200)"
  # Usually nothing serves this path, but the app may.
  expected=$(curl -s --max-time 5 -o /dev/null -w '(%{http_code})' "http://127.0.0.1:$site_port$path") || true
  require_answer "$container" "$site_origin$path" "$expected"
}

# require_answer CONTAINER URL END: waits for an answer with this end.
require_answer() {
  wait_until 15 "the backend to reach itself at $2" is_answered "$@" \
    || fail "backend: is answered '$(self_answer "$1" "$2")' at $2 from inside its container, it should be '$3'." \
      "See where the name leads and who answers there: $(npm_command doctor). A server in front of the droplet must pass it on"
}

is_answered() { [[ $(self_answer "$1" "$2") == *"$3" ]]; }

# self_answer CONTAINER URL: the start of the answer and its status; or curl's error.
self_answer() { docker exec "$1" curl -sS --max-time 5 -w ' (%{http_code})' "$2" 2>&1 | tr -d '\0' | tr '\n' ' ' | sed 's/^\(.\{150\}\).*\( ([0-9]*)\)$/\1…\2/'; }

folder_at() { stat --dereference --format %d:%i "$1"; }

main "$@"
