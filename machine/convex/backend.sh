#!/usr/bin/env bash
# Waits until the Convex backend serves, then checks an admin key and prints the key that the backend accepts, and nothing
# else, on stdout: the given key, or if the backend refuses it, one made by the backend's own tool. The backend is accepted if
# its files are on the volume and are those of its first accepted start, and if a write works. Changes only the mark of the
# first accepted start on the volume, and restarts a backend that has failed and waits for its next start. Each run does the
# same.
#
#   backend.sh <container, name (the instance's), port (the API's on the droplet), site_port (the HTTP actions'), cloud_origin and
#     site_origin (URLs that the backend itself must reach; may be empty), mountpoint, key (the admin key)
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/convex/symptoms.sh
source "$here/symptoms.sh"
# shellcheck source=machine/lib/on-volume.sh
source "$here/../lib/on-volume.sh"

main() {
  local container name port site_port cloud_origin site_origin mountpoint key made served
  take container name port site_port cloud_origin site_origin mountpoint key
  require_on_volume "$mountpoint"
  if lost_files "$mountpoint"; then
    fail "backend: has lost its files: $mountpoint/data/storage is not the folder that this instance was accepted with. Restore it from" \
      "a backup; to continue without the stored files, and without functions until you deploy them again:" \
      "rm $(mark_of "$mountpoint"), then run npx pulumi up again"
  fi
  say "waiting for the backend"
  await_backend "$container" "http://127.0.0.1:$port"
  served=$(curl -fsS --max-time 10 "http://127.0.0.1:$port/instance_name")
  [[ $served == "$name" ]] || fail "backend: says it is '$served', it should be '$name'. Another backend answers on port $port. See: docker ps"
  if ! accepts "$container" "$port" "$key"; then
    say "the backend refuses the key made from its secret; asking its own tool for one"
    made=$(docker exec "$container" ./generate_admin_key.sh 2> /dev/null | grep '|' | tail -n 1) || true
    accepts "$container" "$port" "$made" \
      || fail "backend: refuses its own admin key too, so it runs with another secret or name than this stack's. See: docker logs $container"
    key=$made
  fi
  require_own_folder "$container" "$mountpoint/data"
  require_self_reach "$container" "$name" "$cloud_origin" "$site_origin" "$site_port"
  require_write "$container" "$port" "$key"
  mark "$mountpoint"
  tell_downtime
  say "the backend is healthy and accepts the admin key"
  printf '%s\n' "$key"
}

# Does not print it again, even if nobody hears it.
tell_downtime() {
  [[ -e $STOPPED ]] || return 0
  say "the backend serves again, $(($(date +%s) - $(cat "$STOPPED"))) s after its database stopped (less, if it crashed)"
  rm -f "$STOPPED"
}

# Waits for a slow start, but not for a container that keeps dying.
await_backend() {
  local container=$1 url=$2/version deadline=$((SECONDS + 180)) since
  # The more often it has died, the longer Docker waits before the next start. The cause may be fixed by now.
  if ! answers "$url" && (($(restarts "$container") > 0)); then
    docker restart "$container" > /dev/null
  fi
  # Only the log of the current start, because earlier failures may be fixed.
  since=$(docker inspect --format '{{.State.StartedAt}}' "$container") || fail "backend: has no container $container. Run npx pulumi up --refresh --run-program"
  until answers "$url"; do
    if (($(restarts "$container") >= 3 || SECONDS >= deadline)); then
      show_log "$container" "$since"
      if ((SECONDS < deadline)); then
        fail "backend: has ended $(restarts "$container") times in a row, waiting longer would not help. Its last log lines are above"
      fi
      fail "backend: did not answer $url within 180 s, its last log lines are above. See: docker ps --all"
    fi
    sleep 0.2
  done
}

# show_log CONTAINER SINCE: prints its last log lines, and explains them.
show_log() {
  local log
  log=$(docker logs --since "$2" --tail 200 "$1" 2>&1) || true
  say "the backend's last log lines:"
  tail -n 30 <<< "$log" >&2
  explain_symptoms <<< "$log" >&2
}

# A backend that has lost its database still answers from memory. The API has no write without an effect, so this write is
# undone; if a killed run leaves its variable, the next run removes it. If the backend refuses a write (400: the limit of
# variables is reached, or auth.config does not evaluate), it has read its database.
require_write() {
  local container=$1 port=$2 key=$3 since
  since=$(date --iso-8601=seconds)
  wait_until 30 "the backend to write to its database" writes "$port" "$key" '"for a moment"' || {
    show_log "$container" "$since"
    fail "backend: answers, but does not write to its database, its last log lines are above. See what is wrong with PostgreSQL: npm run doctor"
  }
  wait_until 30 "the backend to write to its database" writes "$port" "$key" null
}

# writes PORT KEY VALUE
writes() {
  local status
  status=$(curl --config <(printf 'header = "Authorization: Convex %s"\n' "$2") -s --max-time 10 -o /dev/null -w '%{http_code}' \
    -H 'Content-Type: application/json' --data "{\"changes\": [{\"name\": \"CONVEX_DROPLET_ACCEPTANCE\", \"value\": $3}]}" \
    "http://127.0.0.1:$1/api/update_environment_variables") || return
  [[ $status == 200 || $status == 400 ]]
}

# Checks the folder that the container was started with, because later mounts and unmounts do not reach a running container.
require_own_folder() {
  local container=$1 data=$2 pid
  pid=$(docker inspect --format '{{.State.Pid}}' "$container")
  [[ $(folder_at "/proc/$pid/root/convex/data") == "$(folder_at "$data")" ]] \
    || fail "backend: writes to another folder than $data on the volume. Copy what you need from it, then: docker restart $container"
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
      "See where the name leads and who answers there: npm run doctor. A server in front of the droplet must pass it on"
}

is_answered() { [[ $(self_answer "$1" "$2") == *"$3" ]]; }

# self_answer CONTAINER URL: the start of the answer and its status; or curl's error.
self_answer() { docker exec "$1" curl -sS --max-time 5 -w ' (%{http_code})' "$2" 2>&1 | tr -d '\0' | tr '\n' ' ' | sed 's/^\(.\{150\}\).*\( ([0-9]*)\)$/\1…\2/'; }

folder_at() { stat --dereference --format %d:%i "$1"; }

answers() { curl -fs --max-time 5 -o /dev/null "$1"; }

# restarts CONTAINER: how often it has died since somebody last started it.
restarts() { docker inspect --format '{{.RestartCount}}' "$1" 2> /dev/null || echo 0; }

# The key goes to curl on stdin, because an argument could be read in the process list.
accepts() {
  local container=$1 port=$2 key=$3 status
  [[ $key == *'|'* ]] || return 1
  status=$(printf 'header = "Authorization: Convex %s"\n' "$key" \
    | curl --config - -sS --max-time 10 --retry 3 --retry-connrefused -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/api/check_admin_key") \
    || fail "backend: stopped answering while the admin key was checked. See: docker ps --all"
  case $status in
    200) return 0 ;;
    401 | 403) return 1 ;;
    *) fail "backend: answered $status to the admin key check, it should be 200 or 401. See its log: docker logs $container" ;;
  esac
}

main "$@"
