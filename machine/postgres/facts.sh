# shellcheck shell=bash
# The facts about PostgreSQL. Sourced by inspect.sh. A fact is one line for each thing, unless stated otherwise:
#
#   postgres                  the result of facts.sql and grants.sql, which print the other facts themselves
#   postgres.settings .hba .roles .databases   JSON
#   postgres.loaded           when the server read its configuration, and when its files last changed: seconds since 1970
#   postgres.role_settings    settings of a role or a database
#   postgres.grants           objects in the backend's database that other roles own or may use, or that run automatically
#   postgres.held             what makes the server keep something: what, how much or where, the statement that removes it
#   postgres.login            user and database after a log-in with `role_url`'s password at the gateway's address, which verifies
#                             the server's certificate as the backend does; empty if the backend's container does not run, because
#                             the log-in uses its network
#   postgres.files            files and links below /etc/postgresql that nothing declares

# shellcheck source=machine/postgres/further.sh
source "$SCRIPTS/postgres/further.sh"

# postgres_facts VALUES BACKEND_VALUES: files with the values of postgres.sh and, if there is a backend, the backend's values.
postgres_facts() {
  local gateway database
  gateway=$(value_in "$1" gateway) database=$(value_in "$1" database)
  fact postgres inspect_server "$(value_in "$1" mountpoint)" "$database" "$(value_in "$1" role)" "$(replicated_in "$(value_in "$1" databases)" | paste -sd ,)"
  stray postgres.files unowned /etc/postgresql/
  if [[ -e $2 ]]; then fact postgres.login log_in "$(value_in "$2" container)" "$(value_in "$2" role_url)" "$database" "$gateway"; fi
}

# inspect_server MOUNTPOINT DATABASE ROLE REPLICATED
inspect_server() {
  local changed
  # Also the folders, because deleting a file changes its folder.
  changed=$(find /etc/postgresql/*/main "$1"/postgresql/*/main/postgresql.auto.conf -printf '%T@\n' | sort -rn | head -n 1)
  cd / && timeout 10 runuser -u postgres -- psql -qX -d postgres --file - -v database="$2" -v role="$3" -v changed="$changed" -v replicated="$4" \
    < <(cat "$SCRIPTS"/postgres/{facts,grants}.sql) > "$RESULTS/postgres.records"
}

# log_in CONTAINER URL DATABASE [ADDRESS]: from the backend's network, because the machine itself has another address there. ADDRESS is that
# of a host that only containers know.
log_in() {
  local user rest host port mode=verify-full pid passfile=$TMPDIR/passfile
  pid=$(pid_of "$1") || return 0
  IFS=: read -r user rest <<< "${2#postgresql://}"
  host=${rest#*@}
  port=${host#*:} host=${host%%:*}
  port=${port%%[!0-9]*}
  # A container of an earlier release.
  if [[ $rest == *sslmode=disable* ]]; then mode=disable; fi
  (umask 077 && printf '*:*:*:%s:%s\n' "$user" "${rest%%@*}" > "$passfile")
  PGPASSFILE=$passfile PGCONNECT_TIMEOUT=5 PGHOSTADDR=${4:-} PGSSLMODE=$mode \
    PGSSLROOTCERT=/etc/convex-droplet/postgres-authority.pem timeout 10 nsenter --target "$pid" --net \
    psql -qAtX -F ' ' --no-password -h "$host" -p "$port" -U "$user" -d "$3" -c "SELECT current_user, current_database()"
}
