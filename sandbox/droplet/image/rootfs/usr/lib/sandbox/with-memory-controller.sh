#!/bin/sh
# Runs a command that limits memory: Docker's daemons. Systemd here knows the second version of control groups only. Where
# the computer has its memory controller in the first one, as a droplet never does, the command gets that version in its
# place, within the droplet's own part of it; everything else of the file system stays shared.
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
