# shellcheck shell=bash
# The fact about the variables that functions read. Sourced by inspect.sh, after convex/facts.sh.
#
#   functions.environment     JSON: the SHA-256 of each variable's value

# functions_facts VALUES
functions_facts() {
  local key
  key=$(value_in "$1" read_only_key)
  fact functions.environment environment "http://127.0.0.1:$(value_in "$1" api_port)" "${key:-$(value_in "$1" key)}"
}

environment() {
  ask "$1/api/list_environment_variables" "$2" --fail | python3 -IS -c '
import hashlib, json, sys
variables = json.load(sys.stdin)["environmentVariables"]
print(json.dumps({name: hashlib.sha256(value.encode()).hexdigest() for name, value in variables.items()}))'
}
