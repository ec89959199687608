#!/usr/bin/env bash
# Reads a hand-made installation of Convex: its backend in a container, its database in PostgreSQL on the machine or in another
# container. It comes to the old machine on stdin (`bash -s`), so that nothing is written there. Only `stop` and `start` change
# something: whether the backend's container runs. Runs as root.
#
#   old.sh look CONTAINER            what is there, as lines name=value; CONTAINER may be empty if there is only one
#   old.sh dump CONTAINER            the database on stdout, in pg_dump's custom format
#   old.sh files CONTAINER [SINCE]   the folder of the backend's files on stdout, as a tar; only files changed since (in s since 1970)
#   old.sh rows CONTAINER            number of rows, and the newest one's time in ns since 1970
#   old.sh stop|start CONTAINER
set -euo pipefail

fail() {
  printf 'error: the old machine: %s\n' "$*" >&2
  exit 1
}

main() {
  local verb=$1
  [[ $(id -u) == 0 ]] || fail "the commands there run as $(id -un), they should run as root. Use --from root@…, or a user who may run sudo without a password"
  command -v docker > /dev/null || fail "has no docker. Only a backend in a container can be moved; see docs/move-in.md for the way with export and import"
  container=$(choose_container "$2")
  case $verb in
    stop) stop ;;
    start) docker start "$container" > /dev/null ;;
    files) files "${3:-}" ;;
    *)
      read_configuration
      [[ $database != postgres ]] || find_server
      case $verb in
        look) look ;;
        dump) dump ;;
        rows) rows ;;
      esac
      ;;
  esac
}

# choose_container WANTED: the container with Convex's data.
choose_container() {
  local found
  if [[ -n $1 ]]; then
    docker inspect --type container "$1" > /dev/null 2>&1 || fail "has no container $1. See there: docker ps --all"
    found=$1
  else
    # shellcheck disable=SC2016 # Docker's template
    found=$(docker ps --all --quiet | xargs -r docker inspect --format \
      '{{$name := .Name}}{{range .Mounts}}{{if eq .Destination "/convex/data"}}{{$name}}{{"\n"}}{{end}}{{end}}' | sed -n 's|^/||p')
    [[ -n $found ]] || fail "has no container with /convex/data. If it has another place for its data, move by export and import, see docs/move-in.md"
    [[ $found != *$'\n'* ]] || fail "has several containers with /convex/data: ${found//$'\n'/, }. Choose one with --container NAME"
  fi
  echo "$found"
}

# folder: where the backend's files are on the machine.
folder() { docker inspect --format '{{range .Mounts}}{{if eq .Destination "/convex/data"}}{{.Source}}{{end}}{{end}}' "$container"; }

# read_configuration: as the image's start script does: name, secret, database (postgres, mysql or sqlite), url, storage (local or s3).
read_configuration() {
  local line variable credentials
  local -A env=()
  while IFS= read -r line; do
    [[ $line != *=* ]] || env[${line%%=*}]=${line#*=}
  done < <(docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' "$container")
  credentials=$(folder)/credentials
  name=${env[INSTANCE_NAME]:-$(cat "$credentials/instance_name" 2> /dev/null || echo convex-self-hosted)}
  secret=${env[INSTANCE_SECRET]:-$(cat "$credentials/instance_secret" 2> /dev/null || true)}
  database=sqlite url=
  if [[ -n ${env[POSTGRES_URL]:-} ]]; then
    database=postgres url=${env[POSTGRES_URL]}
  elif [[ -n ${env[MYSQL_URL]:-} ]]; then
    database=mysql
  elif [[ -n ${env[DATABASE_URL]:-} ]]; then
    database=postgres url=${env[DATABASE_URL]}
  fi
  storage=s3
  for variable in AWS_REGION S3_STORAGE_{EXPORTS,FILES,MODULES,SEARCH,SNAPSHOT_IMPORTS}_BUCKET; do
    [[ -n ${env[$variable]:-} ]] || storage=local
  done
  db=${name//-/_}
}

# find_server: how to reach the server in the URL from here: server (for people) and way (container, socket or network).
find_server() {
  local host
  [[ $url =~ ^postgres(ql)?://([^:@/]*)(:([^@/]*))?@(\[[^]]*\]|[^:/?]*)(:([0-9]+))? ]] || fail "POSTGRES_URL of $container cannot be read"
  user=$(decode "${BASH_REMATCH[2]}")
  PGPASSWORD=$(decode "${BASH_REMATCH[4]}")
  export PGPASSWORD
  host=${BASH_REMATCH[5]} port=${BASH_REMATCH[7]:-5432}
  peer=$(container_named "$host")
  if [[ -n $peer ]]; then
    server="container $peer" way=container
  elif is_here "$host" && id postgres > /dev/null 2>&1 && as_postgres psql -p "$port" -Atc "SELECT 1" > /dev/null 2>&1; then
    server="this machine's PostgreSQL" way=socket
  elif is_here "$host" && peer=$(docker ps --filter "publish=$port" --format '{{.Names}}' | head -n 1) && [[ -n $peer ]]; then
    server="container $peer" way=container port=5432
  else
    command -v pg_dump > /dev/null || fail "has no pg_dump to read the database at $host. Install it there: apt-get install postgresql-client"
    if is_here "$host"; then host=127.0.0.1; fi
    server=$host way=network
    export PGHOST=$host
  fi
  sql "SELECT 1" postgres > /dev/null || fail "the PostgreSQL of $container ($server) does not answer, see above"
  [[ $(sql "SELECT count(*) FROM pg_database WHERE datname = '$db'" postgres) == 1 ]] \
    || fail "the PostgreSQL of $container ($server) has no database $db, which belongs to the name $name"
}

# decode TEXT: a part of a URL.
decode() {
  local text=${1//\\/\\\\}
  printf '%b' "${text//%/\\x}"
}

# container_named HOST: the container with this name in one of the backend's networks.
container_named() {
  local networks found
  networks=$(docker inspect --format '{{range $name, $_ := .NetworkSettings.Networks}}{{println $name}}{{end}}' "$container" | grep . || true)
  while read -r found; do
    docker inspect --format '{{$name := .Name}}{{range $network, $end := .NetworkSettings.Networks}}{{range $end.Aliases}}{{println $network . $name}}{{end}}{{println $network (slice $name 1) $name}}{{end}}' "$found"
  done < <(docker ps --quiet) | while read -r network alias found; do
    if [[ $alias == "$1" ]] && grep -Fxq -- "$network" <<< "$networks"; then echo "${found#/}"; fi
  done | sort -u | head -n 1
}

# is_here HOST: whether a name or an address in the container is this machine.
is_here() {
  local address
  case $1 in host.docker.internal | localhost | 127.*) return 0 ;; esac
  for address in $(hostname -I); do [[ $address != "$1" ]] || return 0; done
  return 1
}

# Without PAM, which would log each of them.
as_postgres() { (cd / && setpriv --reuid=postgres --regid=postgres --init-groups -- "$@"); }

# client PROGRAM OPTION...: one of PostgreSQL's programs. The password is only in its environment.
client() {
  case $way in
    container) docker exec --env PGPASSWORD "$peer" "$1" -h 127.0.0.1 -p "$port" -U "$user" "${@:2}" ;;
    socket) as_postgres "$1" -p "$port" "${@:2}" ;;
    network) "$1" -p "$port" -U "$user" "${@:2}" ;;
  esac < /dev/null
}

# sql STATEMENT [DATABASE]
sql() { client psql -qAtX -v ON_ERROR_STOP=1 -d "${2:-$db}" -c "$1"; }

look() {
  printf '%s\n' "container=$container" "running=$(docker inspect --format '{{.State.Running}}' "$container")" "name=$name" "secret=$secret" \
    "database=$database" "storage=$storage" "folder=$(folder)" "now=$(date +%s)" \
    "files_bytes=$(du --summarize --block-size=1 --exclude=./tmp "$(folder)" | cut -f 1)"
  [[ $database == postgres ]] || return 0
  printf '%s\n' "server=$server" "version=$(($(sql "SHOW server_version_num") / 10000))" "bytes=$(sql "SELECT pg_database_size('$db')")"
}

dump() { client pg_dump --format=custom --no-owner --no-privileges --no-comments -d "$db"; }

rows() { sql "SELECT count(*) || ' ' || coalesce(max(ts), 0) FROM documents"; }

# files SINCE: a file may grow while it is read; blobs do not.
files() {
  local status=0
  tar --create --file=- --directory="$(folder)" --warning=no-file-changed --warning=no-file-removed --exclude=./tmp --exclude='./db.sqlite3*' \
    ${1:+--newer-mtime="@$1"} . || status=$?
  ((status <= 1)) || fail "the files in $(folder) cannot be read, see above"
}

stop() {
  docker stop "$container" > /dev/null
  [[ $(docker inspect --format '{{.State.Running}}' "$container") == false ]] || fail "$container does not stop"
}

main "$@"
exit
