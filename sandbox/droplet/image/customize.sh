#!/bin/sh
# Finishes the droplet image, as mmdebstrap's last step. Argument: the root of the new file system.
set -eu

root=$1
umask 022
cp -R "$(dirname "$0")/rootfs/." "$root"

# A package mirror may have a certificate of this computer's local authority.
if [ -d /usr/local/share/ca-certificates ]; then
  cp -R /usr/local/share/ca-certificates/. "$root/usr/local/share/ca-certificates"
  chroot "$root" update-ca-certificates
fi

# Each droplet has its own: the first boot makes the keys, Docker sets the others.
rm -f "$root"/etc/ssh/ssh_host_* "$root/etc/hosts" "$root/etc/hostname" "$root/etc/resolv.conf"

# There is no console to log in to.
ln -s /dev/null "$root/etc/systemd/system/console-getty.service"
