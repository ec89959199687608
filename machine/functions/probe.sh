#!/usr/bin/env bash
# Proves that functions that were just deployed serve: runs one of their queries, without arguments. Changes nothing but a missing
# package; the second run does the same.
#
#   probe.sh <port (the API's on the droplet), key (an admin key), probe (MODULE:QUERY; empty for none)
set -euo pipefail
# shellcheck source=machine/lib/common.sh
source "${BASH_SOURCE[0]%/*}/../lib/common.sh"
# shellcheck source=machine/functions/api.sh
source "${BASH_SOURCE[0]%/*}/api.sh"

main() {
  local port key probe answer
  # Drift has nothing to check: a query may fail for reasons of its own.
  if checking; then return; fi
  take port key probe
  if [[ -n $probe ]]; then
    install_packages jq
    answer=$(jq -n --arg path "$probe" '{path: $path, args: {}, format: "json"}' \
      | api "$port" "$key" query --data-binary @- -H 'Content-Type: application/json')
    [[ $(jq -r .status <<< "$answer") == success ]] \
      || fail "functionProbe $probe: fails, it should succeed without arguments. The functions are deployed all the same, and nothing that" \
        "waits for them was changed. Fix the query, and run: $(pulumi_command up). Its error: $(jq -r '.errorMessage | gsub("\\s+"; " ")' <<< "$answer")"
    say "$probe succeeds"
  fi
  finish
}

main "$@"
