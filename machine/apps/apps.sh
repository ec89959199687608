#!/usr/bin/env bash
# Leads the public names of apps to their containers. nginx's workers with the old configuration end their requests before this
# script ends, so that the old containers can go. In check mode, it also checks the apps' folders, and whether the apps answer. The
# certificate, and what is common to all names, is edge.sh's. The second run changes nothing and says so.
#
#   apps.sh <mountpoint, folders (each `user:group path`), sites (each `host address:port`), probes (each `app container port path`;
#     port and path may be empty)
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/lib/units.sh
source "$here/../lib/units.sh"
# shellcheck source=machine/edge/sites.sh
source "$here/../edge/sites.sh"
# shellcheck source=machine/apps/folders.sh
source "$here/folders.sh"
# shellcheck source=machine/apps/readiness.sh
source "$here/readiness.sh"

main() {
  local mountpoint folders sites probes before
  take mountpoint folders sites probes
  lock
  put_app_folders "$mountpoint" "$folders"
  if [[ -n $sites ]]; then
    put_file 0644 "$APP_SITES" nginx < <(app_sites "$sites")
    if ! checking; then
      if pending nginx; then before=$(workers); fi
      serve_nginx
      await_end_of "${before:-}"
    fi
  fi
  if checking && [[ -n $probes ]]; then check_apps "$probes"; fi
  finish
}

# app_sites SITES
app_sites() {
  local host server
  while read -r host server; do site "$host" "$server" "" app < /dev/null; done <<< "$1"
}

# workers: the processes that serve requests.
workers() { pgrep --full '^nginx: worker process$' || true; }

# await_end_of WORKERS: after a reload, new workers accept all new connections, and the old ones end the requests that they have. A
# WebSocket has no end, so that after some time the rest is cut off.
await_end_of() {
  local worker
  for worker in $1; do
    wait_until 10 "nginx to take over" is_replaced "$worker" || fail "nginx: does not read its configuration again. See: journalctl -u nginx"
  done
  wait_until 15 "the requests to the old version to end" are_gone "$1" 2> /dev/null \
    || say "some connections to the old version are still open, they will be cut off"
}

are_gone() {
  local worker
  for worker in $1; do if [[ -d /proc/$worker ]]; then return 1; fi; done
}

is_replaced() { ! workers | grep -qx "$1"; }

# check_apps PROBES: a container that does not run, or whose health command fails, is a finding about containers.
check_apps() {
  local app container port path
  while read -r app container port path; do
    if [[ $(docker inspect --format '{{.State.Running}}' "$container" 2> /dev/null) != true || $(health_of "$container") != none || -z $port ]]; then continue; fi
    differs "apps[$app] health" ready "$(either ready "not ready, it should be one $(what_is_ready "$container" "$port" "$path")" is_ready "$container" "$port" "$path" "")" || true
  done <<< "$1"
}

main "$@"
