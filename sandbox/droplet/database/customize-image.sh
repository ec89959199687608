#!/bin/sh
# Finishes the image of database nodes, as mmdebstrap's last step. Argument: the root of the new file system.
set -eu

root=$1

# The locale of DigitalOcean's databases.
chroot "$root" localedef --inputfile en_US --charmap UTF-8 en_US.UTF-8

# Each new cluster gets a copy, because initdb takes some seconds.
install -d -m 0755 "$root/var/lib/database"
chroot "$root" chown postgres:postgres /var/lib/database
chroot "$root" runuser --user postgres -- /usr/lib/postgresql/17/bin/initdb \
  --pgdata /var/lib/database/template --username _dodb --locale en_US.UTF-8 --encoding UTF8 \
  --auth scram-sha-256 --auth-local trust --data-checksums --no-sync > /dev/null
