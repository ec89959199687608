#!/usr/bin/env bash
# Waits until the container of an app's new version can take the place of the old one: its health command succeeds, its path
# answers, or if it has neither, its port is open; without a port, it still runs after two seconds. If that does not happen in time,
# shows the end of its log, stops it so that other apps do not reach it, and fails: the old version still serves. Each run does the
# same, and starts a container that an earlier run has stopped.
#
#   ready.sh <app, container, port (may be empty), health_path (may be empty), seconds
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/lib/engine.sh
source "$here/../lib/engine.sh"
# shellcheck source=machine/apps/readiness.sh
source "$here/readiness.sh"

main() {
  local app container port health_path seconds started awaited restarts
  take app container port health_path seconds
  started=$(state_of "$container") || fail "app $app: $container is not there, it should run. Run $(pulumi_command up --refresh --run-program)"
  if [[ $started == *" false" ]]; then
    docker start "$container" > /dev/null || fail "app $app: its container does not start, see above. Fix it, then run $(pulumi_command up) again"
    changed "started $container"
    started=$(state_of "$container")
  fi
  awaited=$(what_is_ready "$container" "$port" "$health_path")
  if ! wait_until "$seconds" "a version of app $app $awaited" is_ready "$container" "$port" "$health_path" "$started"; then
    show_end_of_log "$container"
    restarts=$(restarts_of "$container") || true
    docker stop "$container" > /dev/null 2>&1 || true
    fail "app $app: its new version is not ready after $seconds s, it should be one $awaited. ${restarts:+Its program has ended $restarts times and was started again. }The version before still serves, if there is one." \
      "Fix it, or give it more time with $(pulumi_command "config set" --path "apps.$app.healthSeconds" "$((seconds < 450 ? seconds * 2 : 900))"); then run $(pulumi_command up) again"
  fi
  finish
}

main "$@"
