#!/bin/sh
# A node of a database cluster, the first process of its container: makes its data if it has none, then runs PostgreSQL.
# Arguments: the node's number, then where its first data comes from: `primary` (an empty cluster), `copy` and the number of
# the node to follow, or `restore`, the backup's name and the moment, which is empty for the backup's own.
# /cluster is the cluster's folder, the same for all its nodes; /source is the folder of the cluster to restore.
set -eu

folder=/cluster/nodes/$1
origin=$2
data=$folder/data
bin=/usr/lib/postgresql/17/bin

as_postgres() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }

chown postgres:postgres /cluster /cluster/* /cluster/tls/* /cluster/nodes/* "$folder"/*.conf

if [ ! -s "$data/PG_VERSION" ]; then
  rm -rf "$data" "$data.new"
  case $origin in
    primary)
      as_postgres cp -R --preserve=all /var/lib/database/template "$data.new"
      ;;
    copy)
      as_postgres "$bin/pg_basebackup" --host "/cluster/nodes/$3" --port 25060 --username _dodb \
        --pgdata "$data.new" --checkpoint fast --wal-method stream --no-sync
      as_postgres touch "$data.new/standby.signal"
      ;;
    restore)
      as_postgres cp -R --preserve=all "/source/backups/$3" "$data.new"
      target="recovery_target = 'immediate'"
      [ -z "$4" ] || target="recovery_target_time = '$4'"
      # A hot standby would need as many connections as the restored cluster had.
      printf '%s\n' "restore_command = 'cp /source/wal/%f %p'" "$target" "recovery_target_action = 'promote'" \
        "hot_standby = off" >> "$data.new/postgresql.auto.conf"
      as_postgres touch "$data.new/recovery.signal"
      ;;
  esac
  mv "$data.new" "$data"
fi
exec setpriv --reuid postgres --regid postgres --init-groups "$bin/postgres" \
  -D "$data" -c "config_file=$folder/postgresql.conf" -c "hba_file=$folder/pg_hba.conf"
