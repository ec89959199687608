#!/usr/bin/env bash
# Runs once, from user-data, while the cloud still creates the droplet: installs packages that the other scripts need, in one run of
# apt. They install themselves what is missing after it, so here a failure costs only time.
#
#   first-boot.sh PACKAGE...  leaves out those that the distribution does not have
set -uo pipefail

# Otherwise the package creates a cluster on the root disk.
if [[ " $* " == *" postgresql "* ]]; then
  mkdir -p /etc/postgresql-common
  echo "create_main_cluster = false" > /etc/postgresql-common/createcluster.conf
fi
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
apt=(timeout 300 apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0)
"${apt[@]}" update
mapfile -t known < <(apt-cache --no-all-versions show "$@" 2> /dev/null | sed -n 's/^Package: //p')
"${apt[@]}" install -y --no-install-recommends "${known[@]}" || echo "first-boot.sh: some of $* are not installed. The next pulumi up installs them" >&2
