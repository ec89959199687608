# shellcheck shell=bash
# The facts about the Convex backend and its dashboard. Sourced by inspect.sh. One line per thing, unless it says otherwise:
#
#   backend.version .instance_name .site .dashboard   the answer
#   backend.admin_key .read_only_key   the status, and in the next lines the answer
#   backend.sync              the status with which the API opens a WebSocket
#   backend.nowhere, backend.nowhere_inside   status and kind of what the HTTP actions answer to a path that nobody serves: on the
#                             droplet, and to the backend's own container under the URL that it knows them by
#   backend.symptoms          of a backend that does not answer: what its log says, as symptoms.sh explains it
#   backend.canonical_urls    JSON: the answer to the read-only key, or where there is none to the other
#   backend.instance_secret   SHA-256 of the secret in the credentials on the volume
#   backend.files             of a backend that has lost its files: the mark that says so

# convex_facts VALUES MOUNTPOINT: a read-only key there may be none, where the backend takes none.
convex_facts() {
  local mountpoint=$2 container api site key reader
  container=$(value_in "$1" container)
  api=http://127.0.0.1:$(value_in "$1" api_port) site=http://127.0.0.1:$(value_in "$1" site_port)
  key=$(value_in "$1" key) reader=$(value_in "$1" read_only_key)
  fact backend.version ask "$api/version"
  fact backend.instance_name ask "$api/instance_name"
  fact backend.site ask "$site/"
  fact backend.dashboard ask "http://127.0.0.1:$(value_in "$1" dashboard_port)/"
  fact backend.admin_key key_check "$api" "$key"
  if [[ -n $reader ]]; then fact backend.read_only_key key_check "$api" "$reader"; fi
  fact backend.sync websocket "$api/api/1.31.0/sync"
  fact backend.nowhere nowhere "$site"
  fact backend.nowhere_inside nowhere_inside "$container"
  fact backend.symptoms symptoms "$api" "$container"
  fact backend.canonical_urls ask "$api/api/v1/get_canonical_urls" "${reader:-$key}" --fail
  fact backend.instance_secret secret_hash "$mountpoint/data/credentials/instance_secret"
  fact backend.files tell_lost_files "$mountpoint"
}

# pid_of CONTAINER: fails where it does not run.
pid_of() {
  local pid
  pid=$(docker inspect --format '{{.State.Pid}}' "$1" 2> /dev/null) && ((pid > 0)) && echo "$pid"
}

# A socket that is opened stays so, until curl has had enough.
websocket() {
  ask "$1" "" --max-time 2 --http1.1 --output /dev/null --write-out '%{http_code}' --header "Connection: Upgrade" --header "Upgrade: websocket" \
    --header "Sec-WebSocket-Version: 13" --header "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==" || true
}

# nowhere ORIGIN [COMMAND...]: the status and the kind of the answer to a path that nobody serves.
nowhere() {
  "${@:2}" curl --silent --max-time 5 --output /dev/null --write-out '%{http_code} %{content_type}' "$1/.well-known/convex-droplet" || true
}

# nowhere_inside CONTAINER: as the backend reaches its own HTTP actions, with its container's network and names.
nowhere_inside() {
  local pid origin
  pid=$(pid_of "$1") || return 0
  origin=$(docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$1" | sed -n 's/^CONVEX_SITE_ORIGIN=//p')
  nowhere "$origin" nsenter --target "$pid" --net --mount
}

key_check() {
  local answer
  answer=$(ask "$1/api/check_admin_key" "$2" --write-out '\n%{http_code}') || return
  printf '%s\n%s\n' "${answer##*$'\n'}" "${answer%$'\n'*}"
}

# symptoms API CONTAINER: of the backend's last life and the end of the one before: one that just begins has said nothing yet.
symptoms() {
  ask "$1/version" --fail > /dev/null 2>&1 || timeout 10 docker logs --tail 60 "$2" 2>&1 | explain_symptoms
}

# ask URL [KEY [OPTION...]]: the key goes to curl on stdin, an argument could be read in the process list.
ask() {
  curl --config - --silent --show-error --max-time 10 "${@:3}" "$1" <<< "${2:+header = \"Authorization: Convex $2\"}"
}

secret_hash() {
  local secret
  # Not by a redirection: where there is no such file, that would end the shell.
  secret=$(cat "$1") && printf %s "$secret" | sha256sum | cut -d ' ' -f 1
}

tell_lost_files() { if lost_files "$1"; then mark_of "$1"; fi; }
