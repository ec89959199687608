#!/usr/bin/env bash
# Runs a job, such as a migration, in a container of its own, and waits for its end. The volume notes which version has succeeded, so
# that this one is not run again, also on another droplet; the second run changes nothing and says so. If a run was killed, the next
# one waits for the container that is there, or runs it again if that has failed. A job that fails shows the end of its log.
#
# A job that runs after apps is another version with each of theirs. It finds only that one by the app's name, not the one before.
#
#   job.sh <job, container, mountpoint, folders (each `user:group path`), seconds, apps (after which it runs, each `app container`),
#     request (of Docker's Engine API, secret)
set -euo pipefail
# The longest time that a job can have, and the wait for the lock.
export CONVEX_DROPLET_LIMIT_SECONDS=${CONVEX_DROPLET_LIMIT_SECONDS:-9000}
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/lib/engine.sh
source "$here/../lib/engine.sh"
# shellcheck source=machine/apps/folders.sh
source "$here/folders.sh"
# shellcheck source=machine/apps/readiness.sh
source "$here/readiness.sh"

main() {
  local job container mountpoint folders seconds apps request version note
  take job container mountpoint folders seconds apps request
  # Jobs that do not wait for each other run side by side, and other scripts go on.
  lock_at "/run/convex-droplet-$container.lock"
  require_mounted "$mountpoint"
  install_packages jq
  put_app_folders "$mountpoint" "$folders"
  version=$(sha256sum <<< "$request${apps:+$'\n'$apps}")
  version=${version%% *}
  note=$mountpoint/jobs/$job
  if [[ $(cat "$note" 2> /dev/null) != "$version" ]]; then
    put_folder 0700 root:root "$mountpoint/jobs"
    if [[ ! "$(run_of "$container")" =~ ^(running|exited)\ 0\ $version$ ]]; then start_job; fi
    await_job
    put_file 0600 "$note" <<< "$version"
  fi
  remove_container "$container"
  finish
}

# run_of CONTAINER: its state, its exit code, and the version that it runs.
run_of() { docker inspect --format '{{.State.Status}} {{.State.ExitCode}} {{index .Config.Labels "version"}}' "$1" 2> /dev/null || true; }

# start_job: with the variables of main.
start_job() {
  local answer app tried address hosts=()
  remove_container "$container"
  while read -r app tried; do
    [[ -n $app ]] || continue
    address=$(address_of "$tried")
    [[ -n $address ]] || fail "job $job: $tried of app $app does not run, it should. Run $(pulumi_command up --refresh --run-program)"
    hosts+=("$app:$address")
  done <<< "$apps"
  answer=$(jq --arg version "$version" '.Labels = {version: $version} | .HostConfig.ExtraHosts += $ARGS.positional' --args "${hosts[@]}" <<< "$request" \
    | create_container "$container") \
    || fail "job $job: its container cannot be created: $answer. See: docker ps --all"
  docker start "$container" > /dev/null || give_up "cannot be started, see above. Its command should be a program of its image"
  changed "started job $job"
}

# await_job: with the variables of main.
await_job() {
  local code status=0
  code=$(timeout "$seconds" docker wait "$container") || status=$?
  if ((status == 124)); then
    give_up "did not end within $seconds s, and was stopped. If it needs more time: $(pulumi_command "config set" --path "jobs.$job.timeoutSeconds" "$((seconds < 3600 ? seconds * 2 : 7200))")"
  elif [[ $status$code != 00 ]]; then
    give_up "ended with exit code ${code:-unknown}, it should be 0"
  fi
}

# give_up WHY: removes the container, so that the next run starts it again.
give_up() {
  docker stop "$container" > /dev/null 2>&1 || true
  show_end_of_log "$container"
  remove_container "$container"
  local served=
  if [[ -n $apps ]]; then served="The new versions that it runs after serve already: $(cut -d ' ' -f 1 <<< "$apps" | paste -sd ' '). "; fi
  fail "job $job: $1. ${served}What waits for it was not changed. Fix the cause, then run $(pulumi_command up) again"
}

main "$@"
