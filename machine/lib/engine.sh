# shellcheck shell=bash
# Containers that a script itself creates and removes. Sourced after common.sh.

# create_container NAME: creates a container from a request of Docker's Engine API on stdin, because a command line would show its
# variables. Does not start it. If it fails, prints the answer.
create_container() {
  local answer
  answer=$(curl -sS --unix-socket /run/docker.sock -H 'Content-Type: application/json' --data @- "http://docker/containers/create?name=$1" 2>&1) || true
  if [[ $answer != *'"Id"'* ]]; then
    printf '%s\n' "$answer"
    return 1
  fi
}

# remove_container NAME: its program gets SIGTERM, and 10 s to end.
remove_container() {
  docker stop --time 10 "$1" > /dev/null 2>&1 || true
  docker rm --force --volumes "$1" > /dev/null 2>&1 || true
}
