#!/bin/sh
# Makes /dev show the attached volumes, all of them and no others, as udev does on a real droplet.
# Reads /run/sandbox/volumes: a line each, "<device> <major> <minor> <by-id name>". Idempotent.
set -eu

table=/run/sandbox/volumes
mkdir -p /dev/disk/by-id

# A boot and a hot attachment may come together.
exec 9< /dev/disk/by-id
flock 9

for link in /dev/disk/by-id/*; do
  if [ -L "$link" ] && ! grep -q " ${link##*/}\$" "$table"; then rm -f "$(readlink -f "$link")" "$link"; fi
done

while read -r device major minor id; do
  if [ ! -b "/dev/$device" ]; then mknod -m 0660 "/dev/$device" b "$major" "$minor"; fi
  ln -sfn "../../$device" "/dev/disk/by-id/$id"
done < "$table"
