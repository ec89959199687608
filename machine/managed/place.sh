# shellcheck shell=bash
# Which server has the instance's database: this machine's own one, or a managed cluster. A note on the volume says so, with the cluster's
# id; without it, it is the machine's own. Changing that note, by one rename, is the moment of a move. Sourced after common.sh and sql.sh.
# shellcheck disable=SC2154 # the caller has taken the values

readonly MOVE=${BASH_SOURCE[0]%/*}/move.sh

# How move.sh reaches the cluster, while the rest of this machine may still use its own server, or the other way round.
readonly CLUSTER_SERVER=/etc/convex-droplet/cluster-server.conf CLUSTER_AUTHORITY=/etc/convex-droplet/cluster-authority.pem

cluster_note() { echo "$1/managed-cluster"; }

# kept_note MOUNTPOINT: the cluster that had the instance before it was moved to this machine, until that is confirmed.
kept_note() { echo "$1/managed-cluster.kept"; }

# left_databases MOUNTPOINT droplet|managed: the names of the databases that this place had when a move left it, until that is confirmed.
left_databases() { echo "$1/databases-left.$2"; }

# move_journal MOUNTPOINT: it is there from before a move's first change at the former place until the note says that it is done.
move_journal() { echo "$1/database-move"; }

is_moving() { [[ -e $(move_journal "$1") ]]; }

# is_away MOUNTPOINT: whether the instance's database is in a managed cluster.
is_away() { [[ -e $(cluster_note "$1") ]]; }

# own_data MOUNTPOINT: the data of this machine's own server, if there is any.
own_data() { compgen -G "$1/postgresql/*/main" || true; }

# service HOST PORT ADMINISTRATOR PASSWORD AUTHORITY_FILE: how libpq reaches the cluster. Each statement names its database itself.
service() {
  cat << END
[managed]
host=$1
port=$2
user=$3
password=$4
sslmode=verify-full
sslrootcert=$5
END
}

# put_cluster_server HOST PORT ADMINISTRATOR PASSWORD AUTHORITY
put_cluster_server() {
  put_file 0644 "$CLUSTER_AUTHORITY" <<< "$5"
  put_secret root:root "$CLUSTER_SERVER" < <(service "${@:1:4}" "$CLUSTER_AUTHORITY")
}

# forget_cluster_server: once no move needs it any more.
forget_cluster_server() { rm -f "$CLUSTER_SERVER" "$CLUSTER_AUTHORITY"; }

# list NAME LINES: as a script takes it.
list() { printf '%s\n' "$1=${2//$'\n'/$'\n'$1=}"; }

# move_to managed|droplet: with the variables of the caller's main. It may take hours, and other scripts of the same run need the lock.
move_to() {
  unlock
  {
    printf '%s\n' "database=$database" "role=$role" "cluster=$cluster" "capacity_mb=${capacity_mb:-}"
    list databases "$databases"
    list passwords "$passwords"
  } | bash "$MOVE" run "$1"
  lock
}

# settle_move: with the variables of the caller's main. Ends a move that did not come to its end, and lets the roles use the server.
settle_move() {
  local further
  if is_moving "$mountpoint"; then
    unlock
    bash "$MOVE" settle
    lock
  fi
  forget_cluster_server
  mapfile -t further < <(sed -n 's/^\([^ ]\+\).*/\1/p' <<< "$databases")
  open_roles "$role" "${further[@]}"
}

# require_all_moved MOUNTPOINT droplet|managed: before what a move has kept at that place is removed. Fails if a database is only there.
require_all_moved() {
  local left there missing
  left=$(left_databases "$1" "$2")
  [[ -e $left ]] || return 0
  there=$(sql "SELECT datname FROM pg_database")
  missing=$(grep -vxF --file <(echo "$there") "$left" | paste -sd ' ') || true
  [[ -z $missing ]] \
    || fail "moveDatabase: is not set any more, but only the former place ($2) has databases $missing, so what the move has kept there stays. Nothing was removed." \
      "To keep them, move back: $(pulumi_command "config set" database "$2") && $(pulumi_command "config set" moveDatabase true) && $(pulumi_command up);" \
      "if their data may go: $(npm_command ssh) rm $left, then run $(pulumi_command up) again; to decide it later: $(pulumi_command "config set" moveDatabase true)"
}

# open_roles ROLE...: lets those log in again that a move has shut out of the server that it has left. It is used again.
open_roles() {
  local role closed
  for role in "$@"; do
    closed=$(sql "SELECT 1 FROM pg_roles WHERE rolname = '$role' AND NOT rolcanlogin")
    if [[ -n $closed ]] && ! checking; then
      sql "ALTER ROLE \"$role\" LOGIN"
      changed "opened the server to $role again"
    fi
  done
}
