# shellcheck shell=bash
# The facts about the Convex backend and its dashboard. Sourced by inspect.sh. A fact is one line for each thing, unless stated
# otherwise:
#
#   backend.version .instance_name .site .dashboard   the answer
#   backend.admin_key .read_only_key   the status, and in the next lines the answer
#   backend.sync              the status with which the API opens a WebSocket
#   backend.nowhere, backend.nowhere_inside   status and content type of the HTTP actions' answer to a path that nothing serves:
#                             on the droplet, and inside the backend's container at its own URL of them
#   backend.symptoms          if the backend does not answer: the explanations of its log by symptoms.sh
#   backend.canonical_urls    JSON: the answer to the read-only key, or to the admin key if there is no read-only key
#   backend.instance_secret   SHA-256 of the secret in the credentials on the volume
#   backend.buckets           if the files are in buckets, for each: its name, curl's exit code and the status of a list of it, asked
#                             from the backend's container with its own variables; then a reason
#   backend.files             if the backend has lost its files: the mark that shows it

# convex_facts VALUES MOUNTPOINT: the read-only key may be empty, because some backends accept none.
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
  fact backend.buckets tell_buckets "$container"
  fact backend.files tell_lost_files "$mountpoint"
}

# pid_of CONTAINER: fails if it does not run.
pid_of() {
  local pid
  pid=$(timeout 10 docker inspect --format '{{.State.Pid}}' "$1" 2> /dev/null) && ((pid > 0)) && echo "$pid"
}

# An opened WebSocket stays open, until curl reaches its time limit.
websocket() {
  ask "$1" "" --max-time 2 --http1.1 --output /dev/null --write-out '%{http_code}' --header "Connection: Upgrade" --header "Upgrade: websocket" \
    --header "Sec-WebSocket-Version: 13" --header "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==" || true
}

# nowhere ORIGIN [COMMAND...]: status and content type of the answer to a path that nothing serves.
nowhere() {
  "${@:2}" curl --silent --max-time 5 --output /dev/null --write-out '%{http_code} %{content_type}' "$1/.well-known/convex-droplet" || true
}

# nowhere_inside CONTAINER: the same, with the network and the names of the backend's container.
nowhere_inside() {
  local pid origin
  pid=$(pid_of "$1") || return 0
  origin=$(timeout 10 docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$1" | sed -n 's/^CONVEX_SITE_ORIGIN=//p')
  nowhere "$origin" nsenter --target "$pid" --net --mount
}

key_check() {
  local answer
  answer=$(ask "$1/api/check_admin_key" "$2" --write-out '\n%{http_code}') || return
  printf '%s\n%s\n' "${answer##*$'\n'}" "${answer%$'\n'*}"
}

# symptoms API CONTAINER: from the log of the current start and the end of the one before, because a new start has an empty log.
symptoms() {
  ask "$1/version" --fail > /dev/null 2>&1 || timeout 10 docker logs --tail 60 "$2" 2>&1 | explain_symptoms
}

# ask URL [KEY [OPTION...]]: the key goes to curl on stdin, because an argument could be read in the process list.
ask() {
  curl --config - --silent --show-error --max-time 10 "${@:3}" "$1" <<< "${2:+header = \"Authorization: Convex $2\"}"
}

secret_hash() {
  local secret
  # Not with a redirection, because that would end the shell if the file does not exist.
  secret=$(cat "$1") && printf %s "$secret" | sha256sum | cut -d ' ' -f 1
}

# tell_buckets CONTAINER: asks all of them at once, because a server that does not answer takes time.
tell_buckets() {
  local variables server bucket
  variables=$(timeout 10 docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$1" 2> /dev/null) || return 0
  server=$(sed -n 's/^S3_ENDPOINT_URL=//p' <<< "$variables")
  while read -r bucket; do
    if [[ -n $bucket ]]; then tell_bucket "$1" "$variables" "$server" "$bucket" & fi
  done < <(sed -n 's/^S3_STORAGE_[A-Z_]*_BUCKET=//p' <<< "$variables")
  wait
}

# tell_bucket CONTAINER VARIABLES SERVER BUCKET: the key goes to curl on stdin.
tell_bucket() {
  local said code=0
  said=$(sed -n -e 's/^AWS_REGION=\(.*\)/aws-sigv4 = "aws:amz:\1:s3"/p' \
    -e '/^AWS_ACCESS_KEY_ID=/{s///;h}' -e '/^AWS_SECRET_ACCESS_KEY=/{s///;H;x;s/\n/:/;s/.*/user = "&"/p}' <<< "$2" \
    | docker exec --interactive "$1" curl --config - --header "x-amz-content-sha256: $(sha256sum < /dev/null | cut -d ' ' -f 1)" --silent --show-error --max-time 8 --write-out '\n%{http_code}' "$3/$4?list-type=2&max-keys=1" 2>&1) || code=$?
  printf '%s %s %s %s\n' "$4" "$code" "${said##*$'\n'}" "$(tr -d '\000-\037' <<< "${said%$'\n'*}" | cut -c 1-300)"
}

tell_lost_files() { if lost_files "$1"; then mark_of "$1"; fi; }
