# shellcheck shell=bash
# Containers that a script itself creates, starts or removes. Sourced after common.sh.

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

# show_end_of_log CONTAINER: without what would change a terminal.
show_end_of_log() {
  say "the last lines of its log:"
  docker logs --tail 20 "$1" 2>&1 | tr -d '\000-\010\013-\037' >&2 || true
}
