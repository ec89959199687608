#!/bin/sh
# Makes /dev show exactly the attached volumes, as udev does on a real droplet.
# Reads /run/sandbox/volumes, one line for each: "<device> <major> <minor> <by-id name>". Idempotent.
set -eu

table=/run/sandbox/volumes
mkdir -p /dev/disk/by-id

# A boot and an attachment may happen at the same time.
exec 9< /dev/disk/by-id
flock 9

for link in /dev/disk/by-id/*; do
  if [ -L "$link" ] && ! grep -q " ${link##*/}\$" "$table"; then rm -f "$(readlink -f "$link")" "$link"; fi
done

while read -r device major minor id; do
  if [ ! -b "/dev/$device" ]; then mknod -m 0660 "/dev/$device" b "$major" "$minor"; fi
  ln -sfn "../../$device" "/dev/disk/by-id/$id"
done < "$table"
