#!/usr/bin/env bash
# The commands to set up Convex on a fresh droplet by hand, without any checks: packages, volume, PostgreSQL on it, both
# containers. The benchmark compares the program with this script. Runs once.
#
#   plain.sh VOLUME BACKEND_IMAGE DASHBOARD_IMAGE
set -euo pipefail

main() {
  local volume=$1 backend=$2 dashboard=$3 password secret data
  export DEBIAN_FRONTEND=noninteractive
  cloud-init status --wait > /dev/null
  mkdir -p /etc/postgresql-common
  echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
  apt-get -qq update
  apt-get -qq install -y --no-install-recommends nftables docker.io docker-cli e2fsprogs curl postgresql > /dev/null

  mkfs.ext4 -q -m 1 "/dev/disk/by-id/scsi-0DO_Volume_$volume"
  mkdir -p /mnt/convex
  mount -o noatime,discard "/dev/disk/by-id/scsi-0DO_Volume_$volume" /mnt/convex
  mkdir -p /mnt/convex/data /mnt/convex/postgresql

  docker network create --subnet 172.30.0.0/24 --gateway 172.30.0.1 convex > /dev/null
  data=/mnt/convex/postgresql/17/main
  pg_createcluster --datadir "$data" 17 main -- --data-checksums --encoding UTF8 --locale C.UTF-8 > /dev/null
  echo "listen_addresses = 'localhost, 172.30.0.1'" >> /etc/postgresql/17/main/postgresql.conf
  echo "host convex_self_hosted convex 172.30.0.0/24 scram-sha-256" >> /etc/postgresql/17/main/pg_hba.conf
  systemctl start postgresql@17-main
  password=$(od -An -N20 -tx1 /dev/urandom | tr -d ' \n')
  secret=$(od -An -N32 -tx1 /dev/urandom | tr -d ' \n')
  cd /
  runuser -u postgres -- psql -q << SQL
CREATE ROLE convex LOGIN PASSWORD '$password';
CREATE DATABASE convex_self_hosted OWNER convex;
REVOKE ALL ON DATABASE convex_self_hosted FROM PUBLIC;
SQL

  docker pull -q "$backend" > /dev/null
  docker pull -q "$dashboard" > /dev/null
  umask 077
  cat > /root/convex.env << ENV
INSTANCE_NAME=convex-self-hosted
INSTANCE_SECRET=$secret
POSTGRES_URL=postgresql://convex:$password@host.docker.internal:5432?sslmode=disable
DO_NOT_REQUIRE_SSL=true
DISABLE_BEACON=true
CONVEX_CLOUD_ORIGIN=http://127.0.0.1:3210
CONVEX_SITE_ORIGIN=http://127.0.0.1:3211
ENV
  docker run -d --name convex-backend --network convex --add-host host.docker.internal:172.30.0.1 --env-file /root/convex.env \
    -p 3210:3210 -p 3211:3211 -v /mnt/convex/data:/convex/data --restart unless-stopped "$backend" > /dev/null
  docker run -d --name convex-dashboard --network convex -e NEXT_PUBLIC_DEPLOYMENT_URL=http://127.0.0.1:3210 \
    -p 127.0.0.1:6791:6791 --restart unless-stopped "$dashboard" > /dev/null
  timeout 180 bash -c 'until curl -fs -o /dev/null http://127.0.0.1:3210/version; do sleep 0.2; done'
}

main "$@"
