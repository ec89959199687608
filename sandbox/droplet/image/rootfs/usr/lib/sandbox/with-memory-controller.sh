#!/bin/sh
# Runs a command that limits memory: Docker's daemons. systemd here only knows version 2 of control groups. If the
# computer has its memory controller in version 1, which a real droplet never has, the command sees version 1 instead,
# limited to the droplet's part of it. The rest of the file system stays shared.
#
#   with-memory-controller.sh COMMAND...
set -eu

if grep -qw memory /sys/fs/cgroup/cgroup.controllers; then exec "$@"; fi

# shellcheck disable=SC2016 # for the other shell
exec unshare --mount --propagation unchanged sh -euc '
  mount --make-private /sys/fs/cgroup
  mount -t tmpfs -o mode=755 tmpfs /sys/fs/cgroup
  for controller in $(sed -n "s/^\([a-z]*\)\t[1-9].*/\1/p" /proc/cgroups); do
    mkdir "/sys/fs/cgroup/$controller"
    mount -t cgroup -o "$controller" cgroup "/sys/fs/cgroup/$controller"
  done
  exec "$@"' - "$@"
