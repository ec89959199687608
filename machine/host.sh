#!/usr/bin/env bash
# Makes a fresh droplet a host for Convex: waits for cloud-init, closes the metadata service and the process list to all but
# root, hardens SSH, mounts the data volume with its guard, installs Docker. The second run changes nothing and says so.
#
#   host.sh VOLUME SIZE_GB MOUNTPOINT <operators' public keys, one a line
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib.sh
source "$here/lib.sh"

main() {
  local volume=$1 size_gb=$2 mountpoint=$3 packages=(nftables docker.io e2fsprogs curl)
  lock
  await_cloud_init
  # Debian has put Docker's client into a package of its own, Ubuntu has not.
  [[ $(distribution) != debian ]] || packages+=(docker-cli)
  install_packages "${packages[@]}"
  guard_metadata
  hide_processes
  admit_operators
  attach_volume "$volume" "$size_gb" "$mountpoint"
  configure_docker "$mountpoint"
  finish
}

distribution() { (. /etc/os-release && echo "$ID"); }

await_cloud_init() {
  local status=0
  say "waiting for cloud-init"
  timeout 600 cloud-init status --wait > /dev/null 2>&1 || status=$?
  # 2 means finished with recoverable errors: worth telling, no reason to stop.
  case $status in
    0) ;;
    2) say "cloud-init finished with warnings; see: cloud-init status --long" ;;
    124) fail "cloud-init: did not finish within 600 s. Look at /var/log/cloud-init-output.log on the droplet" ;;
    *)
      cloud-init status --long >&2 || true
      tail -n 20 /var/log/cloud-init-output.log >&2 || true
      fail "cloud-init: failed, its last lines are above. The droplet cannot be trusted half made: replace it with pulumi up --replace '**convex-droplet'"
      ;;
  esac
}

# User-data holds the host's private key and stays readable through the metadata service for the droplet's whole life.
guard_metadata() {
  put_file 0644 /etc/convex-droplet/metadata-guard.nft metadata-guard < "$here/files/metadata-guard.nft"
  put_unit convex-metadata-guard.service
  if pending metadata-guard; then
    systemctl restart convex-metadata-guard.service
    settled metadata-guard
  fi
}

# The backend's own start script puts its secret and its database's URL on a command line.
hide_processes() {
  put_unit convex-hide-processes.service
}

admit_operators() {
  put_file 0600 /etc/ssh/convex_operators
  put_file 0644 /etc/ssh/sshd_config.d/10-convex-droplet.conf sshd < "$here/files/sshd.conf"
  if pending sshd; then
    sshd -t || fail "sshd: refuses its new configuration, see above. The running server was left alone"
    systemctl reload ssh.service
    settled sshd
  fi
}

attach_volume() {
  local volume=$1 size_gb=$2 mountpoint=$3
  put_file 0644 /etc/convex-droplet/volume.env <<< "VOLUME=$volume
MOUNTPOINT=$mountpoint"
  bash "$here/volume.sh" prepare "$volume" "$mountpoint" "$size_gb"
  put_unit convex-volume.service
  install -d -m 0755 "$mountpoint/data" "$mountpoint/postgresql"
  link_convex "$mountpoint"
}

link_convex() {
  local mountpoint=$1
  if [[ $(readlink /opt/convex) == "$mountpoint" ]]; then return; fi
  if [[ -e /opt/convex || -L /opt/convex ]]; then
    fail "/opt/convex: is something else, it should be a link to $mountpoint. Move it away, then run pulumi up again"
  fi
  ln -s "$mountpoint" /opt/convex
  changed "linked /opt/convex to $mountpoint"
}

configure_docker() {
  local mountpoint=$1
  put_file 0644 /etc/docker/daemon.json docker < "$here/files/docker-daemon.json"
  guard_unit docker.service "$mountpoint"
  start_unit docker.service
  if pending docker; then
    systemctl restart docker.service || fail "docker: does not start. Look at: journalctl -u docker"
    settled docker
  fi
}

# put_unit NAME: installs a unit, enables and starts it.
put_unit() {
  put_file 0644 "/etc/systemd/system/$1" systemd < "$here/files/$1"
  start_unit "$1"
}

main "$@"
