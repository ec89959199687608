#!/usr/bin/env bash
# Lets this machine use a managed PostgreSQL server instead of one of its own: the client's package, the certificate that vouches for the
# server, and how root's scripts log in as its administrator. Waits until the server admits the machine. Refuses a server that is not the
# one of the instance on the volume, because it has none of its rows; if the instance is to be moved there, brings them with move.sh. The
# second run changes nothing and says so.
#
#   managed.sh <mountpoint, cluster (its id at DigitalOcean), host, port, administrator, password (the administrator's), authority (PEM),
#     database and role (the instance's), databases (further ones, see postgres/further.sh), move (true or false: whether the data of this
#     machine's own server is moved, and kept; without it, what a move has kept is removed), passwords (for a move: a role and its password
#     on each line), capacity_mb (the cluster's), scripts (the names of all files that were copied here)
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
# shellcheck source=machine/lib/documents.sh
source "$here/../lib/documents.sh"
# shellcheck source=machine/managed/place.sh
source "$here/place.sh"

# How long a server may take to admit a machine after a change of its trusted sources, in seconds, and how often this says why it waits.
readonly PATIENCE=300 EVERY=15

main() {
  local mountpoint cluster host port administrator password authority database role databases move passwords capacity_mb scripts
  take mountpoint cluster host port administrator password authority database role databases move passwords capacity_mb scripts
  # What it finds is about PostgreSQL.
  area=postgres
  lock
  rests_on "postgres volume" mounted "$(either mounted "not mounted" mountpoint -q "$mountpoint")"
  mountpoint -q "$mountpoint" || fail "$mountpoint: is not mounted, it should be the data volume. Run $(pulumi_command up) again"
  install_listed "$here/packages"
  if ! checking && ! is_away "$mountpoint" && [[ -n $(own_data "$mountpoint") ]]; then move_away; fi
  put_authority "$authority"
  put_secret root:root "$MANAGED_SERVER" < <(service "$host" "$port" "$administrator" "$password" /etc/convex-droplet/postgres-authority.pem)
  await_server
  own_cluster "$mountpoint" "$cluster"
  grant_made_roles
  if ! checking; then end_moves; fi
  retire_own_server
  forget_scripts "$scripts"
  finish
}

# move_away: with the variables of main. The instance's rows are in this machine's own server.
move_away() {
  local data
  data=$(own_data "$mountpoint")
  [[ $move == true ]] \
    || fail "${data%%$'\n'*}: has the database of an instance whose server is on this machine, and database is managed. Nothing was changed." \
      "Move it: $(pulumi_command "config set" moveDatabase true) && $(pulumi_command up), during which the instance does not serve for some minutes for each 10 GB;" \
      "or set it back: $(pulumi_command "config set" database droplet); see docs/managed-database.md"
  pg_isready --quiet \
    || fail "PostgreSQL: does not run on this droplet, it should, to move the database from here. Nothing was moved. If the droplet is new, let it take the database over first:" \
      "$(pulumi_command "config set" database droplet) && $(pulumi_command up); then set database to managed again. Otherwise see: journalctl -u 'postgresql@*'"
  # From here on, it goes on to its end if the connection breaks.
  trap '' PIPE
  put_cluster_server "$host" "$port" "$administrator" "$password" "$authority"
  managed_server=$CLUSTER_SERVER
  await_server
  grant_made_roles
  managed_server=$MANAGED_SERVER
  move_to managed
}

# end_moves: with the variables of main. After a move back that did not come to its end, and before anything kept is removed.
end_moves() {
  if is_moving "$mountpoint"; then put_cluster_server "$host" "$port" "$administrator" "$password" "$authority"; fi
  settle_move
}

# retire_own_server: with the variables of main. Ends the server on this machine that the instance has left, and removes what postgres.sh has
# configured, except for the packages. Its data stays until the move is confirmed.
retire_own_server() {
  if checking; then return; fi
  if compgen -G "/etc/postgresql/*/main" > /dev/null; then
    systemctl stop 'postgresql@*.service'
    rm -rf /etc/systemd/system/postgresql@.service.d /etc/sysctl.d/90-convex-droplet.conf /etc/postgresql-common/createcluster.conf
    # Last, because the next run looks for it if this one is killed.
    rm -rf /etc/postgresql/*/main
    systemctl daemon-reload
    changed "stopped the server on this droplet, which the instance has left"
  fi
  if [[ $move == true || -z $(own_data "$mountpoint") ]]; then return; fi
  [[ ! -e $(mark_of "$mountpoint") || -n $(has_documents in_database "$database") ]] \
    || fail "$mountpoint/postgresql: is what the move has kept, and the managed cluster has no table of Convex, so it stays. Nothing was removed. See: $(npm_command doctor)"
  require_all_moved "$mountpoint" droplet
  # The folder itself belongs to the machine's set-up.
  rm -rf "${mountpoint:?}"/postgresql/*
  rm -f "$(left_databases "$mountpoint" droplet)"
  changed "removed what the move had kept in $mountpoint/postgresql"
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
  local note known=$2
  note=$(cluster_note "$1")
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
