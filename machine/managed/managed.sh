#!/usr/bin/env bash
# Lets this machine use a managed PostgreSQL server instead of one of its own: the client's package, the certificate that vouches for the
# server, and how root's scripts log in as its administrator. Waits until the server admits the machine. Refuses a server that is not the
# one of the instance on the volume, because it has none of its rows. The second run changes nothing and says so.
#
#   managed.sh <mountpoint, cluster (its id at DigitalOcean), host, port, administrator, password (the administrator's), authority (PEM),
#     scripts (the names of all files that were copied here)
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/lib/units.sh
source "$here/../lib/units.sh"
# shellcheck source=machine/lib/on-volume.sh
source "$here/../lib/on-volume.sh"
# shellcheck source=machine/lib/sql.sh
source "$here/../lib/sql.sh"
# shellcheck source=machine/lib/authority.sh
source "$here/../lib/authority.sh"

# How long a server may take to admit a machine after a change of its trusted sources, in seconds, and how often this says why it waits.
readonly PATIENCE=300 EVERY=15

main() {
  local mountpoint cluster host port administrator password authority scripts
  take mountpoint cluster host port administrator password authority scripts
  # What it finds is about PostgreSQL.
  area=postgres
  lock
  rests_on "postgres volume" mounted "$(either mounted "not mounted" mountpoint -q "$mountpoint")"
  mountpoint -q "$mountpoint" || fail "$mountpoint: is not mounted, it should be the data volume. Run $(pulumi_command up) again"
  refuse_own_server "$mountpoint"
  install_packages postgresql-client
  put_authority "$authority"
  put_secret root:root "$MANAGED_SERVER" < <(connection)
  await_server
  own_cluster "$mountpoint" "$cluster"
  grant_made_roles
  forget_scripts "$scripts"
  finish
}

# connection: with the variables of main. Each statement names its database itself.
connection() {
  cat << EOF
[managed]
host=$host
port=$port
user=$administrator
password=$password
sslmode=verify-full
sslrootcert=/etc/convex-droplet/postgres-authority.pem
EOF
}

# refuse_own_server MOUNTPOINT: the instance's rows would be in the server that nobody uses.
refuse_own_server() {
  local data
  for data in "$1"/postgresql/*/main; do
    [[ ! -e $data ]] \
      || fail "$data: has the database of an instance whose server is on this machine, and database is managed. Nothing was changed." \
        "Set it back: $(pulumi_command "config set" database droplet); see docs/managed-database.md"
  done
}

await_server() {
  local said started=$SECONDS told=$SECONDS
  said=$(problem)
  if checking; then
    rests_on "postgres.server connection" works "$(if [[ -z $said ]]; then echo works; else explain "$said"; fi)"
    return
  fi
  while [[ -n $said ]]; do
    ((SECONDS - started < PATIENCE)) || fail "the managed database: $(explain "$said"). Then run $(pulumi_command up) again"
    if ((SECONDS - told >= EVERY)); then
      told=$SECONDS
      say "waiting for the managed database for $((SECONDS - started)) s; $(explain "$said")"
    fi
    sleep 1
    said=$(problem)
  done
}

# problem: why the administrator cannot log in; nothing if it can.
problem() { { sql "SELECT 1" > /dev/null; } 2>&1 || true; }

# explain MESSAGE: the client's message, with its cause and its fix.
explain() {
  local message
  message=$(tr '\n' ' ' <<< "$1" | sed 's/  */ /g; s/ $//')
  case $message in
    *"could not translate host name"*)
      echo "its name $host is not resolved ($message). See whether the cluster is still there: doctl databases get $cluster"
      ;;
    *timeout* | *"timed out"* | *refused* | *"No route"* | *"closed the connection"*)
      echo "$host:$port does not answer this droplet ($message). It should be among the cluster's trusted sources: $(pulumi_command up --refresh --run-program --target "'**convex-cluster-firewall'");" \
        "see whether the cluster is online: doctl databases get $cluster"
      ;;
    *"password authentication failed"* | *"no pg_hba.conf entry"*)
      echo "it does not accept $administrator's password ($message). If somebody has reset it, take it over: $(pulumi_command up --refresh --run-program)"
      ;;
    *certificate* | *SSL*)
      echo "$host:$port does not prove to be the cluster ($message). See its certificate: openssl s_client -starttls postgres -connect $host:$port"
      ;;
    *) echo "it cannot be used: $message" ;;
  esac
}

# own_cluster MOUNTPOINT ID: the volume knows the cluster of its instance. One that was made anew is empty.
own_cluster() {
  local note=$1/managed-cluster known=$2
  if [[ -e $note ]]; then known=$(< "$note"); fi
  if [[ $known != "$2" && -e $(mark_of "$1") ]] && ! checking; then
    fail "the managed database: is cluster $2, but the instance on the volume belongs to cluster $known, and its rows are there. If that is gone, restore it in DigitalOcean's control panel;" \
      "to start with the cluster that there is now: $(npm_command ssh) rm $note $(mark_of "$1"), then run $(pulumi_command up) again"
  fi
  put_file 0644 "$note" <<< "$2"
}

# grant_made_roles: the administrator, who is no superuser, may act for the roles that it makes from now on: reads their tables, and gives them
# databases.
grant_made_roles() {
  local found
  found=$(sql "SHOW createrole_self_grant")
  if differs "postgres.administrator createrole_self_grant" "set, inherit" "$found"; then
    sql "ALTER ROLE CURRENT_USER SET createrole_self_grant = 'set, inherit'"
    changed "let the administrator act for the roles that it makes"
  fi
}

main "$@"
