#!/usr/bin/env bash
# The data volume. `prepare` formats a blank one, refuses one with foreign data, and mounts it. If the stack adopts an existing
# volume, it refuses one without the stack's instance before it writes anything there; `secret` prints the secret of the instance on
# it. `mount` only mounts it; the machine runs this at each boot before any service that writes there. Both grow the file system to
# the device's size. The second run changes nothing. `guard` fails if the volume is not mounted, or the data is not on it, and
# finishes the swap of a restore that was interrupted. Every service that writes there runs it before its start.
#
#   volume.sh prepare <volume, size_gb, mountpoint, and for an adopted volume: adopted_name (the instance's), adopted_secret_hash
#     (SHA-256 of the instance's secret), otherwise empty; stack (for messages)
#   volume.sh mount|guard|secret   (volume and mount point are those of /etc/convex-droplet/volume.env)
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/lib/on-volume.sh
source "$here/../lib/on-volume.sh"
# shellcheck source=machine/backups/swap.sh
source "$here/../backups/swap.sh"

readonly LABEL=convex-data OPTIONS=rw,noatime,discard

main() {
  local verb=$1 volume mountpoint size_gb=0 adopted_name='' adopted_secret_hash stack link device
  if [[ $verb == prepare ]]; then
    take volume size_gb mountpoint adopted_name adopted_secret_hash stack
  else
    volume=$(declared VOLUME) mountpoint=$(declared MOUNTPOINT)
  fi
  if [[ $verb == guard ]]; then
    guard "$volume" "$mountpoint"
    return
  elif [[ $verb == secret ]]; then
    credential secret "$(link_of "$volume")"
    return
  fi
  link=$(link_of "$volume")
  rests_on "volume device" attached "$(either attached "not attached" test -b "$link")"
  wait_until 90 "volume $volume at $link; is it attached to this droplet?" test -b "$link"
  device=$(readlink -f "$link")
  rests_on "volume size" "$size_gb GB" "$(either "$size_gb GB" less has_size "$device" "$size_gb")"
  wait_until 60 "volume $volume to be $size_gb GB" has_size "$device" "$size_gb" \
    || fail "volume $volume: is $(($(blockdev --getsize64 "$device") / 1024 ** 3)) GB, it should be $size_gb GB." \
      "An earlier run could not grow it. Grow it with: $(pulumi_command up --refresh --run-program)"
  if [[ -n $adopted_name ]] && ! checking && ! findmnt --mountpoint "$mountpoint" > /dev/null; then
    require_instance "$volume" "$device" "$adopted_name" "$adopted_secret_hash" "$stack"
  fi
  [[ $verb != prepare ]] || format_if_blank "$volume" "$device"
  rests_on "volume.mount source" "$device" "$(findmnt --noheadings --output SOURCE --mountpoint "$mountpoint")"
  if findmnt --mountpoint "$mountpoint" > /dev/null; then
    check_mounted "$volume" "$device" "$mountpoint"
    remount "$device" "$mountpoint"
    close_mount_point "$mountpoint"
    grow_mounted "$device"
  else
    check_file_system "$device" -p
    grow_unmounted "$device"
    mount_device "$volume" "$device" "$mountpoint"
  fi
  require_on_volume "$mountpoint"
}

link_of() { echo "/dev/disk/by-id/scsi-0DO_Volume_$1"; }

# guard VOLUME MOUNTPOINT
guard() {
  check_mounted "$1" "$(readlink -f "$(link_of "$1")")" "$2"
  require_on_volume "$2"
  # After a crash in the middle of a restore's swap, a service would start with the cluster of one time and the files of another.
  finish_swap "$2"
}

# require_instance VOLUME DEVICE NAME HASH STACK: fails if the volume does not have the instance with this name and secret.
require_instance() {
  local volume=$1 device=$2 name=$3 hash=$4 stack=$5 found secret
  { found=$(credential name "$device") && secret=$(credential secret "$device"); } \
    || fail "volume $volume: has no instance that a stack has accepted, it should have instance $name, because adoptVolume names it." \
      "Nothing was written to it. Name another volume: npx pulumi config set adoptVolume VOLUME --stack $stack; then run npx pulumi up --stack $stack again"
  [[ $found == "$name" ]] \
    || fail "volume $volume: has instance $found, it should have $name. Nothing was written to it. Name another volume, or use this" \
      "instance: npx pulumi config set instanceName $found --stack $stack; then run npx pulumi up --stack $stack again"
  [[ $(printf %s "$secret" | sha256sum) == "$hash "* ]] \
    || fail "volume $volume: has instance $name with another secret than instanceSecret, so no admin key in use would be valid. Nothing was" \
      "written to it. Name another volume, or use this secret: npm run --silent ssh -- --stack $stack bash $here/volume.sh secret |" \
      "npx pulumi config set --secret instanceSecret --stack $stack; then run npx pulumi up --stack $stack again"
}

# credential name|secret DEVICE: prints what an accepted instance on an unmounted volume has. Does not even replay the journal.
credential() {
  # shellcheck disable=SC2016 # for the other shell
  unshare --mount bash -c 'mount -t ext4 -o ro,noload "$1" /mnt && [[ -e /mnt/instance ]] && cat "/mnt/data/credentials/instance_$2"' \
    - "$2" "$1" 2> /dev/null
}

# A volume that was grown a moment ago may not show its size yet.
has_size() { (($(blockdev --getsize64 "$1") >= $2 * 1024 ** 3)); }

# Never formats a volume that contains anything: a file system, a partition table, or only a signature.
format_if_blank() {
  local volume=$1 device=$2 found label
  # blkid ends with 2 if it finds nothing, and with 8 if it finds two things at once.
  found=$(blkid --probe --output value --match-tag TYPE --match-tag PTTYPE "$device" || [[ $? == 2 ]]) || found="several file systems"
  rests_on "volume content" "a file system" "${found:+a file system}"
  if [[ -z $found ]]; then
    mkfs.ext4 -q -L "$LABEL" -m 1 "$device"
    changed "formatted volume $volume (ext4, label $LABEL)"
    return
  fi
  label=$(blkid --probe --output value --match-tag LABEL "$device" || true)
  if differs "volume content" "ext4 labelled '$LABEL'" "${found//$'\n'/ } labelled '$label'"; then
    fail "volume $volume: contains ${found//$'\n'/ } labelled '${label}', it should be blank or ext4 labelled '$LABEL'." \
      "Nothing was written. Keep that data and use another volume, or if you do not need the data: wipefs --all $device"
  fi
}

check_mounted() {
  local volume=$1 device=$2 mountpoint=$3 mounted
  mounted=$(findmnt --noheadings --output SOURCE --mountpoint "$mountpoint") || mounted=nothing
  [[ $(readlink -f "$mounted") == "$device" ]] \
    || fail "$mountpoint: is $mounted, it should be volume $volume ($device). Unmount it, then run $(pulumi_command up) again"
}

mount_device() {
  local volume=$1 device=$2 mountpoint=$3
  mkdir -p "$mountpoint"
  if [[ -n $(ls -A "$mountpoint") ]]; then
    fail "$mountpoint: has files on the root disk, it should be empty. Move them away, then run $(pulumi_command up) again"
  fi
  # If the volume is ever detached, Docker must not create a container's folder on the root disk instead.
  chattr +i "$mountpoint"
  mount -t ext4 -o "$OPTIONS" "$device" "$mountpoint"
  # Nothing uses the volume yet, so the droplet was switched off while it tried a backend image or a backup on such a copy.
  rm -rf --one-file-system "$mountpoint"/{rehearsal,backups/drill} || true
  changed "mounted volume $volume at $mountpoint"
}

remount() {
  local device=$1 mountpoint=$2
  differs "volume.mount options" "$OPTIONS" "$(mount_options "$mountpoint")" || return 0
  mount -o "remount,$OPTIONS" "$device" "$mountpoint" || fail "$mountpoint: cannot be mounted with $OPTIONS. See: dmesg"
  changed "mounted $mountpoint with its options again"
}

# Of the file system's own options only the declared one, because kernels add others.
mount_options() {
  local general own
  read -r general own < <(findmnt --noheadings --output VFS-OPTIONS,FS-OPTIONS --mountpoint "$1")
  [[ ,$own, != *,discard,* ]] || general+=,discard
  [[ ,$own, != *,ro,* ]] || general=${general/#rw/ro}
  echo "$general"
}

close_mount_point() {
  differs "volume mountpoint" immutable "$(either immutable mutable grep -q '^[^ ]*i' <(below "$1" lsattr -d))" || return 0
  below "$1" chattr +i
  changed "closed the folder below $1"
}

# below MOUNTPOINT COMMAND...: runs a command on the folder below a mount, in a namespace without the mount.
below() {
  # shellcheck disable=SC2016 # for the other shell
  unshare --mount bash -c 'umount --lazy "$1" && "${@:2}" "$1"' - "$@"
}

# Kernels refuse this in some containers. Then the services on the volume have to stop for some seconds.
grow_mounted() {
  local device=$1
  differs "volume file-system" full-size "$(either smaller full-size is_smaller_than_device "$device")" || return 0
  if resize2fs "$device" > /dev/null 2>&1; then
    changed "grew the file system, online"
  else
    say "the file system cannot be grown while it is in use here; stopping the services on the volume for a moment"
    systemctl restart convex-volume.service || fail "$device: the file system could not be grown. See: journalctl -u convex-volume"
    changed "grew the file system"
  fi
}

grow_unmounted() {
  local device=$1
  is_smaller_than_device "$device" || return 0
  check_file_system "$device" -pf
  resize2fs "$device" > /dev/null 2>&1 || fail "$device: the file system could not be grown. To see why: resize2fs $device"
  changed "grew the file system"
}

check_file_system() {
  local device=$1 how=$2 report status=0
  report=$(e2fsck "$how" "$device" 2>&1) || status=$?
  # 1 means that something was found and repaired.
  if ((status > 1)); then
    say "$report"
    fail "$device: its file system has errors that you have to repair, see above. Nothing was started. Run: e2fsck $device"
  fi
}

# Smaller by more than alignment may leave unused at the end.
is_smaller_than_device() {
  local blocks size
  blocks=$(dumpe2fs -h "$1" 2> /dev/null | sed -n 's/^Block count: *//p')
  size=$(dumpe2fs -h "$1" 2> /dev/null | sed -n 's/^Block size: *//p')
  (($(blockdev --getsize64 "$1") - blocks * size > 256 * 1024 ** 2))
}

main "$@"
