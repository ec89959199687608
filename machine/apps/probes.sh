#!/usr/bin/env bash
# Asks a new version of an app, once requests are led to it, what its probes say. Each probe has to get its answer within its time, and
# then as long as it says, without one failure and without a restart of the container. If the app has a public name, the requests go
# through nginx, with TLS; otherwise to the container itself, because its name may still lead to the version before. A failure shows
# which parts of the answer differ, but not their values, which may be secret. Changes nothing; each run does the same.
#
#   probes.sh <app, container, host (may be empty), port, probes (each `name status within hold path json`; without json, only the
#     status counts)
set -euo pipefail
# The longest time that a probe can have.
export CONVEX_DROPLET_LIMIT_SECONDS=${CONVEX_DROPLET_LIMIT_SECONDS:-5400}
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/apps/readiness.sh
source "$here/readiness.sh"

main() {
  local app container host port probes name status within hold path json folder each running=() failed=
  take app container host port probes
  install_packages jq
  folder=$(mktemp -d)
  # shellcheck disable=SC2064 # now, because it is local
  trap "rm -rf $folder" EXIT
  # Side by side, so that the longest one decides how long the run takes.
  while read -r name status within hold path json; do
    probe &
    running+=("$!")
  done <<< "$probes"
  for each in "${running[@]}"; do wait "$each" || failed=1; done
  [[ -z $failed ]] || exit 1
  say "app $app: its probes succeeded"
}

# probe: with the variables of main.
probe() {
  local fault url=http://$app:$port$path since started should="status $status${json:+ with its JSON}"
  if [[ -n $host ]]; then url=https://$host$path; fi
  if ! wait_until "$within" "probe $name of app $app" is_answered; then
    give_up "it should get $should within $within s" \
      ", or give it more time with $(pulumi_command "config set" --path "apps.$app.probes.$name.withinSeconds" "$((within < 450 ? within * 2 : 900))")"
  fi
  ((hold > 0)) || return 0
  say "app $app: probe $name got its answer, which has to hold for $hold s"
  since=$SECONDS
  started=$(state_of "$container") || true
  while ((SECONDS - since < hold)); do
    # One failure is enough, and a long probe would hide it.
    [[ ! -e $folder/failed ]] || return 0
    sleep 1
    is_answered || give_up "it should get $should for $hold s, but did so for $((SECONDS - since)) s"
    if [[ $(state_of "$container") != "$started" ]]; then
      fault="an answer from a container that has restarted"
      give_up "it should be the same one for $hold s, but was so for $((SECONDS - since)) s"
    fi
  done
}

# is_answered: whether the app answers as the probe says; if not, `fault` is what it did.
is_answered() {
  local found place body=$folder/$name
  fault=
  if [[ -n $host ]]; then
    place=$host:443:127.0.0.1
  else
    found=$(address_of "$container")
    if [[ -z $found ]]; then
      fault="no answer, because its container does not run"
      return 1
    fi
    place=$app:$port:$found
  fi
  : > "$body"
  if ! found=$(curl -s --max-time 10 --max-filesize 1000000 --globoff --resolve "$place" -o "$body" -w '%{http_code} %{errormsg}' "$url"); then
    fault="no answer (${found#* })"
  elif [[ ${found%% *} != "$status" ]]; then
    fault="status ${found%% *}"
  elif [[ -n $json ]]; then
    found=$(differences) || found="it is not JSON"
    fault=${found:+"other JSON: $found"}
  fi
  [[ -z $fault ]]
}

# differences: the uppermost parts in which the answer is not the JSON of the probe; nothing if it is the same.
differences() {
  { printf '%s\n' "$json" && cat "$folder/$name"; } | jq --slurp --raw-output 'def parts: if type == "object" or type == "array" then keys else [] end;
    .[0] as $should | .[1] as $is
    | if length != 2 then "it is not one value"
      elif $is == $should then ""
      elif ($is | type) != ($should | type) then "it is of type \($is | type), not \($should | type)"
      elif ($should | parts) + ($is | parts) == [] then "it is another \($is | type)"
      else [
        (($should | parts) + ($is | parts) | unique)[] as $part
        | (if $is | has($part) | not then "is missing" elif $should | has($part) | not then "is not expected" elif $is[$part] != $should[$part] then "differs" else empty end)
        | "\($part | tojson) \(.)"
      ] | join(", ") | .[:300] end' 2> /dev/null
}

# give_up SHOULD [OTHERWISE]: names what to do, and lets the other probes end.
give_up() {
  touch "$folder/failed"
  fail "app $app: probe $name: GET $url got $fault, $1. Requests are led to this version already, see its log with: $(npm_command logs) $app." \
    "Fix the app, or the probe${2:-}; then run $(pulumi_command up) again"
}

main "$@"
