# shellcheck shell=bash
# The fact about the instance's names. Sourced by inspect.sh.
#
#   edge.names                for each name: its addresses, or `unanswered`. No line if proxies are in front, because the names lead
#                             to them

# edge_facts VALUES
edge_facts() {
  local names
  mapfile -t names < <(sed -n 's/^\(api_host\|site_host\|dashboard_host\|app_hosts\)=\(..*\)/\2/p' "$1")
  if [[ ${#names[@]} != 0 && -z $(value_in "$1" trusted_proxies) ]]; then fact edge.names addresses_of_names "${names[@]}"; fi
}

# addresses_of_names NAME...: in parallel, at most 5 s. Without dig, which is a package of its own, it prints nothing.
addresses_of_names() {
  local name
  type dig > /dev/null 2>&1 || return 0
  for name in "$@"; do
    # shellcheck disable=SC2016 # of the inner shell
    { timeout 5 bash -c 'source "$0" && tell_addresses "$1"' "$SCRIPTS/edge/certificate.sh" "$name" || echo "$name unanswered"; } &
  done
  wait
}
