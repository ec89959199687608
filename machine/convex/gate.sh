# shellcheck shell=bash
# Checks whether a backend serves its instance. Sourced after common.sh, sql.sh and documents.sh, by backend.sh for the backend that serves, and by
# rehearse.sh for one that tries a new image on a copy.

# shellcheck source=machine/convex/symptoms.sh
source "${BASH_SOURCE[0]%/*}/symptoms.sh"

# The start of the command that reaches the backend with curl, for one in another network.
through=()

# pass_gate CONTAINER PORT NAME KEY: waits until the backend answers, and prints the admin key that it accepts: KEY, or one made by its
# own tool.
pass_gate() {
  local container=$1 port=$2 name=$3 key=$4 served made
  await_backend "$container" "http://127.0.0.1:$port"
  served=$(reach -fsS "http://127.0.0.1:$port/instance_name")
  [[ $served == "$name" ]] || fail "backend: says it is '$served', it should be '$name'. Another backend answers on port $port. See: docker ps"
  if ! accepts "$container" "$port" "$key"; then
    say "the backend refuses the key made from its secret; asking its own tool for one"
    made=$(docker exec "$container" ./generate_admin_key.sh 2> /dev/null | grep '|' | tail -n 1) || true
    accepts "$container" "$port" "$made" \
      || fail "backend: refuses its own admin key too, so it runs with another secret or name than this stack's. See: docker logs $container"
    key=$made
  fi
  printf '%s\n' "$key"
}

# Waits for a slow start, but not for a container that keeps dying.
await_backend() {
  local container=$1 url=$2/version deadline=$((SECONDS + 180)) since
  # The more often it has died, the longer Docker waits before the next start. The cause may be fixed by now.
  if ! answers "$url" && (($(restarts "$container") > 0)); then
    docker restart "$container" > /dev/null
  fi
  # Only the log of the current start, because earlier failures may be fixed.
  since=$(docker inspect --format '{{.State.StartedAt}}' "$container") || fail "backend: has no container $container. Run $(pulumi_command up --refresh --run-program)"
  until answers "$url"; do
    if has_ended "$container"; then
      show_log "$container" "$since"
      fail "backend: has ended. Its last log lines are above"
    fi
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

# has_ended CONTAINER: whether it has ended and Docker does not start it again.
has_ended() { [[ $(docker inspect --format '{{.State.Status}} {{.HostConfig.RestartPolicy.Name}}' "$1" 2> /dev/null) =~ ^exited\ (no)?$ ]]; }

# show_log CONTAINER SINCE: prints its last log lines, and explains them.
show_log() {
  local log
  log=$(docker logs --since "$2" --tail 200 "$1" 2>&1) || true
  say "the backend's last log lines:"
  tail -n 30 <<< "$log" >&2
  explain_symptoms <<< "$log" >&2
}

# failed_migration <LOG: prints the lines of a migration that has failed; the backend goes on, and tries again after a while.
failed_migration() { grep -F "Migration worker failed"; }

# require_query CONTAINER PORT KEY: asks for the names of the tables, as the Convex CLI does.
require_query() {
  local answer since
  since=$(date --iso-8601=seconds)
  answer=$(reach -s -H 'Content-Type: application/json' --config <(authorization "$3") \
    --data '{"path": "_system/cli/tables:default", "args": {"paginationOpts": {"cursor": null, "numItems": 100}}, "format": "json"}' \
    "http://127.0.0.1:$2/api/query") || true
  [[ $answer == *'"status":"success"'* ]] || {
    show_log "$1" "$since"
    fail "backend: answers a query for the names of its tables with '${answer:0:300}', it should succeed. Its last log lines are above"
  }
}

# A backend that has lost its database still answers from memory. The API has no write without an effect, so this write is
# undone; if a killed run leaves its variable, the next run removes it. If the backend refuses a write (400: the limit of
# variables is reached, or auth.config does not evaluate), it has read its database.
require_write() {
  local container=$1 port=$2 key=$3 since
  since=$(date --iso-8601=seconds)
  wait_until 30 "the backend to write to its database" writes "$port" "$key" '"for a moment"' || {
    show_log "$container" "$since"
    fail "backend: answers, but does not write to its database, its last log lines are above. See what is wrong with PostgreSQL: $(npm_command doctor)"
  }
  wait_until 30 "the backend to write to its database" writes "$port" "$key" null
}

# require_pause PORT KEY: a write that needs no file. That of a variable evaluates the app's auth.config, which is one. Only for a copy, because
# functions do not run meanwhile.
require_pause() {
  local verb
  for verb in pause unpause; do
    reach --config <(authorization "$2") -fsS -o /dev/null --request POST "http://127.0.0.1:$1/api/v1/${verb}_deployment" \
      || fail "backend: does not write to its database: ${verb}_deployment failed, see above"
  done
}

# writes PORT KEY VALUE
writes() {
  local status
  status=$(reach --config <(authorization "$2") -s -o /dev/null -w '%{http_code}' \
    -H 'Content-Type: application/json' --data "{\"changes\": [{\"name\": \"CONVEX_DROPLET_ACCEPTANCE\", \"value\": $3}]}" \
    "http://127.0.0.1:$1/api/update_environment_variables") || return
  [[ $status == 200 || $status == 400 ]]
}

# require_file PORT SQL DATABASE: reads the newest stored file. The API shows only those of the app itself, not those of its components,
# and their rows look the same. So one that is right is enough.
require_file() {
  local files id sum tried=
  files=$(newest_files "$2" "$3") || fail "database $3: the rows of its stored files cannot be read"
  while read -r id sum; do
    [[ -n $id ]] || continue
    tried=$id
    if is_served "http://127.0.0.1:$1/api/storage/$id" "$sum"; then return; fi
  done <<< "$files"
  [[ -z $tried ]] || fail "backend: does not serve stored file $tried as it was stored. See whether it is on the volume, in data/storage/files"
}

# is_served URL SHA256: the hash of a file of more than 100 MB is not compared.
is_served() {
  local sum status=0
  # Not with --max-time, because of the size.
  sum=$(
    set -o pipefail
    "${through[@]}" curl -fs --connect-timeout 10 --speed-limit 1 --speed-time 30 --max-filesize 100M "$1" | sha256sum
  ) || status=$?
  # 63: it is larger.
  ((status == 63)) || [[ $status == 0 && ${sum%% *} == "$2" ]]
}

# restarts CONTAINER: how often it has died since somebody last started it.
restarts() { docker inspect --format '{{.RestartCount}}' "$1" 2> /dev/null || echo 0; }

answers() { reach -fs --max-time 5 -o /dev/null "$1"; }

accepts() {
  local container=$1 port=$2 key=$3 status
  [[ $key == *'|'* ]] || return 1
  status=$(reach --config <(authorization "$key") -sS --retry 3 --retry-connrefused -o /dev/null -w '%{http_code}' "http://127.0.0.1:$port/api/check_admin_key") \
    || fail "backend: stopped answering while the admin key was checked. See: docker ps --all"
  case $status in
    200) return 0 ;;
    401 | 403) return 1 ;;
    *) fail "backend: answered $status to the admin key check, it should be 200 or 401. See its log: docker logs $container" ;;
  esac
}

# authorization KEY: curl reads it from a file, because an argument could be read in the process list.
authorization() { printf 'header = "Authorization: Convex %s"\n' "$1"; }

reach() { "${through[@]}" curl --max-time 10 "$@"; }
