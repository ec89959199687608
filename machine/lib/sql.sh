# shellcheck shell=bash
# Statements and programs as PostgreSQL's own user. Sourced after common.sh.

# sql [STATEMENT]: the result of a statement, or of stdin, one line for each row.
sql() { as_postgres psql -qAtX -v ON_ERROR_STOP=1 -d postgres ${1:+-c "$1"}; }

# in_database DATABASE STATEMENT: the same in another database than postgres. An option would read a name with = as a connection string.
in_database() { PGDATABASE=$1 as_postgres psql -qAtX -v ON_ERROR_STOP=1 -c "$2"; }

# Without PAM, which would log each of them.
as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"); }
