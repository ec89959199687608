# shellcheck shell=bash
# Calls of the backend on the droplet. Sourced after common.sh.

# api PORT KEY NAME OPTION...: calls the backend as its administrator and prints the answer. The key goes to curl in a file
# that is never on a disk, because an argument could be read in the process list.
api() {
  local port=$1 key=$2 name=$3 answer status
  shift 3
  answer=$(curl --config <(printf 'header = "Authorization: Convex %s"\n' "$key") -sS --max-time 30 --retry 3 --retry-connrefused \
    -w '\n%{http_code}' "$@" "http://127.0.0.1:$port/api/$name") \
    || fail "backend: does not answer on port $port. See: docker ps --all"
  status=${answer##*$'\n'}
  answer=${answer%$'\n'*}
  [[ $status == 200 ]] \
    || fail "backend: refuses $name ($status), nothing was changed. Its reason: $(jq -r '.message' <<< "$answer" 2> /dev/null)"
  printf '%s\n' "$answer"
}
