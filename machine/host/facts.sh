# shellcheck shell=bash
# The facts about the droplet itself: Docker's engine, network, names, accounts, packages, files. Sourced by inspect.sh. A fact
# is one line for each thing, unless stated otherwise:
#
#   docker.containers .networks .images   JSON: docker inspect of all of them
#   docker.info               JSON
#   docker.refused            the backend image whose upgrade was undone; in the next line why, and what to do
#   docker.out_of_memory      names of containers that were killed for memory; Docker forgets them after some minutes
#   listeners                 the output of ss, with processes
#   nft                       JSON: the whole ruleset
#   iptables, ip6tables       the same, in iptables' form
#   iptables.legacy           tables of the older iptables, which nft does not show
#   routes, routes.rules      JSON
#   forwarding                the kernel's parameters for forwarding
#   names.order               where names are looked up
#   names.servers             for each DNS server: address, `answers` or what it does instead
#   names.hosts               for each name in /etc/hosts: line, address, name, addresses from DNS or `own`
#   fstab                     without comments
#   disk                      for / and the volume: folder, used, inodes used; in percent
#   users                     JSON: name, uid, shell, whether it has a password, groups that are as good as root
#   authorized_keys           JSON: path and content of each file
#   units.failed              names
#   units.unowned, cron, sudoers, sshd.files   files and links that are not from the image or a package, and not declared;
#                             including masks and users' crontabs
#   files                     the same in other folders where the mere presence of a file has an effect
#   packages.held             names
#   packages.sources          for each source that was added or changed: file, line and address, in grep's form
#   packages.changed          packages' files that were changed or removed after the first boot
#   packages.broken           the output of dpkg --audit
#   updates                   JSON: when apt's lists were last updated and updates last installed, since when the timer runs, the
#                             last error, since when a reboot is required and by what; times in seconds, null if never
#   run                       `at work` while a script of a run is active, otherwise `none`

# host_facts MOUNTPOINT
host_facts() {
  fact docker.containers inspect_all container --all
  fact docker.networks inspect_all network
  fact docker.images inspect_all image
  fact docker.refused refusal "$1"
  fact docker.out_of_memory out_of_memory
  fact docker.info timeout 10 docker info --format '{{json .}}'
  fact listeners ss -Hltnp
  fact nft nft --json list ruleset
  fact iptables iptables-save
  fact ip6tables ip6tables-save
  fact iptables.legacy sed '' /proc/net/ip_tables_name[s]
  fact routes ip -json route
  fact routes.rules ip -json rule
  fact forwarding sysctl --all --pattern '^net\.ipv4\.(ip_forward|conf\..*\.forwarding)$'
  fact names.order sed -n 's/^hosts:[[:space:]]*//p' /etc/nsswitch.conf
  fact names.servers name_servers
  fact names.hosts names_in_hosts
  fact fstab sed '/^[[:space:]]*\(#\|$\)/d' /etc/fstab
  fact disk free_space "$1"
  fact users users
  fact authorized_keys authorized_keys
  fact units.failed failed_units
  stray units.unowned unowned /etc/systemd/ {/usr/lib,/usr/local/lib,/root/.config}/systemd /run/systemd/system /var/lib/systemd/linger
  stray cron unowned /etc/cron /var/spool/cron
  stray sudoers unowned /etc/sudoers.d
  stray sshd.files unowned /etc/ssh/sshd_config.d
  stray files unowned_elsewhere
  fact packages.held held
  fact packages.sources package_sources
  stray packages.changed changed_files
  fact packages.broken dpkg --audit
  fact updates updates
  fact run at_work
}

# inspect_all KIND OPTION...
inspect_all() {
  local ids
  ids=$(timeout 10 docker "$1" ls --quiet "${@:2}") || return
  if [[ -z $ids ]]; then
    echo "[]"
  else
    # shellcheck disable=SC2086 # each id is a word
    timeout 10 docker "$1" inspect $ids
  fi
}

# Asks each server for the address of an existing name. The answer that it does not exist is an answer, too.
name_servers() {
  python3 -IS -c '
import re, socket
question = b"\7\7\1\0\0\1\0\0\0\0\0\0" + b"\6debian\3org\0" + b"\0\1\0\1"
def answer(address):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for _ in range(2):
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asked:
                asked.settimeout(2)
                asked.connect((address, 53))
                asked.send(question)
                code = asked.recv(4096)[3] & 15
                return "answers" if code in (0, 3) else "refuses-to-answer"
        except OSError:
            pass
    return "does-not-answer"
for address in re.findall(r"^\s*nameserver\s+(\S+)", open("/etc/resolv.conf").read(), re.M)[:3]:
    print(address, answer(address))'
}

names_in_hosts() {
  local line=0 address names name known each
  while read -r address names; do
    line=$((line + 1))
    read -ra each <<< "${names%%#*}"
    for name in "${each[@]}"; do
      known=
      if [[ $name == "$(hostname)" || $name == "$(hostname)".* ]]; then
        known=own
      elif [[ $name != localhost* && $name != ip6-* ]]; then
        known=$(timeout 5 getent -s dns ahosts "$name" | awk '{ print $1 }' | sort -u | paste -sd ' ') || true
      fi
      echo "$line $address $name $known"
    done
  done < <(sed 's/^[[:space:]]*#.*//' /etc/hosts)
}

refusal() {
  [[ -e $1/refused ]] || return 0
  line_of "$1/refused" image
  tell_refused "$1"
}

# Never fails: the fact about containers shows an engine that does not answer.
out_of_memory() {
  timeout 10 docker events --since 24h --until "$(date +%s)" --filter event=oom --format '{{.Actor.Attributes.name}}' | sort -u || true
}

free_space() { timeout 10 df --output=target,pcent,ipcent / "$1" | tail -n +2; }

users() {
  python3 -IS -c '
import grp, json, pwd
hashes = dict(line.split(":")[:2] for line in open("/etc/shadow"))
powers = ["sudo", "wheel", "docker", "lxd", "disk"]
users = pwd.getpwall()
def groups(user):
    return [group.gr_name for group in grp.getgrall()
            if group.gr_name in powers and (user.pw_name in group.gr_mem or user.pw_gid == group.gr_gid)]
def has_password(user):
    # An empty field is the worst case: anybody can log in.
    known = hashes.get(user.pw_name, "") if user.pw_passwd == "x" else user.pw_passwd
    return known == "" or known.startswith("$")
print(json.dumps([{"name": user.pw_name, "uid": user.pw_uid, "shell": user.pw_shell,
                   "password": has_password(user), "groups": groups(user)} for user in users]))'
}

authorized_keys() {
  python3 -IS -c '
import json, os, pwd
paths = {os.path.join(user.pw_dir, ".ssh/authorized_keys") for user in pwd.getpwall()}
print(json.dumps([{"path": path, "content": open(path, errors="replace").read()}
                  for path in sorted(paths) if os.path.isfile(path)]))'
}

failed_units() { timeout 10 systemctl list-units --state=failed --plain --no-legend | cut -d ' ' -f 1; }

# unowned PREFIX PATH...: files below folders whose path starts with PREFIX, and below each PATH, that are not from the image
# or a package; and links to such files, or to a place outside of packages' folders.
unowned() {
  local file target
  find "$1"* "${@:2}" \( -type f -o -type l \) ! -name .placeholder -newerct "@$(first_boot)" 2> /dev/null | sort -u \
    | grep -Fxv --file <(packages_files) | while read -r file; do
    target=$(readlink -m "$file")
    if [[ ! -L $file ]] || ! { [[ $target == /etc/* ]] || grep -Fxq -e "$target" -e "${target#/usr}" /var/lib/dpkg/info/*.list; }; then echo "$file"; fi
  done || true
}

# Packages name some files by their old folders, which are links now.
packages_files() { sed -E 's,^/(lib|bin|sbin)/,/usr&,' /var/lib/dpkg/info/*.list; }

unowned_elsewhere() {
  local generated='alternatives/|docker/certs\.d/|rc.\.d/|ssl/(certs|private)/|((passwd|group|shadow|gshadow|subuid|subgid)-?|hostname|machine-id|adjtime|mtab|ld\.so\.cache|ca-certificates\.conf)$'
  # ufw writes its own files; nft shows their effect.
  generated+='|ufw/|ssh/ssh_host_|apt/apt\.conf\.d/(0.autoremove|(20auto|50unattended)-upgrades$)|postgresql-common/root\.crt$|.*\.(dpkg|ucf)-[a-z]+$'
  local told='cron|sudoers\.d|ssh/sshd_config\.d|postgresql/|systemd/|apt/sources\.list|(fstab|hosts|resolv\.conf)$' file
  unowned /etc/ /usr/{,local/}{bin,sbin} /usr/local/lib /usr/lib/{sysctl,modprobe,modules-load,tmpfiles,udev/rules}.d /root/.ssh/rc \
    | { grep -Ev "^/etc/($generated|$told)|^/usr/local/lib/convex-droplet/" || true; } | while read -r file; do
    # Not a file that equals the distribution's own copy, because somebody has restored it.
    cmp --quiet "$file" /usr/share/openssh/"${file##*/}" || cmp --quiet "$file" /usr/share/libc-bin/"${file##*/}" || echo "$file"
  done
}

# Only in files that are newer than the image.
package_sources() {
  find /etc/apt/sources.list* -type f -newerct "@$(first_boot)" -exec grep -HnoP '^(?!\s*#).*?\K[a-z+]+:/\S+' {} + || true
}

# The same as `dpkg --verify` in a tenth of the time: it reads only files that were changed after their package was unpacked.
# Not documentation, because some images leave it out.
changed_files() {
  python3 -IS -c '
import glob, hashlib, os, re, sys
diverted = set(open("/var/lib/dpkg/diversions").read().split("\n")[::3])
def declared():
    for sums in glob.glob("/var/lib/dpkg/info/*.md5sums"):
        unpacked = os.stat(sums[:-len("md5sums")] + "list").st_ctime
        for line in open(sums):
            yield "/" + line[34:].rstrip("\n"), line[:32], unpacked
    installed = False
    for line in open("/var/lib/dpkg/status"):
        if line.startswith("Status: "):
            # The configuration of a removed package may stay or not.
            installed = line.split()[3] == "installed"
        conffile = re.match(r" (/.*) ([0-9a-f]{32})$", line)
        if conffile and installed:
            yield conffile[1], conffile[2], 0
def is_changed(path, md5, unpacked):
    try:
        is_newer = os.lstat(path).st_ctime > max(float(sys.argv[1]), unpacked)
        return is_newer and hashlib.md5(open(path, "rb").read()).hexdigest() != md5
    except OSError:
        return True
for path, md5, unpacked in declared():
    if path not in diverted and not re.match("/usr/share/(doc|man|info|locale|lintian)/", path) and is_changed(path, md5, unpacked):
        print(path)' "$(first_boot)"
}

# Older files are from the image or from cloud-init. The user's own scripts are one of cloud-init's last steps.
first_boot() {
  stat --format %Y /var/lib/cloud/instances/*/sem/config_scripts_user 2> /dev/null | sort -n | head -n 1 | grep . \
    || stat --format %W /var/lib/cloud/instances/* | sort -n | head -n 1
}

held() { dpkg-query -W -f '${db:Status-Want} ${Package}\n' | sed -n 's/^hold //p'; }

# apt touches a file after each success only. Its service never fails, so its result does not show a failure.
updates() {
  python3 -IS -c '
import json, os, re, subprocess, time
def touched(path):
    return int(os.stat(path).st_mtime) if os.path.exists(path) else None
def read(path):
    return open(path, errors="replace").read() if os.path.exists(path) else ""
shown = subprocess.run(["systemctl", "show", "--value", "--property", "ActiveEnterTimestampMonotonic", "apt-daily-upgrade.timer"],
                       capture_output=True, text=True).stdout
errors = re.findall(r"^\S+ \S+ ERROR (.*)$", read("/var/log/unattended-upgrades/unattended-upgrades.log"), re.M)
now = time.time()
print(json.dumps({
    "now": int(now),
    "lists": touched("/var/lib/apt/periodic/update-stamp"),
    "installed": touched("/var/lib/apt/periodic/upgrade-stamp"),
    "since": int(now - time.monotonic() + int(shown or 0) / 1e6),
    "cause": errors[-1] if errors else "",
    "reboot": touched("/run/reboot-required"),
    "packages": sorted(set(read("/run/reboot-required.pkgs").split())),
}))'
}

# A script of a run holds this lock while it is active.
at_work() {
  local lock=/run/convex-droplet.lock
  if [[ -e $lock ]] && ! flock --shared --nonblock "$lock" true; then echo "at work"; else echo none; fi
}
