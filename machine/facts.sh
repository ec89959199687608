# shellcheck shell=bash
# The facts that inspect.sh tells beside the differences. Sourced. A line each thing, unless said otherwise:
#
#   docker.containers .networks .images   JSON: docker inspect of all there are
#   docker.info               JSON
#   postgres                  how inspect.sql ended, which by itself tells
#   postgres.settings .hba .roles .databases   JSON
#   postgres.loaded           when the server read its configuration, and when its files last changed: seconds since 1970
#   postgres.role_settings    settings that are bound to a role or a database
#   postgres.grants           what in the backend's database belongs to others than its role, or may be used by them
#   postgres.login            user and database, by the password of `role-url` at the gateway's address; nothing while the backend's
#                             container, from where that is tried, does not run
#   backend.version .instance_name .site .dashboard   the answer
#   backend.admin_key .read_only_key   the status, and in the next lines the answer
#   backend.symptoms          of a backend that does not answer: what its log says, as symptoms.sh explains it
#   backend.canonical_urls    JSON: the answer to the read-only key
#   backend.environment       JSON: of each variable of functions the SHA-256 of its value
#   backend.instance_secret   SHA-256 of the secret in the credentials on the volume
#   listeners                 as ss tells them, with processes
#   nft                       JSON: the whole ruleset
#   fstab                     without comments
#   disk                      of / and the volume: folder, used, inodes used; in percent
#   users                     JSON: name, uid, shell, whether it has a password, groups that are as good as root
#   authorized_keys           JSON: path and content of each
#   units.failed              names
#   units.unowned, cron, sudoers, sshd.files, postgres.files   files that came neither with the image nor with a package, nor
#                             are declared; masks and users' crontabs included
#   packages.held             names
#   packages.conffiles        packages' configuration files that were changed or removed after the first boot
#   packages.broken           what dpkg --audit tells
#   run                       `at work` while a script of a run is, otherwise `none`

# collect_facts EXPECTED: starts to find them all out.
collect_facts() {
  local expected=$1 words=() mountpoint=/mnt/convex gateway="" database="" role="" backend=()
  if [[ -e $expected/server.command ]]; then
    # The shell's own words, as the command's script gets them.
    eval "words=($(sed 's/ #.*//' "$expected/server.command"))"
    mountpoint=${words[2]} gateway=${words[3]} database=${words[5]} role=${words[6]}
    fact postgres postgres_facts "$mountpoint" "$database" "$role"
    stray postgres.files /etc/postgresql/
  fi
  if [[ -e $expected/role-url ]]; then fact postgres.login log_in "$expected/role-url" "$gateway" "$database"; fi
  if [[ -e $expected/backend ]]; then
    mapfile -t backend < "$expected/backend"
    backend_facts "${backend[@]}"
    fact backend.instance_secret secret_hash "$mountpoint/data/credentials/instance_secret"
  fi
  fact docker.containers inspect_all container --all
  fact docker.networks inspect_all network
  fact docker.images inspect_all image
  fact docker.info timeout 10 docker info --format '{{json .}}'
  fact listeners ss -Hltnp
  fact nft nft --json list ruleset
  fact fstab sed '/^[[:space:]]*\(#\|$\)/d' /etc/fstab
  fact disk free_space "$mountpoint"
  fact users users
  fact authorized_keys authorized_keys
  fact units.failed failed_units
  stray units.unowned /etc/systemd/system
  stray cron /etc/cron /var/spool/cron/crontabs
  stray sudoers /etc/sudoers.d
  stray sshd.files /etc/ssh/sshd_config.d
  fact packages.held held
  fact packages.conffiles changed_conffiles
  fact packages.broken dpkg --audit
  fact run at_work
}

# postgres_facts MOUNTPOINT DATABASE ROLE
postgres_facts() {
  local changed
  # Its folders too: a file that is gone has changed them.
  changed=$(find /etc/postgresql/*/main "$1"/postgresql/*/main/postgresql.auto.conf -printf '%T@\n' | sort -rn | head -n 1)
  cd / && timeout 10 runuser -u postgres -- psql -qX -d postgres --file - -v database="$2" -v role="$3" -v changed="$changed" \
    < "$SCRIPTS/inspect.sql" > "$RESULTS/postgres.records"
}

# log_in URL_FILE GATEWAY DATABASE: from where the backend does. The machine itself has another address in its own network.
log_in() {
  local user rest pid passfile=$TMPDIR/passfile
  pid=$(docker inspect --format '{{.State.Pid}}' convex-backend 2> /dev/null) || return 0
  ((pid > 0)) || return 0
  IFS=: read -r user rest < <(sed 's|^postgresql://||' "$1")
  (umask 077 && printf '*:*:*:%s:%s\n' "$user" "${rest%%@*}" > "$passfile")
  PGPASSFILE=$passfile PGCONNECT_TIMEOUT=5 timeout 10 nsenter --target "$pid" --net \
    psql -qAtX -F ' ' --no-password -h "$2" -U "$user" -d "$3" -c "SELECT current_user, current_database()"
}

# backend_facts API_PORT SITE_PORT DASHBOARD_PORT ADMIN_KEY READ_ONLY_KEY
backend_facts() {
  local api=http://127.0.0.1:$1
  fact backend.version ask "$api/version"
  fact backend.instance_name ask "$api/instance_name"
  fact backend.site ask "http://127.0.0.1:$2/"
  fact backend.dashboard ask "http://127.0.0.1:$3/"
  fact backend.admin_key key_check "$api" "$4"
  fact backend.read_only_key key_check "$api" "$5"
  fact backend.symptoms symptoms "$api"
  fact backend.canonical_urls ask "$api/api/v1/get_canonical_urls" "$5" --fail
  fact backend.environment environment "$api" "$5"
}

key_check() {
  local answer
  answer=$(ask "$1/api/check_admin_key" "$2" --write-out '\n%{http_code}') || return
  printf '%s\n%s\n' "${answer##*$'\n'}" "${answer%$'\n'*}"
}

# Of the backend's last life and the end of the one before: one that just begins has said nothing yet.
symptoms() {
  ask "$1/version" --fail > /dev/null 2>&1 || timeout 10 docker logs --tail 60 convex-backend 2>&1 | explain_symptoms
}

environment() {
  ask "$1/api/list_environment_variables" "$2" --fail | python3 -IS -c '
import hashlib, json, sys
variables = json.load(sys.stdin)["environmentVariables"]
print(json.dumps({name: hashlib.sha256(value.encode()).hexdigest() for name, value in variables.items()}))'
}

# ask URL [KEY [OPTION...]]: the key goes to curl on stdin, an argument could be read in the process list.
ask() {
  curl --config - --silent --show-error --max-time 10 "${@:3}" "$1" <<< "${2:+header = \"Authorization: Convex $2\"}"
}

secret_hash() {
  local secret
  # Not by a redirection: where there is no such file, that would end the shell.
  secret=$(cat "$1") && printf %s "$secret" | sha256sum | cut -d ' ' -f 1
}

# inspect_all KIND OPTION...
inspect_all() {
  local ids
  ids=$(timeout 10 docker "$1" ls --quiet "${@:2}") || return
  if [[ -z $ids ]]; then
    echo "[]"
  else
    # shellcheck disable=SC2086 # a word each
    timeout 10 docker "$1" inspect $ids
  fi
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
    # An empty field is the worst of all: anybody is let in.
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

# stray NAME PREFIX PATH...: a fact: files below folders whose path starts with PREFIX, and below each PATH, that came neither
# with the image nor with a package, nor are declared.
stray() {
  strays+=("$1")
  fact "$1" unowned "${@:2}"
}

unowned() {
  find "$1"* "${@:2}" \( -type f -o -lname /dev/null \) ! -name .placeholder -newerct "@$(first_boot)" 2> /dev/null | sort \
    | grep -Fxv --file <(grep -h "^$1" /var/lib/dpkg/info/*.list) || true
}

changed_conffiles() {
  local file
  dpkg-query -W -f '${Conffiles}\n' | awk 'NF == 2 { print $2 "  " $1 }' | md5sum --check --quiet 2> /dev/null | sed 's/: FAILED.*//' \
    | while read -r file; do
      if [[ ! -e $file || $(stat --format %Z "$file") -gt $(first_boot) ]]; then echo "$file"; fi
    done
}

# What is older has come with the image.
first_boot() { stat --format %W /var/lib/cloud/instances/* | sort -n | head -n 1; }

held() { dpkg-query -W -f '${db:Status-Want} ${Package}\n' | sed -n 's/^hold //p'; }

# A script of a run keeps this lock while it is at work.
at_work() {
  local lock=/run/convex-droplet.lock
  if [[ -e $lock ]] && ! flock --shared --nonblock "$lock" true; then echo "at work"; else echo none; fi
}
