# shellcheck shell=bash
# The facts about PostgreSQL. Sourced by inspect.sh. One line per thing, unless it says otherwise:
#
#   postgres                  how facts.sql ended, which prints the others itself
#   postgres.settings .hba .roles .databases   JSON
#   postgres.loaded           when the server read its configuration, and when its files last changed: seconds since 1970
#   postgres.role_settings    settings that are bound to a role or a database
#   postgres.grants           what in the backend's database belongs to others than its role, may be used by them, or acts
#                             by itself
#   postgres.held             what makes the server keep something back: what, how much or where, the statement that removes it
#   postgres.login            user and database, by the password of `role_url` at the gateway's address; nothing while the backend's
#                             container, from where that is tried, does not run
#   postgres.files            files and links below /etc/postgresql that nothing declares

# postgres_facts VALUES BACKEND_VALUES: files with the values of postgres.sh and, if there is a backend, of that.
postgres_facts() {
  local gateway database
  gateway=$(value_in "$1" gateway) database=$(value_in "$1" database)
  fact postgres inspect_server "$(value_in "$1" mountpoint)" "$database" "$(value_in "$1" role)"
  stray postgres.files unowned /etc/postgresql/
  if [[ -e $2 ]]; then fact postgres.login log_in "$(value_in "$2" container)" "$(value_in "$2" role_url)" "$gateway" "$database"; fi
}

# inspect_server MOUNTPOINT DATABASE ROLE
inspect_server() {
  local changed
  # Its folders too: a file that is gone has changed them.
  changed=$(find /etc/postgresql/*/main "$1"/postgresql/*/main/postgresql.auto.conf -printf '%T@\n' | sort -rn | head -n 1)
  cd / && timeout 10 runuser -u postgres -- psql -qX -d postgres --file - -v database="$2" -v role="$3" -v changed="$changed" \
    < "$SCRIPTS/postgres/facts.sql" > "$RESULTS/postgres.records"
}

# log_in CONTAINER URL GATEWAY DATABASE: from where the backend does. The machine itself has another address in its own network.
log_in() {
  local user rest pid passfile=$TMPDIR/passfile
  pid=$(pid_of "$1") || return 0
  IFS=: read -r user rest <<< "${2#postgresql://}"
  (umask 077 && printf '*:*:*:%s:%s\n' "$user" "${rest%%@*}" > "$passfile")
  PGPASSFILE=$passfile PGCONNECT_TIMEOUT=5 timeout 10 nsenter --target "$pid" --net \
    psql -qAtX -F ' ' --no-password -h "$3" -U "$user" -d "$4" -c "SELECT current_user, current_database()"
}
