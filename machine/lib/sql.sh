# shellcheck shell=bash
# Statements and programs as PostgreSQL's own user, or with a managed server as its administrator. Sourced after common.sh.

# How to reach a managed server, for libpq. Without this file, the server is on this machine.
readonly MANAGED_SERVER=/etc/convex-droplet/managed-server.conf

# A script that works on one of two servers sets it to that one; empty for this machine's own.
managed_server=$MANAGED_SERVER

is_managed() { [[ -e $managed_server ]]; }

# by_place OWN MANAGED: prints the one or the other.
by_place() { if is_managed; then echo "$2"; else echo "$1"; fi; }

# sql [STATEMENT]: the result of a statement, or of stdin, one line for each row.
sql() {
  local home=postgres
  if is_managed; then home=defaultdb; fi
  PGDATABASE=$home as_administrator psql -qAtX -v ON_ERROR_STOP=1 ${1:+-c "$1"}
}

# in_database DATABASE STATEMENT: the same in another database than postgres. An option would read a name with = as a connection string.
in_database() { PGDATABASE=$1 as_administrator psql -qAtX -v ON_ERROR_STOP=1 -c "$2"; }

# as_administrator COMMAND...: a client of the server that the stack uses.
as_administrator() {
  if is_managed; then PGSERVICEFILE=$managed_server PGSERVICE=managed PGCONNECT_TIMEOUT=10 "$@"; else as_postgres "$@"; fi
}

# Without PAM, which would log each of them.
as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"); }
