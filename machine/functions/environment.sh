#!/usr/bin/env bash
# Sets the deployment's environment variables, which functions read with process.env. It sets those that differ, and removes
# those that an earlier run has set and this one does not name. It does not change others, which were set by hand. A record of
# the names that it has set is on the volume, like the database, so that both are lost or restored together. The second run
# changes nothing.
#
#   environment.sh <port (the API's on the droplet), mountpoint, key (an admin key), variables ({"NAME": "value", …})
set -euo pipefail
# shellcheck source=machine/lib/common.sh
source "${BASH_SOURCE[0]%/*}/../lib/common.sh"
# shellcheck source=machine/functions/api.sh
source "${BASH_SOURCE[0]%/*}/api.sh"

main() {
  local port mountpoint key variables record present owned edits
  # Drift compares the variables with a fact of the backend, so check mode has nothing to check.
  if checking; then return; fi
  take port mountpoint key variables
  record=$mountpoint/function-environment
  lock
  # Nothing to set, and nothing to remove.
  if [[ $variables == '{}' && ! -e $record ]]; then
    finish
    return
  fi
  install_packages jq
  present=$(api "$port" "$key" list_environment_variables | jq .environmentVariables)
  owned=$(names_in "$record")
  edits=$(differences "$variables" "$present" "$owned")
  if [[ $edits != '[]' ]]; then
    # Also before the change: a run that is killed after the change must not leave variables without a record.
    remember "$record" "$(jq -n '$ARGS.positional | add | unique' --jsonargs "$owned" "$(jq keys <<< "$variables")")"
    jq '{changes: .}' <<< "$edits" | api "$port" "$key" update_environment_variables --data-binary @- -H 'Content-Type: application/json'
    tell "$edits"
  fi
  remember "$record" "$(jq keys <<< "$variables")"
  finish
}

# differences WANTED PRESENT OWNED: the edits in the backend's own form: a value of null removes a variable.
differences() {
  jq -cn --slurpfile wanted <(printf %s "$1") --slurpfile present <(printf %s "$2") --argjson owned "$3" '
    $wanted[0] as $wanted | $present[0] as $present | [
      ($wanted | to_entries[] | select($present[.key] != .value) | {name: .key, value}),
      (($owned - ($wanted | keys))[] | select(in($present)) | {name: ., value: null})
    ]'
}

# tell EDITS: reports them by name only.
tell() {
  local line
  while read -r line; do changed "$line"; done < <(jq -r '.[] | (if .value == null then "removed " else "set " end) + .name' <<< "$1")
}

# names_in RECORD: the names that earlier runs have set, as a JSON list.
names_in() {
  if [[ -e $1 ]]; then jq -cnR '[inputs]' "$1"; else echo '[]'; fi
}

# remember RECORD NAMES: writes a JSON list of names to the record, one on each line; removes the record if there are none.
remember() {
  if [[ $(jq length <<< "$2") != 0 ]]; then
    put_file 0600 "$1" < <(jq -r '.[]' <<< "$2")
  elif [[ -e $1 ]]; then
    rm "$1"
    changed "removed $1"
  fi
}

main "$@"
