#!/usr/bin/env bash
# Writes, reads and deletes an object in each bucket. Runs inside of a container: buckets.sh explains what it prints. The first failure
# ends it, with lines on stdout: the bucket's URL, what was tried, curl's exit code, the HTTP status, the answer.
#
#   probe.sh URL... < curl's options with the key
set -uo pipefail

options=$(cat)
# A new key may take some seconds to be accepted.
deadline=$((SECONDS + ${PATIENCE:-60}))

# ask ACTION METHOD STATUS [BODY]: leaves the answer in `answer`. Older curls do not add the hash of the body.
ask() {
  local action=$1 method=$2 expected=$3 said code status hash body=()
  hash=$(printf %s "${4:-}" | sha256sum)
  if [[ -n ${4:-} ]]; then body=(--data-binary "$4"); fi
  while true; do
    said=$(curl --silent --show-error --max-time 20 --config <(printf '%s\n' "$options") --request "$method" \
      --header "x-amz-content-sha256: ${hash%% *}" --header 'Content-Type: application/octet-stream' --write-out '\n%{http_code}' "${body[@]}" "$url/convex-droplet-probe-$text" 2>&1)
    code=$? status=${said##*$'\n'} answer=${said%$'\n'*}
    if ((code == 0)) && [[ $status == "$expected" ]]; then return; fi
    if [[ $status != 403 ]] || ((SECONDS >= deadline)); then break; fi
    sleep 2
  done
  printf '%s\n' "$url" "$action" "$code" "$status" "$answer"
  exit 1
}

for url in "$@"; do
  text=$RANDOM$RANDOM$RANDOM
  ask written PUT 200 "$text"
  ask read GET 200
  if [[ $answer != "$text" ]]; then
    printf '%s\n' "$url" read 0 200 "another content than was written"
    exit 1
  fi
  ask deleted DELETE 204
done
