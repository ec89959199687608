#!/usr/bin/env bash
# Sets up PostgreSQL with its data on the volume, for the Convex backend: the distribution's packages, one cluster below
# MOUNTPOINT/postgresql, its configuration in drop-ins, an administrator for the stack's own tools. If the volume already
# contains a cluster, it is used unchanged. Refuses an instance whose database is in a managed cluster; if it is to be moved here, brings
# it with managed/move.sh. The second run changes nothing and says so.
#
#   postgres.sh <mountpoint, volume_gb (its size), gateway, subnet, database, role, max_connections, databases (further ones, see further.sh), migrate (true or false: whether to take over data of an
#     older version, see migrate.sh), move (true or false: whether the database of a managed cluster is moved here), passwords (for a move: a role and its password on each line), cluster,
#     cluster_host, cluster_port, cluster_administrator, cluster_password, cluster_authority (the managed cluster that has the instance, or had it; empty without), administrator, password (the administrator's), key, certificate, authority (the server's, and the one that its clients trust; PEM), scripts (the names
#     of all files that were copied here), and the values of the repository of backups, empty without one
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/lib/units.sh
source "$here/../lib/units.sh"
# shellcheck source=machine/lib/on-volume.sh
source "$here/../lib/on-volume.sh"
# shellcheck source=machine/lib/downtime.sh
source "$here/../lib/downtime.sh"
# shellcheck source=machine/lib/sql.sh
source "$here/../lib/sql.sh"
# shellcheck source=machine/lib/authority.sh
source "$here/../lib/authority.sh"
# shellcheck source=machine/backups/repository.sh
source "$here/../backups/repository.sh"
# shellcheck source=machine/postgres/further.sh
source "$here/further.sh"
# shellcheck source=machine/managed/place.sh
source "$here/../managed/place.sh"

# Everything here is about this machine's own server, also while a managed one still has the instance.
managed_server=
readonly CLUSTER=main

main() {
  local mountpoint volume_gb gateway subnet database role max_connections databases migrate move passwords administrator password key certificate authority scripts version replicating away=
  local cluster cluster_host cluster_port cluster_administrator cluster_password cluster_authority
  local "${REPOSITORY_VALUES[@]}"
  take mountpoint volume_gb gateway subnet database role max_connections databases migrate move passwords administrator password key certificate authority scripts "${REPOSITORY_VALUES[@]}" \
    cluster cluster_host cluster_port cluster_administrator cluster_password cluster_authority
  lock
  rests_on "postgres volume" mounted "$(either mounted "not mounted" mountpoint -q "$mountpoint")"
  mountpoint -q "$mountpoint" || fail "$mountpoint: is not mounted, it should be the data volume. Run $(pulumi_command up) again"
  # In check mode, host.sh already reports this.
  checking || require_on_volume "$mountpoint"
  if ! checking && is_away "$mountpoint"; then
    require_move
    away=1
  fi
  # Otherwise the package creates another cluster on the root disk.
  put_file 0644 /etc/postgresql-common/createcluster.conf <<< "create_main_cluster = false"
  install_listed "$here/packages"
  version=$(dpkg-query -W -f '${Version}' postgresql 2> /dev/null) || true
  # Check mode does not install the packages. Without them, there is nothing more to check.
  [[ -n $version ]] || return 0
  version=${version%%+*}
  allow_early_binding
  in_area backups configure_repository "$mountpoint" "$version" "$database" "$volume_gb"
  create_cluster "$version" "$mountpoint/postgresql" "$migrate"
  certify "$version" "$key" "$certificate"
  begin_replication "$mountpoint" "$databases"
  configure_and_serve
  end_replication "$mountpoint" "$databases" configure_and_serve
  forget_scripts "$scripts"
  grant_administrator "$administrator" "$password"
  verify "$version" "$gateway" "$max_connections"
  if [[ -n $away ]]; then move_here; fi
  put_authority "$authority"
  checking || end_moves
  finish
}

# require_move: with the variables of main. The instance's rows are in a managed cluster.
require_move() {
  local note
  note=$(cluster_note "$mountpoint")
  [[ $move == true ]] \
    || fail "$note: says that the instance's database is in managed cluster $(< "$note"), and database is droplet. Nothing was changed." \
      "Move it: $(pulumi_command "config set" moveDatabase true) && $(pulumi_command up), during which the instance does not serve for some minutes for each 10 GB;" \
      "or set it back: $(pulumi_command "config set" database managed); see docs/managed-database.md"
  [[ $cluster == "$(< "$note")" ]] \
    || fail "$note: says that the instance's database is in managed cluster $(< "$note"), but the stack has ${cluster:-none}. Nothing was changed. Set it back: $(pulumi_command "config set" database managed)"
}

# move_here: with the variables of main.
move_here() {
  # From here on, it goes on to its end if the connection breaks.
  trap '' PIPE
  put_cluster_server "$cluster_host" "$cluster_port" "$cluster_administrator" "$cluster_password" "$cluster_authority"
  move_to droplet
}

# end_moves: with the variables of main. Nothing here uses a managed cluster any more. Without `move`, none is kept either.
end_moves() {
  local kept
  kept=$(kept_note "$mountpoint")
  settle_move
  if [[ -e $MANAGED_SERVER ]]; then
    rm "$MANAGED_SERVER"
    changed "removed $MANAGED_SERVER: this droplet's own server has the database"
  fi
  if [[ -e $kept && $move != true ]]; then
    require_all_moved "$mountpoint" managed
    rm -f "$(left_databases "$mountpoint" managed)"
    rm "$kept"
    changed "forgot the managed cluster, which the move had kept"
  fi
}

# configure_and_serve: with the variables of main.
configure_and_serve() {
  configure "$version" "$mountpoint" "$gateway" "$subnet" "$database" "$role" "$administrator" "$max_connections" "$databases"
  serve "$version" "$mountpoint"
}

allow_early_binding() {
  local file=/etc/sysctl.d/90-convex-droplet.conf
  put_file 0644 "$file" sysctl < "$here/sysctl.conf"
  if pending sysctl || sysctl_differs; then
    sysctl --quiet --load "$file"
    settled sysctl
    changed "set the kernel's parameters"
  fi
}

sysctl_differs() {
  local key value verdict=1
  while IFS=' =' read -r key value; do
    if differs "sysctl $key" "$value" "$(sysctl --values "$key")"; then verdict=0; fi
  done < <(grep -v '^#' "$here/sysctl.conf")
  return "$verdict"
}

create_cluster() {
  local version=$1 home=$2 migrate=$3 data=$2/$1/$CLUSTER other
  for other in "$home"/*/; do
    other=${other%/}
    other=${other##*/}
    # What a migration keeps has another name.
    if [[ $other != '*' && $other != before-* ]] && differs "postgres.clusters[$home]" "$version" "$other"; then
      migrate_from "$other" "$version" "$home" "$migrate"
    fi
  done
  if [[ -d $data.migrated ]] && ! checking; then
    mv --no-target-directory "$data.migrated" "$data"
    changed "migrated the data to PostgreSQL $version"
  fi
  rests_on "postgres.cluster[$data]" folder "$(kind_of "$data")"
  if [[ ! -e $data ]]; then
    # An instance used this volume, and a new cluster would not contain its data.
    [[ -n $away || ! -e $(mark_of "${home%/*}") ]] \
      || fail "$data: is not there, but an instance used this volume: its database is lost. Restore it from a backup, with $(npm_command restore);" \
        "to start with an empty one, without any documents: $(npm_command ssh) 'rm $(mark_of "${home%/*}")', then run $(pulumi_command up) again"
    [[ -n $away ]] || refuse_to_hide_backups "${home%/*}"
    # With another name until it is complete, because the result of a killed initdb must not look like a cluster.
    rm -rf "$data.unfinished"
    install -d -o postgres -g postgres -m 0700 "$home/$version" "$data.unfinished"
    as_postgres "/usr/lib/postgresql/$version/bin/initdb" --pgdata "$data.unfinished" --data-checksums --no-sync --no-instructions \
      --encoding UTF8 --locale C.UTF-8 --auth-local peer --auth-host scram-sha-256 > /dev/null
    sync --file-system "$data.unfinished"
    mv "$data.unfinished" "$data"
    # It was for this cluster only.
    rm -f "${home%/*}/backups/start-empty"
    changed "created the cluster $data"
  fi
  # On a new droplet, the user may have another id, and the data still belongs to the old one. chown changes this folder last.
  if differs "folders[$home/$version] owner" postgres "$(stat -c %U "$home/$version")"; then
    chown -R postgres:postgres "$home/$version"
    changed "took over the cluster $data"
  fi
  put_folder 0700 postgres:postgres "$data"
}

# migrate_from OTHER VERSION HOME MIGRATE: takes the data of another version over, or refuses it.
migrate_from() {
  local other=$1 version=$2 home=$3 migrate=$4 found
  found="$home/$other: contains data of PostgreSQL $other, this droplet has PostgreSQL $version."
  [[ $other =~ ^[0-9]+$ && $other -lt $version ]] \
    || fail "$found Only data of an older version can be migrated. Use the image that the data was created with"
  [[ $migrate == true ]] \
    || fail "$found Nothing was changed. Migrate it with: $(pulumi_command "config set" migratePostgres true) && $(pulumi_command up); meanwhile the instance does not" \
      "serve, some minutes for each 10 GB, and the volume needs room for another copy of the database. Or use the image that the data was created with"
  # It may take hours, and other scripts of the same run need the lock.
  unlock
  bash "$here/migrate.sh" run "$home" "$other" "$version"
  lock
}

# refuse_to_hide_backups MOUNTPOINT: fails if the repository has backups, because an empty database must not take their place
# before somebody has decided that.
refuse_to_hide_backups() {
  local found empty=$1/backups/start-empty
  if [[ -z $repository_endpoint || -e $empty ]]; then return 0; fi
  # A new key may take some seconds to be accepted.
  wait_until 60 "the bucket to accept the key" lists_backups 2> /dev/null || true
  found=$(repository_info) || exit 1
  ! has_backup <<< "$found" \
    || fail "the volume is blank, but bucket $repository_bucket has backups of this instance. Restore the newest one with $(npm_command restore) --to latest," \
      "then run the same $(pulumi_command up) again; to start with an empty database, and keep the backups: $(npm_command ssh) 'touch $empty'"
}

lists_backups() { (repository_info) > /dev/null 2>&1; }

# certify VERSION KEY CERTIFICATE: what the server proves itself with.
certify() {
  local etc=/etc/postgresql/$1/$CLUSTER
  await_start "$3"
  put_folder 0755 postgres:postgres "$etc"
  put_secret root:postgres "$etc/server.key" <<< "$2"
  put_file 0644 "$etc/server.crt" <<< "$3"
}

# await_start CERTIFICATE: it starts to be valid when it was made, by the clock of the computer that runs pulumi. If that clock is
# ahead of this one, clients would refuse the server.
await_start() {
  local start now
  start=$(date --date "$(openssl x509 -noout -startdate <<< "$1" | sed 's/.*=//')" +%s)
  now=$(date +%s)
  if ! differs "postgres.certificate start" past "$(either past future has_come "$start")"; then return; fi
  ((start - now <= 60)) \
    || fail "PostgreSQL's certificate: is valid from $(utc "$start"), but this droplet's clock shows $(utc "$now")." \
      "Set the clock that is wrong, this one or that of the computer that ran pulumi. Then make another certificate:" \
      "run $(pulumi_command up --replace "'**convex-postgres-authority'")"
  wait_until 90 "PostgreSQL's certificate to be valid" has_come "$start"
}

has_come() { (($(date +%s) >= $1)); }

utc() { date --utc --date "@$1" +%FT%TZ; }

configure() {
  local version=$1 mountpoint=$2 gateway=$3 subnet=$4 database=$5 role=$6 administrator=$7 max_connections=$8 databases=$9
  local etc=/etc/postgresql/$version/$CLUSTER folder
  for folder in "$etc/conf.d" "$etc/pg_hba.d"; do put_folder 0755 postgres:postgres "$folder"; done
  # Makes Debian's tools start it at boot.
  put_file 0644 "$etc/start.conf" <<< auto
  put_file 0644 "$etc/postgresql.conf" << EOF
# Only the paths, in the layout of Debian's tools; the settings are in the files in conf.d.
data_directory = '$mountpoint/postgresql/$version/$CLUSTER'
hba_file = '$etc/pg_hba.conf'
ident_file = '$etc/pg_ident.conf'
external_pid_file = '/var/run/postgresql/$version-$CLUSTER.pid'
unix_socket_directories = '/var/run/postgresql'
include_dir 'conf.d'
EOF
  put_file 0644 "$etc/pg_ident.conf" <<< "# MAPNAME  SYSTEM-USERNAME  DATABASE-USERNAME"
  put_file 0644 "$etc/conf.d/10-convex-droplet.conf" < <(settings "$version" "$gateway" "$max_connections")
  put_file 0644 "$etc/pg_hba.conf" << 'EOF'
# The files in pg_hba.d list who may connect; everybody else is refused.
include_dir pg_hba.d
EOF
  put_file 0644 "$etc/pg_hba.d/10-convex-droplet.conf" < <(access_rules)
}

# access_rules: with the variables of configure.
access_rules() {
  cat << EOF
# TYPE  DATABASE  USER  ADDRESS  METHOD
local   all       postgres                 peer
local   all       $administrator           scram-sha-256
hostssl "$database"  "$role"  $subnet      scram-sha-256
# For the copy that a new backend image is tried on.
local   replication  postgres              peer
EOF
  further_rules "$databases" "$subnet"
}

settings() {
  local etc=/etc/postgresql/$1/$CLUSTER gateway=$2 max_connections=$3
  cat << EOF
listen_addresses = 'localhost, $gateway'
port = 5432
max_connections = $max_connections
password_encryption = 'scram-sha-256'
ssl = on
ssl_cert_file = '$etc/server.crt'
ssl_key_file = '$etc/server.key'
# A quarter of the memory, as the manual recommends.
shared_buffers = '$(quarter_of_memory)MB'
EOF
  if [[ -n $repository_endpoint ]]; then
    cat << EOF
archive_mode = on
archive_command = 'bash /usr/local/lib/convex-droplet/backups/archive.sh pgbackrest --stanza=$stanza archive-push %p'
# At most so many rows are lost with the volume, and what is under way to the bucket.
archive_timeout = 1min
EOF
  fi
  if [[ -n $replicating ]]; then replication_settings "$volume_gb"; fi
}

serve() {
  local version=$1 mountpoint=$2 unit=postgresql@$1-$CLUSTER.service waiting
  restart_unit postgresql@.service
  guard_unit postgresql@.service "$mountpoint"
  enable_unit postgresql.service
  load_unit "$unit"
  rests_on "units.$unit active" active "$(systemctl is-active "$unit")"
  rests_on "postgres server" "accepting connections" "$(either "accepting connections" "not accepting connections" pg_isready)"
  if systemctl is-active --quiet "$unit"; then
    reload
  else
    [[ -n $away ]] || note_stop "$mountpoint" "$mountpoint/postgresql/$version/$CLUSTER"
    start "$unit" || fail_to_start "$unit" "$mountpoint"
    wait_until 60 "PostgreSQL to answer on its socket" pg_isready --quiet
    changed "started PostgreSQL $version"
  fi
  waiting=$(sql "SELECT string_agg(name, ', ' ORDER BY name) FROM pg_settings WHERE pending_restart")
  if differs "postgres pending-restart" "" "$waiting"; then
    refuse_overrides "/etc/postgresql/$version/$CLUSTER/conf.d/10-convex-droplet.conf"
    say "restarting PostgreSQL for: $waiting"
    systemctl restart "$unit" || fail "PostgreSQL: does not start again. See: journalctl -u $unit"
    wait_until 60 "PostgreSQL to answer on its socket" pg_isready --quiet
    changed "restarted PostgreSQL"
  fi
}

# fail_to_start UNIT MOUNTPOINT
fail_to_start() {
  # It needs at least one file of its log.
  if (($(df --output=avail --block-size=1M "$2" | tail -n 1) < 16)); then
    fail "PostgreSQL: does not start, because the volume is full. Grow it with volumeSizeGb, or make room in $2; then run $(pulumi_command up) again"
  fi
  fail "PostgreSQL: does not start. See: journalctl -u $1"
}

# refuse_overrides FILE: fails if a restart would activate another value than FILE declares. If a setting is set twice, the last
# one wins.
refuse_overrides() {
  local overrides
  overrides=$(sql "
SELECT string_agg(name || ' in ' || sourcefile, ', ')
FROM (SELECT DISTINCT ON (name) name, sourcefile FROM pg_file_settings ORDER BY name, seqno DESC) AS last
WHERE sourcefile <> '$1' AND name IN (SELECT name FROM pg_file_settings WHERE sourcefile = '$1')")
  [[ -z $overrides ]] \
    || fail "PostgreSQL: needs a restart, which would activate other values than declared: $overrides." \
      "Nothing was restarted. Undo that with the commands of $(npm_command drift), then run $(pulumi_command up) again"
}

# In MB, from the memory in steps of 256 MB. A kernel update changes the reported size a little, which must not cause a restart.
quarter_of_memory() { awk '/^MemTotal/ {print int($2 / 1024 / 256 + 0.5) * 64}' /proc/meminfo; }

# In each run, because a killed run may have written files that the server has not read, and other projects write there, too.
reload() {
  if checking; then return; fi
  local before
  wait_until 60 "PostgreSQL to answer on its socket" pg_isready --quiet
  before=$(sql "SELECT pg_conf_load_time()")
  sql "SELECT pg_reload_conf()" > /dev/null
  wait_until 30 "PostgreSQL to take its configuration; see: SELECT * FROM pg_file_settings WHERE error IS NOT NULL" has_reloaded "$before"
}

has_reloaded() { [[ $(sql "SELECT pg_conf_load_time()") != "$1" ]]; }

# The stack's tools connect through a socket that is forwarded over SSH. During a run, any user of the other computer might use
# it, so this role needs its password there. The postgres user still logs in by its name.
grant_administrator() {
  local administrator=$1 password=$2 passfile state
  passfile=$(mktemp)
  # shellcheck disable=SC2064 # expand the name now, while the variable exists
  trap "rm -f '$passfile'" EXIT
  printf '*:*:*:%s:%s\n' "$administrator" "$password" > "$passfile"
  state=$(state_of_administrator "$administrator" "$passfile")
  if differs "postgres.roles[$administrator]" "a superuser with the stack's password" "$state"; then
    # On stdin, so that neither the process list nor the server's log of a failed statement shows it.
    sql << EOF
SET log_min_error_statement = panic;
SET password_encryption = 'scram-sha-256';
$([[ $state == missing ]] && echo CREATE || echo ALTER) ROLE $administrator LOGIN SUPERUSER PASSWORD '$password';
EOF
    changed "set the administrator's password"
  fi
}

state_of_administrator() {
  local administrator=$1
  if PGPASSFILE=$2 psql --no-password -qAtX -U "$administrator" -d postgres -c "SHOW is_superuser" 2> /dev/null | grep -q on; then
    echo "a superuser with the stack's password"
  elif [[ $(sql "SELECT 1 FROM pg_roles WHERE rolname = '$administrator'") == 1 ]]; then
    echo "not a superuser, or has another password"
  else
    echo missing
  fi
}

# Checks the values that the server uses, not only the files.
verify() {
  local version=$1 gateway=$2 max_connections=$3 problems name declared effective problem
  problems=$(sql "SELECT string_agg(file_name || ':' || line_number || ' ' || error, '; ') FROM pg_hba_file_rules WHERE error IS NOT NULL")
  if differs "postgres.hba errors" "" "$problems"; then fail "pg_hba: $problems"; fi
  if differs "postgres certificate" "that of server.crt" "$(either "that of server.crt" another serves_certificate "$version")"; then
    fail "PostgreSQL: serves another certificate than that of server.crt, so it could not read that or its key. See: journalctl -u postgresql@$version-$CLUSTER"
  fi
  while IFS=$'\t' read -r name declared effective; do
    if differs "postgres.settings $name" "$declared" "$effective"; then
      case $name in
        listen_addresses | max_connections)
          problem="listens on '$(sql "SHOW listen_addresses")' with $(sql "SHOW max_connections") connections, it should be 'localhost, $gateway' with $max_connections"
          ;;
        *) problem="has $name '$effective', it should be '$declared'" ;;
      esac
      fail "PostgreSQL: $problem. Something overrides conf.d/10-convex-droplet.conf. Find it with: SELECT name, sourcefile FROM pg_settings"
    fi
  done < <(settings "$version" "$gateway" "$max_connections" | overridden_settings)
}

# serves_certificate VERSION: whether new connections get the certificate that is on the disk. A server that cannot read it
# keeps the one that it has.
serves_certificate() {
  local served
  served=$(timeout 5 openssl s_client -starttls postgres -connect localhost:5432 < /dev/null 2> /dev/null | openssl x509)
  [[ $served == "$(openssl x509 < "/etc/postgresql/$1/$CLUSTER/server.crt")" ]]
}

# overridden_settings <CONFIGURATION: the settings with another active value, on each line: name, declared, active.
overridden_settings() {
  local declared
  declared=$(sed -n "s/^\([a-z_]*\) = '\{0,1\}\([^']*\)'\{0,1\}$/('\1', '\2')/p" | paste -sd ,)
  # The server prints sizes in a unit of its choice.
  sql << EOF
SELECT concat_ws(chr(9), s.name, d.value, current_setting(s.name))
FROM (VALUES $declared) AS d (name, value) JOIN pg_settings s USING (name)
WHERE CASE WHEN s.unit LIKE '%B' THEN pg_size_bytes(current_setting(s.name)) <> pg_size_bytes(d.value)
      ELSE current_setting(s.name) <> d.value END
EOF
}

main "$@"
