# shellcheck shell=bash
# The facts about a managed PostgreSQL server. Sourced by inspect.sh after postgres/facts.sh. They have the names and forms of those of this
# machine's own server; what only a superuser can see is left out.

# managed_facts VALUES BACKEND_VALUES: files with the values of managed.sh and, if there is a backend, the backend's values.
managed_facts() {
  local database
  [[ -e $2 ]] || return 0
  database=$(value_in "$2" database)
  fact postgres inspect_managed "$database" "$(value_in "$2" role)"
  fact postgres.login log_in "$(value_in "$2" container)" "$(value_in "$2" role_url)" "$database"
}

# inspect_managed DATABASE ROLE
inspect_managed() {
  PGDATABASE=defaultdb as_administrator timeout 10 psql -qX --file - -v database="$1" -v role="$2" \
    < <(cat "$SCRIPTS"/managed/facts.sql "$SCRIPTS"/postgres/grants.sql) > "$RESULTS/postgres.records"
}
