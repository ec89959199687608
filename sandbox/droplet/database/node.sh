#!/bin/sh
# A node of a database cluster, the first process of its container: makes its data if it has none, then runs PostgreSQL.
# Arguments: the node's number, and `primary` or the number of the node to copy.
# /cluster is the cluster's folder, the same for all its nodes; the node's configuration is already in it.
set -eu

folder=/cluster/nodes/$1
source=$2
data=$folder/data
bin=/usr/lib/postgresql/17/bin

as_postgres() { setpriv --reuid postgres --regid postgres --init-groups "$@"; }

chown postgres:postgres /cluster /cluster/* /cluster/tls/* /cluster/nodes/* "$folder"/*.conf

if [ ! -s "$data/PG_VERSION" ]; then
  rm -rf "$data" "$data.new"
  if [ "$source" = primary ]; then
    as_postgres cp -R --preserve=all /var/lib/database/template "$data.new"
  else
    as_postgres "$bin/pg_basebackup" --host "/cluster/nodes/$source" --port 25060 --username _dodb \
      --pgdata "$data.new" --checkpoint fast --wal-method stream --no-sync
    as_postgres touch "$data.new/standby.signal"
  fi
  mv "$data.new" "$data"
fi
exec setpriv --reuid postgres --regid postgres --init-groups "$bin/postgres" \
  -D "$data" -c "config_file=$folder/postgresql.conf" -c "hba_file=$folder/pg_hba.conf"
