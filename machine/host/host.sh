#!/usr/bin/env bash
# Makes a fresh droplet a host for Convex: waits for cloud-init, closes the metadata service and the process list to all but
# root, hardens SSH, switches on security updates, mounts the data volume with its guard, installs Docker. The second run
# changes nothing and says so.
#
#   host.sh <volume, size_gb, mountpoint, operator_keys (public keys that may also log in), reboot_time (HH:MM or never),
#     adopted_name and adopted_secret_hash (see volume.sh), stack (for messages)
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/lib/units.sh
source "$here/../lib/units.sh"

main() {
  local volume size_gb mountpoint operator_keys reboot_time adopted_name adopted_secret_hash stack
  take volume size_gb mountpoint operator_keys reboot_time adopted_name adopted_secret_hash stack
  lock
  await_cloud_init
  complete_packages
  install_listed "$here/packages"
  put_folder 0755 root:root /etc/convex-droplet
  put_file 0644 /etc/systemd/system/backups.slice systemd < "$here/backups.slice"
  guard_metadata
  hide_processes
  admit_operators "$operator_keys"
  install_updates "$reboot_time"
  in_area volume attach_volume "$volume" "$size_gb" "$mountpoint"
  in_area containers configure_docker "$mountpoint"
  finish
}

await_cloud_init() {
  if checking; then
    differs cloud-init "done without errors" "$(cloud_init_result)" || true
    return
  fi
  local status=0
  say "waiting for cloud-init, which installs packages"
  timeout 600 cloud-init status --wait > /dev/null 2>&1 || status=$?
  # 2 means finished with recoverable errors: a warning, and not a failure.
  case $status in
    0) ;;
    2) say "cloud-init finished with warnings; see: cloud-init status --long" ;;
    124) fail "cloud-init: did not finish within 600 s. See /var/log/cloud-init-output.log on the droplet" ;;
    *)
      cloud-init status --long >&2 || true
      tail -n 20 /var/log/cloud-init-output.log >&2 || true
      fail "cloud-init: failed, its last lines are above. The droplet is incomplete: replace it with $(pulumi_command up --replace "'**convex-droplet'")"
      ;;
  esac
}

# From the file that cloud-init writes at each boot, because its command takes half a second for the same.
cloud_init_result() {
  local result
  if [[ -e /etc/cloud/cloud-init.disabled ]]; then
    echo "done without errors"
  elif ! result=$(tr -d ' \n' 2> /dev/null < /run/cloud-init/result.json); then
    echo "not done"
  elif [[ $result == *'"errors":[]'* ]]; then
    echo "done without errors"
  else
    echo "$result"
  fi
}

# After an update that was interrupted. A fact shows it to drift. If an update is still running, dpkg's lock stops this.
complete_packages() {
  if checking || [[ -z $(dpkg --audit) ]]; then return; fi
  local said
  if said=$(DEBIAN_FRONTEND=noninteractive dpkg --force-confold --configure -a 2>&1 < /dev/null); then
    changed "completed the installation of packages"
  else
    tail -n 10 <<< "$said" >&2
    say "error: packages: the installation of some is incomplete, and cannot be completed, see above. See: dpkg --audit"
  fi
}

# User-data contains the host's private key, and the metadata service shows it for the droplet's whole life.
guard_metadata() {
  put_file 0644 /etc/convex-droplet/metadata-guard.nft metadata-guard < "$here/metadata-guard.nft"
  put_unit convex-metadata-guard.service
  if pending metadata-guard || in_area network differs "nft[inet convex_metadata]" "$(guard_as_declared)" "$(guard_in_force)"; then
    systemctl restart convex-metadata-guard.service
    settled metadata-guard
    changed "closed the metadata service"
  fi
}

guard_in_force() { nft --stateless list table inet convex_metadata 2> /dev/null; }

# Loads the rules in another network namespace and lists them, because nft prints rules in another form than its input.
guard_as_declared() {
  # shellcheck disable=SC2016 # for the other shell
  unshare --net bash -c 'nft --file "$1" && nft --stateless list table inet convex_metadata' - "$here/metadata-guard.nft" 2> /dev/null
}

# Needed because the backend's own start script puts its secret and its database's URL on a command line.
hide_processes() {
  put_unit convex-hide-processes.service
  if differs "proc hidepid" "$(hidepid < "$here/convex-hide-processes.service")" "$(grep '^proc /proc ' /proc/mounts | hidepid)"; then
    systemctl restart convex-hide-processes.service
    changed "hid processes from other users"
  fi
}

hidepid() { sed -n 's/.*\bhidepid=\([a-z0-9]*\).*/\1/p'; }

admit_operators() {
  put_file 0600 /etc/ssh/convex_operators < <(printf %s "${1:+$1$'\n'}")
  put_file 0644 /etc/ssh/sshd_config.d/10-convex-droplet.conf sshd < "$here/sshd.conf"
  if pending sshd; then
    sshd -t || fail "sshd: refuses its new configuration, see above. The running server was not changed"
    systemctl reload ssh.service
    settled sshd
  fi
  verify_sshd
}

# In sshd, the first file that sets something wins, so another one may have set it before ours.
verify_sshd() {
  local directive declared effective
  if ! effective=$(effective_sshd 2>&1); then
    if differs "sshd configuration" valid "$effective"; then
      fail "sshd: refuses its configuration: $effective. The running server was not changed"
    fi
    return
  fi
  declared=$(effective_sshd -f "$here/sshd.conf")
  while read -r directive; do
    if differs "sshd $directive" "$(value_of "$directive" "$declared")" "$(value_of "$directive" "$effective")"; then
      fail "sshd: has $directive $(value_of "$directive" "$effective"), it should be $(value_of "$directive" "$declared")." \
        "Something overrides sshd_config.d/10-convex-droplet.conf. Find it with: grep -ri $directive /etc/ssh/sshd_config*"
    fi
  done < <(sed -n 's/^\([A-Za-z]*\) .*/\L\1/p' "$here/sshd.conf")
}

effective_sshd() { sshd -T -C user=root,host=droplet,addr=192.0.2.1 "$@"; }

# value_of DIRECTIVE CONFIGURATION
value_of() { sed -n "s/^$1 //p" <<< "$2"; }

# Debian's and Ubuntu's own timers run unattended-upgrades, which schedules a reboot that an update needs.
install_updates() {
  put_file 0644 /etc/apt/apt.conf.d/99convex-droplet scheduled-reboot < <(cat "$here/updates.conf" && reboot_option "$1")
  # It is for another time. The next daily run schedules it again.
  if pending scheduled-reboot; then
    [[ ! -e /run/systemd/shutdown/scheduled ]] || shutdown -c
    settled scheduled-reboot
  fi
  put_drop_in apt-daily-upgrade.service convex-droplet.conf < "$here/apt-daily-upgrade.conf"
  # The service makes a shutdown wait for an update that is being installed.
  start_unit unattended-upgrades.service
  start_unit apt-daily.timer
  start_unit apt-daily-upgrade.timer
}

# reboot_option TIME
reboot_option() {
  [[ $1 != never ]] || return 0
  printf '\nUnattended-Upgrade::Automatic-Reboot "true";\nUnattended-Upgrade::Automatic-Reboot-Time "%s";\n' "$1"
}

attach_volume() {
  local volume=$1 size_gb=$2 mountpoint=$3
  put_file 0644 /etc/convex-droplet/volume.env <<< "VOLUME=$volume
MOUNTPOINT=$mountpoint
STACK=$stack"
  bash "$here/volume.sh" prepare <<< "volume=$volume
size_gb=$size_gb
mountpoint=$mountpoint
adopted_name=$adopted_name
adopted_secret_hash=$adopted_secret_hash
stack=$stack"
  put_unit convex-volume.service
  in_area host link_convex "$mountpoint"
  # Without the volume, do not create folders below the mount point.
  mountpoint -q "$mountpoint" || return 0
  put_folder 0755 root:root "$mountpoint/data"
  put_folder 0755 root:root "$mountpoint/postgresql"
}

link_convex() {
  local mountpoint=$1
  differs "links[/opt/convex]" "$mountpoint" "$(readlink /opt/convex || kind_of /opt/convex)" || return 0
  if [[ $(kind_of /opt/convex) != nothing ]]; then
    fail "/opt/convex: is something else, it should be a link to $mountpoint. Move it away, then run $(pulumi_command up) again"
  fi
  ln -s "$mountpoint" /opt/convex
  changed "linked /opt/convex to $mountpoint"
}

configure_docker() {
  local mountpoint=$1
  put_file 0644 /etc/docker/daemon.json docker < "$here/docker-daemon.json"
  # In the order of their files' names, in which check mode finds them.
  put_drop_in docker.service convex-restarts.conf < "$here/docker.conf"
  guard_unit docker.service "$mountpoint"
  start_unit docker.service
  if pending docker || differs "docker log-driver" "$(log_driver_declared)" "$(log_driver_in_force)"; then
    systemctl restart docker.service || fail "docker: does not start. See: journalctl -u docker"
    settled docker
    changed "restarted Docker"
  fi
}

log_driver_declared() { sed -n 's/.*"log-driver": "\([a-z-]*\)".*/\1/p' "$here/docker-daemon.json"; }

# If the engine does not answer, another finding reports that. Its client then prints nothing, and does not always fail.
log_driver_in_force() {
  local driver
  driver=$(timeout 10 docker info --format '{{.LoggingDriver}}' 2> /dev/null) || true
  echo "${driver:-$(log_driver_declared)}"
}

main "$@"
