# shellcheck shell=bash
# How to log in to another managed cluster, which was restored from the stack's own. Sourced after common.sh.
# shellcheck disable=SC2154 # the caller has taken the values

# describe_cluster FOLDER: writes the caller's host, port, user, password and authority there, for libpq.
describe_cluster() {
  printf '%s\n' "$authority" > "$1/authority.pem"
  (umask 077 && printf '%s\n' "[restored]" "host=$host" "port=$port" "user=$user" "password=$password" sslmode=verify-full "sslrootcert=$1/authority.pem" > "$1/server")
}

# in_cluster FOLDER DATABASE COMMAND...: a client of that cluster.
in_cluster() { PGSERVICEFILE=$1/server PGSERVICE=restored PGCONNECT_TIMEOUT=10 PGDATABASE=$2 "${@:3}"; }
