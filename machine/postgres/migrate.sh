#!/usr/bin/env bash
# Takes the data of an older PostgreSQL over into a cluster of this droplet's version, beside the old one on the volume: roles with
# their passwords, all databases, their settings. Nothing is written to the old cluster. Its server, from the packages of its own
# distribution in a throw-away folder, runs on a layer over it; the new one loads a dump of it. The script compares all rows of
# both. Only then it moves the old version's folder away, to before-NEW/OLD, where it stays as the way back.
#
# Until then, the new cluster has a name that ends with .unfinished, and a run that was killed is done again from the start. After that,
# it is called .migrated, and postgres.sh gives it its name.
#
#   migrate.sh run HOME FROM TO   (from postgres.sh; HOME is the clusters' folder, FROM and TO are versions)
#   migrate.sh back               puts the old version's folder back, for a droplet of the old version; the present one is kept
#   migrate.sh forget             removes what `run` and `back` have kept
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/../backups/jobs.sh"
# shellcheck source=machine/backups/beside.sh
source "$here/../backups/beside.sh"

# Whose packages a cluster of each version was made with: version, distribution, release, components; and if this droplet has another
# distribution: mirror, and the package of the keyring.
readonly RELEASES="15 Debian bookworm main http://deb.debian.org/debian debian-archive-keyring
16 Ubuntu noble main,universe http://archive.ubuntu.com/ubuntu ubuntu-keyring
17 Debian trixie main http://deb.debian.org/debian debian-archive-keyring"
# On the root disk, because the volume may be full. ROOT is what the old server sees as its root.
readonly WORK=/var/lib/convex-droplet-migration SERVER=convex-migration.service
readonly ROOT=$WORK/root

main() {
  case ${1:-} in
    run | back | forget) "$@" ;;
    *) fail "${1:-}: is not one of the verbs of this script, it should be run, back or forget" ;;
  esac
}

run() {
  local home=$1 from=$2 to=$3 old=$1/$2/main new=$1/$3/main bin=/usr/lib/postgresql/$3/bin kept=$1/before-$3 patience=900
  MOUNTPOINT=${home%/*} target[version]=$to
  alone
  # shellcheck disable=SC2064 # expand the name now, while the variable exists
  trap "clean_up '$new'" EXIT
  clean_up "$new"
  # Another run that waited for the same may have done it.
  [[ -e $home/$from ]] || return 0
  if [[ ! -d $new.migrated ]]; then
    make_cluster
    # Before the move, after which no run comes here any more.
    clean_up "$new"
  fi
  install -d -m 0755 "$kept"
  mv --no-target-directory "$home/$from" "$kept/$from"
  sync --file-system "$kept"
  say "PostgreSQL $to has the data of $from. That of before stays in $kept/$from, $(human "$(bytes_of "$kept/$from")"), until you remove it:" \
    "$(npm_command ssh) bash $here/migrate.sh forget"
}

make_cluster() {
  local release owner databases
  release=$(grep "^$from " <<< "$RELEASES") \
    || fail "$home/$from: contains data of PostgreSQL $from, it should be of one that can be migrated: $(cut -d ' ' -f 1 <<< "$RELEASES" | paste -sd ' '). Use the image that the data was created with"
  [[ -f $old/PG_VERSION ]] || fail "$old: is not there, it should be the cluster of PostgreSQL $from. Move $home/$from away, then run $(pulumi_command up) again"
  [[ ! -e $new && ! -e $kept/$from ]] \
    || fail "$home: has data of both PostgreSQL $from and $to. Move away what you do not need, of $old, $new and $kept/$from, then run $(pulumi_command up) again"
  [[ -z $(ls -A "$old/pg_tblspc") ]] \
    || fail "$old: has tablespaces, it should have none, because the way back does not include them. Move their tables to the default one on a droplet with PostgreSQL $from"
  require_room
  # Also a server of the old version, on a droplet whose distribution was upgraded.
  systemctl stop 'postgresql@*.service'
  owner=$(stat --format %u:%g "$old")
  say "migrating $(human "$(bytes_of "$old")") of PostgreSQL $from to $to; meanwhile, the instance does not serve"
  install_old_server
  install -d -o postgres -g postgres -m 0700 "$home/$to" "$BESIDE"
  watch_space
  start_old
  databases=$(old_sql postgres "SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname") || give_up "the databases cannot be listed, see above"
  require_locales
  start_new
  take_over
  compare
  as_postgres "$bin/vacuumdb" -h "$BESIDE" --all --analyze-only --quiet || give_up "the new cluster cannot be analyzed, see above"
  stop_beside "$new.unfinished"
  # For the message about the time without answers.
  touch --reference="$old/global/pg_control" "$new.unfinished/global/pg_control"
  sync --file-system "$new.unfinished"
  mv --no-target-directory "$new.unfinished" "$new.migrated"
}

# clean_up NEW: ends and removes what this run or a killed one has left, except for a complete cluster.
clean_up() {
  end_leftovers
  if mountpoint -q "$ROOT/data"; then umount "$ROOT/data" || umount --lazy "$ROOT/data"; fi
  rm -rf --one-file-system "$WORK" "$1.layer" "$1.unfinished"
}

# give_up TEXT...: fails with what else is worth knowing.
give_up() {
  tell_if_full
  fail "$*. The data of PostgreSQL $from is unchanged in $old. To go on with it, use the droplet image that it was made with"
}

bytes_of() { du --summarize --block-size=1 "$1" | cut -f 1; }

# require_room: for the new cluster with its log, and what is to stay free.
require_room() {
  local needed free
  needed=$(($(bytes_of "$old") * 12 / 10 + 1024 ** 3 + RESERVE))
  free=$(free_bytes "$MOUNTPOINT")
  ((free >= needed)) \
    || fail "$MOUNTPOINT: has $(human "$free") free, it should have $(human "$needed") to migrate PostgreSQL beside the data of before. Nothing was changed." \
      "Grow the volume, which cannot shrink again: $(pulumi_command "config set" volumeSizeGb "$((($(blockdev --getsize64 "$(findmnt --noheadings --output SOURCE "$MOUNTPOINT")") + needed - free) / 1024 ** 3 + 2))") && $(pulumi_command up)"
}

# install_old_server: unpacks the old version with all that it depends on. None of their scripts runs, and this droplet's packages stay as
# they are. The locales are for databases that use one.
install_old_server() {
  local distribution suite components mirror keys own keyring apt package log=$WORK/log
  read -r _ distribution suite components mirror keys <<< "$release"
  install -d -m 0700 "$WORK"
  install -d "$ROOT"/{data,usr/{bin,sbin,lib,lib64}} "$WORK"/{keyring,lists/partial,archives/partial}
  for package in bin sbin lib lib64; do ln -s "usr/$package" "$ROOT/$package"; done
  # shellcheck disable=SC2016 # apt's variables
  own=$(apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' | awk -v from="$distribution" '$1 == from && $2 !~ /-/ {print $3; exit}')
  keyring=/usr/share/keyrings/${distribution,,}-archive-keyring.gpg
  if [[ ! -e $keyring ]]; then
    (cd "$WORK/keyring" && apt-get -qq update && apt-get -qq download "$keys") > "$log" 2>&1 || give_up "the keyring of $distribution cannot be fetched: $(tail -n 1 "$log")"
    for package in "$WORK/keyring/"*.deb; do dpkg-deb --extract "$package" "$WORK/keyring"; done
    keyring=$WORK/keyring$keyring
  fi
  : > "$WORK/status"
  echo "deb [signed-by=$keyring] ${own:-$mirror} $suite ${components//,/ }" > "$WORK/sources.list"
  apt=(apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User=root -o Dir::State::status="$WORK/status" -o Dir::State::lists="$WORK/lists" -o Dir::Cache="$WORK"
    -o Dir::Etc::sourcelist="$WORK/sources.list" -o Dir::Etc::sourceparts=- -o Dir::Etc::preferences=- -o Dir::Etc::preferencesparts=-)
  { "${apt[@]}" update && "${apt[@]}" install --download-only --no-install-recommends -y "postgresql-$from" libc-bin locales-all; } > "$log" 2>&1 < /dev/null \
    || give_up "the packages of PostgreSQL $from cannot be fetched from ${own:-$mirror}: $(tail -n 1 "$log"). Make sure that the droplet reaches it, then run $(pulumi_command up) again"
  for package in "$WORK/archives/"*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar --extract --directory="$ROOT" --keep-directory-symlink || give_up "the packages of PostgreSQL $from cannot be unpacked"
    rm "$package"
  done
}

# start_old: as a standby that waits for a log that never comes. So it replays what a crash has left and then writes nothing, not even
# hints in pages, of which each would copy a whole file into the layer.
start_old() {
  install -d -m 0700 -o "${owner%:*}" -g "${owner#*:}" "$new.layer" "$new.layer/upper" "$new.layer/work" "$ROOT/socket"
  mount -t overlay convex-migration -o "lowerdir=$old,upperdir=$new.layer/upper,workdir=$new.layer/work" "$ROOT/data" || give_up "$old: cannot be mounted below a layer. See: dmesg"
  rm -f "$ROOT/data/postmaster.pid"
  # With a logical one, it does not start below its level of the log, and no dump has them.
  find "$ROOT/data/pg_replslot" -mindepth 1 -delete
  # What an earlier restore has left in it would end this replay early.
  : > "$ROOT/data/postgresql.auto.conf"
  install -m 0600 -o "${owner%:*}" -g "${owner#*:}" /dev/null "$ROOT/data/standby.signal"
  # Only root reaches the socket.
  echo "local all postgres trust" > "$ROOT/pg_hba.conf"
  : > "$ROOT/pg_ident.conf"
  {
    printf '%s\n' "data_directory = '/data'" "hba_file = '/pg_hba.conf'" "ident_file = '/pg_ident.conf'" "unix_socket_directories = '/socket'" \
      "listen_addresses = ''" "dynamic_shared_memory_type = sysv" "shared_buffers = 64MB" "max_parallel_workers_per_gather = 0"
    replay_limits chroot "$ROOT" "/usr/lib/postgresql/$from/bin/pg_controldata" /data
  } > "$ROOT/postgresql.conf"
  # Its files may belong to another id than that of postgres on this droplet.
  systemd-run --quiet --collect --unit="$SERVER" --slice="$BESIDE_SLICE" --property=Type=exec --property=KillMode=mixed --property=KillSignal=SIGINT \
    --property=StandardOutput="append:$WORK/log" --property=StandardError="append:$WORK/log" \
    chroot --userspec="$owner" --groups= "$ROOT" "/usr/lib/postgresql/$from/bin/postgres" -c config_file=/postgresql.conf || give_up "the server of PostgreSQL $from does not start"
  until old_sql postgres "SELECT" > /dev/null 2>&1; do
    if ! systemctl is-active --quiet "$SERVER"; then
      tail -n 15 "$WORK/log" >&2
      give_up "the server of PostgreSQL $from does not start, see above"
    fi
    sleep 0.2
  done
}

# of_old DATABASE TOOL OPTION...: a tool of the new version that asks the old server. The name is not on the command line, where it could be
# a connection string.
of_old() { PGDATABASE=$1 "$bin/$2" -h "$ROOT/socket" -U postgres "${@:3}"; }

# in_new DATABASE OPTION...
in_new() { PGDATABASE=$1 as_postgres "$bin/psql" -h "$BESIDE" -qAtX -v ON_ERROR_STOP=1 -v VERBOSITY=terse "${@:2}"; }

old_sql() { of_old "$1" psql -qAtX -v ON_ERROR_STOP=1 -c "$2"; }

require_locales() {
  local database locale closed all
  closed=$(old_sql postgres "SELECT string_agg(datname, ', ') FROM pg_database WHERE NOT datallowconn AND datname <> 'template0'") \
    && all=$(old_sql postgres "SELECT datname || chr(9) || locale FROM pg_database, LATERAL (VALUES (datcollate), (datctype)) AS l (locale)") || exit 1
  [[ -z $closed ]] \
    || give_up "database $closed: allows no connections, so it cannot be read. Allow them on a droplet with PostgreSQL $from: ALTER DATABASE … ALLOW_CONNECTIONS true"
  while IFS=$'\t' read -r database locale; do
    python3 -IS -c 'import locale, sys; locale.setlocale(locale.LC_ALL, sys.argv[1])' "$locale" 2> /dev/null \
      || give_up "database $database: has the locale $locale, which this droplet does not have. Install all locales, 230 MB, here and on each later droplet:" \
        "$(npm_command ssh) apt-get install -y locales-all; then run $(pulumi_command up) again"
  done <<< "$all"
}

start_new() {
  install -d -o postgres -g postgres -m 0700 "$new.unfinished"
  as_postgres "$bin/initdb" --pgdata "$new.unfinished" --data-checksums --no-sync --no-instructions \
    --encoding UTF8 --locale C.UTF-8 --auth-local peer --auth-host scram-sha-256 > /dev/null || give_up "the new cluster cannot be made, see above"
  printf '%s\n' "data_directory = '$new.unfinished'" "hba_file = '$BESIDE/pg_hba.conf'" "ident_file = '$BESIDE/pg_ident.conf'" "autovacuum = off" "fsync = off" \
    "full_page_writes = off" "wal_level = minimal" "max_wal_senders = 0" "log_min_error_statement = panic" > "$BESIDE/postgresql.conf"
  echo "local all postgres peer" > "$BESIDE/pg_hba.conf"
  : > "$BESIDE/pg_ident.conf"
  chown -R postgres:postgres "$BESIDE"
  serve_beside "$bin" "" -c listen_addresses= -c ssl=off || give_up "the server of the new cluster does not start, see above"
}

take_over() {
  local database
  of_old postgres pg_dumpall --globals-only | sed '/^CREATE ROLE postgres;$/d' | in_new postgres -o /dev/null || give_up "the roles cannot be taken over, see above"
  while IFS= read -r database; do
    # Also those that every cluster has, because somebody may have used them. None can be replaced while somebody is connected to it.
    of_old "$database" pg_dump --create --clean --if-exists | in_new "$([[ $database == template1 ]] && echo postgres || echo template1)" -o /dev/null \
      || give_up "database $database: cannot be taken over, see above"
  done <<< "$databases"
  if grep -qv '^#' "$old/postgresql.auto.conf"; then
    say "not taken over, because the new version may not know them: settings of ALTER SYSTEM: $(grep -v '^#' "$old/postgresql.auto.conf" | cut -d ' ' -f 1 | paste -sd ' ')"
  fi
}

# compare: reads all rows in both, and compares their number and a checksum for each table.
compare() {
  local database contents theirs ours
  contents="SELECT format('SELECT %L, count(*), coalesce(sum(hashtextextended((t.*)::text, 0)), 0) FROM ONLY %s AS t', c.oid::regclass, c.oid::regclass)
FROM pg_class AS c WHERE relkind IN ('r', 'm') AND relnamespace::regnamespace::text !~ '^(pg_|information_schema$)' ORDER BY c.oid::regclass::text \\gexec"
  while IFS= read -r database; do
    theirs=$(of_old "$database" psql -qAtX -v ON_ERROR_STOP=1 <<< "$contents") || give_up "database $database: cannot be read with PostgreSQL $from, see above"
    ours=$(in_new "$database" <<< "$contents") || give_up "database $database: cannot be read with PostgreSQL $to, see above"
    [[ $ours == "$theirs" ]] || give_up "database $database: has other rows in the new cluster than in the old one. The first table is $(diff <(echo "$theirs") <(echo "$ours") | sed -n '2s/^. //p')"
    say "database $database: $(awk -F '|' '{rows += $2} END {print rows + 0}' <<< "$theirs") rows are the same"
  done <<< "$databases"
}

back() {
  local home to from kept
  home=$(declared MOUNTPOINT)/postgresql
  to=$(dpkg-query -W -f '${Version}' postgresql) to=${to%%+*}
  lock
  kept=$(compgen -G "$home/before-$to/*") || true
  if [[ -z $kept ]]; then
    compgen -G "$home/before-*/$to" > /dev/null || fail "$home/before-$to: is not there, so there is nothing to go back to"
    # It has gone back already; a run that was killed may have left the empty folder.
    if [[ -d $home/before-$to ]]; then rmdir "$home/before-$to"; fi
    finish
    return
  fi
  from=${kept##*/}
  [[ ! -e $home/before-$from/$to || ! -e $home/$to ]] || fail "$home/before-$from/$to: is what an earlier way back has kept. If you do not need it: rm -r $home/before-$from, then run this again"
  if [[ -e $home/$to ]]; then
    systemctl stop 'postgresql@*.service'
    install -d -m 0755 "$home/before-$from"
    mv --no-target-directory "$home/$to" "$home/before-$from/$to"
    changed "stopped PostgreSQL, and moved its data to $home/before-$from/$to"
  fi
  mv --no-target-directory "$kept" "$home/$from"
  rmdir "$home/before-$to"
  sync --file-system "$home"
  changed "put the data of PostgreSQL $from back. Now set the droplet image that it was made with, and replace the droplet"
  finish
}

forget() {
  local folder
  lock
  for folder in "$(declared MOUNTPOINT)"/postgresql/before-*/; do
    if [[ -d $folder ]]; then
      rm -rf "$folder"
      changed "removed ${folder%/}"
    fi
  done
  finish
}

main "$@"
