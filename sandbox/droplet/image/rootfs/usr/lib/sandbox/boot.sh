#!/bin/sh
# A droplet's first process: does what firmware and hypervisor do for a real droplet, then becomes systemd.
# Reads /run/sandbox, which the sandbox fills from outside. Runs at each boot, and only does what is not done yet.
set -eu

# Docker's request to power off; after this script, systemd handles it.
trap 'exit 130' RTMIN+3

# As on a real machine, running services and containers see what is mounted later.
mount --make-rshared /

umount -R /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup

# Docker mounts each of these files; on a real machine they are plain files, which tools can replace by a rename.
for file in /etc/hosts /etc/hostname /etc/resolv.conf; do
  content=$(cat "$file")
  umount "$file"
  [ -s "$file" ] || printf '%s\n' "$content" > "$file"
done
if [ -s /run/sandbox/resolv.conf ]; then cp /run/sandbox/resolv.conf /etc/resolv.conf; fi

install -d -m 0700 /var/lib/cloud/seed/nocloud
install -m 0600 /run/sandbox/seed/* /var/lib/cloud/seed/nocloud

if [ -d /run/sandbox/certs.d ]; then
  mkdir -p /etc/docker
  cp -r /run/sandbox/certs.d /etc/docker
fi

# For file systems of programs, as the kernel makes it.
[ -c /dev/fuse ] || mknod -m 0666 /dev/fuse c 10 229

/usr/lib/sandbox/devices.sh
exec /sbin/init
