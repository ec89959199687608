#!/usr/bin/env bash
# Runs one command in a container of its own, with the image, variables, folders, network and limits of an app's container. Stdin,
# stdout, stderr and the exit code are the command's. Afterwards the container is gone, also if the connection breaks: the command
# then gets SIGTERM, and 10 s to end. Each run does the same, and several can run side by side.
#
#   task.sh APP CONTAINER COMMAND [ARGUMENT...]
set -euo pipefail
# It may take as long as the command needs. If it hangs, whoever waits for it ends it.
CONVEX_DROPLET_LIMITED=1
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/lib/engine.sh
source "$here/../lib/engine.sh"

main() {
  local app=$1 container=$2 task answer status=0
  shift 2
  docker inspect "$container" > /dev/null 2>&1 || fail "app $app: $container is not there, it should run. Run $(pulumi_command up --refresh --run-program)"
  install_packages jq
  task=convex-task-$app-$(printf %06x "$$")
  # shellcheck disable=SC2064 # now, because it is local
  trap "end $task" EXIT
  answer=$(request "$container" "$@" | create_container "$task") \
    || fail "app $app: a container like $container cannot be created: $answer. See: docker ps --all"
  # It must not keep the connection's outputs open.
  watch_connection "$task" > /dev/null 2>&1 &
  docker start --attach --interactive "$task" || status=$?
  return "$status"
}

# request CONTAINER COMMAND...: what the Engine has to create. The command is the program itself, and not words for the image's
# entrypoint, which is often the server.
request() {
  local container=$1
  shift
  docker inspect "$container" | jq '.[0]
    | (.NetworkSettings.Networks | keys[0]) as $network | {
      Image: .Config.Image, Env: .Config.Env, Entrypoint: $ARGS.positional[:1], Cmd: $ARGS.positional[1:],
      AttachStdin: true, AttachStdout: true, AttachStderr: true, OpenStdin: true, StdinOnce: true, Healthcheck: {Test: ["NONE"]},
      HostConfig: (.HostConfig + {NetworkMode: $network, PortBindings: {}, RestartPolicy: {Name: "no"}, AutoRemove: true})
    }' --args -- "$@"
}

# end TASK
end() {
  kill "$(jobs -p)" 2> /dev/null || true
  remove_container "$1"
}

# watch_connection TASK: ends the task once nobody waits for it any more.
watch_connection() {
  while sleep 1 && kill -0 "$$"; do
    if ! is_connected; then docker stop --time 10 "$1" || true; fi
  done
}

# is_connected: whether the SSH connection is there, and its other end has confirmed something within a minute. The client makes sure of
# that every 15 s. Without this, the droplet would notice a network that broke only after some hours.
is_connected() {
  local client port rest found
  read -r client port rest <<< "$SSH_CONNECTION"
  found=$(ss --no-header --tcp --info --numeric state established dst "[$client]" dport = ":$port")
  [[ -n $found ]] && ! [[ $found =~ lastack:([0-9]+) && ${BASH_REMATCH[1]} -gt 60000 ]]
}

main "$@"
