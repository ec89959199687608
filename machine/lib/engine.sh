# shellcheck shell=bash
# Docker's Engine API, for what its command line would show to others: the variables of a container. Sourced after common.sh.

# create_container NAME: creates a container from the API's request on stdin, and does not start it. If it fails, prints the answer.
create_container() {
  local answer
  answer=$(curl -sS --unix-socket /run/docker.sock -H 'Content-Type: application/json' --data @- "http://docker/containers/create?name=$1" 2>&1) || true
  if [[ $answer != *'"Id"'* ]]; then
    printf '%s\n' "$answer"
    return 1
  fi
}
