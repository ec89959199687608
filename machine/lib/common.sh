# shellcheck shell=bash
# Functions for all scripts on the machine. Sourced, never run: messages for people, waiting for a state, and declaring
# packages, folders and files. They change only what differs from its declaration; `changes` counts these changes.
#
# With CONVEX_DROPLET_CHECK=1 in the environment (check mode) a script changes nothing and waits for nothing. It prints each
# difference between the machine and what it declares on stdout instead, as fields that each end with NUL: `difference`, the
# script, the area, the subject, the property (or nothing), the expected value, the found value. If CONVEX_DROPLET_DECLARED names
# a file, the script adds the path of each file that it declares to it.

# Nothing else stops a script that hangs: the command provider does not, neither at Ctrl-C nor after a resource's timeout. So
# each script runs itself again with a time limit, 20 minutes by default. After that, it reports this and stops all processes
# that it has started. They are all the processes of its session, over SSH and as a unit.
if [[ -n ${BASH_SOURCE[1]:-} && -z ${CONVEX_DROPLET_LIMITED:-} ]]; then
  export CONVEX_DROPLET_LIMITED=1
  status=0 limit=${CONVEX_DROPLET_LIMIT_SECONDS:-1200}
  timeout --foreground --kill-after=10 "$limit" bash "$0" "$@" || status=$?
  # 137 if it had to be killed.
  if ((status == 124 || status == 137)); then
    printf '%s: error: did not end within %s s and was stopped. Its last line shows where; then run the same command again\n' "${0##*/}" "$limit" >&2
    for started in $(pgrep --session 0); do
      if ((started != $$)); then kill -KILL "$started" 2> /dev/null || true; fi
    done
  fi
  exit "$status"
fi

changes=0
# The part of the machine that a difference belongs to; see in_area.
area=${0##*/}
area=${area%.sh}

readonly PENDING=/run/convex-droplet LISTS_UPDATED=/run/convex-droplet-lists

# say TEXT...: prints a message for people, on stderr; stdout is for data.
# Nobody may be there any more, after a connection broke.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2 || true; }

# changed TEXT...: reports a change, and counts it.
changed() {
  changes=$((changes + 1))
  say "$@"
}

# fail TEXT...: ends the script with a message that shows what is wrong and how to fix it.
fail() {
  say "error: $*"
  exit 1
}

# take NAME...: reads the values of a run from stdin, one line `name=value` each, into the caller's variables with these names. A
# name that is repeated is a list, with one item on each line.
take() {
  local taken_line taken_name
  local -A taken=()
  while IFS= read -r taken_line; do
    [[ $taken_line == ?*=* ]] || continue
    taken_name=${taken_line%%=*}
    taken[$taken_name]+=${taken[$taken_name]+$'\n'}${taken_line#*=}
  done
  for taken_name in "$@"; do
    [[ -v taken[$taken_name] ]] || fail "$taken_name: is missing, it should be a line $taken_name=… on stdin"
    printf -v "$taken_name" %s "${taken[$taken_name]}"
  done
}

# finish: prints the last message of a run.
finish() {
  if checking; then return; fi
  if ((changes == 0)); then say "unchanged"; else say "done, $changes changed"; fi
}

# checking: whether the script runs in check mode.
checking() { [[ ${CONVEX_DROPLET_CHECK:-} == 1 ]]; }

# in_area AREA COMMAND...: runs a function whose differences belong to another area than the script's own.
in_area() {
  local area=$1
  "${@:2}"
}

# differs SUBJECT[ PROPERTY] EXPECTED FOUND: whether there is something to change. In check mode it prints the difference and
# never succeeds. So every change is behind a `differs`, and everything that is declared is also checked.
differs() {
  [[ $2 != "$3" ]] || return 1
  checking || return 0
  local subject=$1 property=
  if [[ $1 =~ ^(.*)\ ([^] /]+)$ ]]; then subject=${BASH_REMATCH[1]} property=${BASH_REMATCH[2]}; fi
  printf '%s\0' difference "${0##*/}" "$area" "$subject" "$property" "${2:0:65536}" "${3:0:65536}"
  return 1
}

# rests_on SUBJECT[ PROPERTY] EXPECTED FOUND: in check mode, ends the script if they differ, because the rest depends on this.
rests_on() {
  if ! checking || [[ $2 == "$3" ]]; then return; fi
  differs "$@" || exit 0
}

# either YES NO COMMAND...: prints YES if the command succeeds, NO if it fails.
either() { if "${@:3}" > /dev/null 2>&1; then echo "$1"; else echo "$2"; fi; }

# wait_until SECONDS WHAT COMMAND...: repeats the command until it succeeds. After the time, fails and names what it waited for.
wait_until() {
  local seconds=$1 what=$2
  shift 2
  local deadline=$((SECONDS + seconds))
  until "$@"; do
    if ((SECONDS >= deadline)); then
      say "error: waited ${seconds} s for $what"
      return 1
    fi
    sleep 0.2
  done
}

# lock: waits for the lock. A run whose pulumi was killed may still be active on the machine.
lock() { lock_at /run/convex-droplet.lock; }

# lock_at FILE: waits for another lock, for what may go on beside other scripts.
lock_at() {
  if checking; then return; fi
  exec {run_lock}> "$1"
  flock --timeout 900 "$run_lock" || fail "another run is active on this machine and has not ended for 15 minutes. See: lslocks"
}

# unlock: lets other scripts run.
unlock() {
  if checking; then return; fi
  exec {run_lock}>&-
}

# kind_of PATH: prints what it is.
kind_of() {
  if [[ -L $1 ]]; then
    echo link
  elif [[ -f $1 ]]; then
    echo file
  elif [[ -d $1 ]]; then
    echo folder
  elif [[ -e $1 ]]; then
    echo "something else"
  else
    echo nothing
  fi
}

# place_differs KIND MODE OWNER PATH: whether PATH is not a KIND (file or folder), or has another mode or owner (user:group, as names
# or as numbers).
place_differs() {
  local kind=$1 mode=${2#0} owner=$3 path=$4 found_mode found_owner verdict=1 names=%U:%G
  if [[ $owner =~ ^[0-9]+:[0-9]+$ ]]; then names=%u:%g; fi
  if [[ $(kind_of "$path") != "$kind" ]]; then
    differs "${kind}s[$path]" "$kind" "$(kind_of "$path")"
    return
  fi
  read -r found_mode found_owner < <(stat --format "%a $names" "$path")
  if differs "${kind}s[$path] mode" "$mode" "$found_mode"; then verdict=0; fi
  if differs "${kind}s[$path] owner" "$owner" "$found_owner"; then verdict=0; fi
  return "$verdict"
}

# content_differs PATH CONTENT: whether the file has another content.
content_differs() {
  local found=
  # A variable cannot contain a NUL, and text after one must be compared, too.
  IFS= read -rd '' found < <(tr '\0' '\1' < "$1") || true
  differs "files[$1] content" "$2" "$found"
}

# put_folder MODE OWNER PATH: creates a folder with this mode and owner (user:group).
put_folder() {
  place_differs folder "$@" || return 0
  install -d -m "$1" -o "${2%:*}" -g "${2#*:}" "$3" || fail "$3: cannot be created as a folder. See: ls -ld $3"
  changed "made folder $3"
}

# put_file MODE PATH [READER]: writes stdin to PATH atomically if the file differs. Until `settled READER`, the service READER
# is pending: it has to read the file again.
put_file() {
  local content stale=
  declare_files "$2"
  IFS= read -rd '' content || true
  if place_differs file "$1" root:root "$2"; then stale=1; fi
  if [[ $(kind_of "$2") == file ]] && content_differs "$2" "$content"; then stale=1; fi
  [[ -z $stale ]] || write_file "$1" root:root "$2" "${3:-}" < <(printf %s "$content")
}

# put_secret OWNER PATH: writes stdin to PATH in the same way, for OWNER (user:group) to read. A difference shows only hashes.
put_secret() {
  local content stale=
  declare_files "$2"
  content=$(cat)
  if place_differs file 0640 "$1" "$2"; then stale=1; fi
  if [[ $(kind_of "$2") == file ]] && differs "files[$2] hash" "$(sha256sum <<< "$content")" "$(sha256sum < "$2")"; then stale=1; fi
  [[ -z $stale ]] || write_file 0640 "$1" "$2" <<< "$content"
}

# declare_files PATH...: in check mode, notes that the script itself compares these files.
declare_files() { if checking && [[ -n ${CONVEX_DROPLET_DECLARED:-} ]]; then printf '%s\n' "$@" >> "$CONVEX_DROPLET_DECLARED"; fi; }

# write_file MODE OWNER PATH [READER]
write_file() {
  local mode=$1 owner=$2 path=$3 reader=${4:-} new=${3%/*}/.${3##*/}.new
  { mkdir -p "${path%/*}" && rm -f "$new" && (umask 077 && cat > "$new") && chown "$owner" "$new" && chmod "$mode" "$new"; } \
    || cannot_write "$path"
  # Before the file itself: if a run is killed between the two, the reader is still pending. The marks are in /run, because
  # after a reboot all readers have read their files.
  if [[ -n $reader ]]; then install -D /dev/null "$PENDING/$reader"; fi
  mv --no-target-directory "$new" "$path" || cannot_write "$path"
  changed "wrote $path"
}

cannot_write() { fail "$1: cannot be written, it should be a file in a folder with room. See: df -h ${1%/*}; ls -ld ${1%/*} $1"; }

# pending READER: whether files were written that READER has not read.
pending() { [[ -e $PENDING/$1 ]] && differs "readers.$1" "running with its current files" "running with old files"; }

# settled READER: marks that READER has read its files.
settled() { rm -f "$PENDING/$1"; }

# declared NAME: VOLUME, MOUNTPOINT or STACK, from the file that host.sh has written.
declared() { sed -n "s/^$1=//p" /etc/convex-droplet/volume.env; }

# npm_command NAME: one of the stack's commands, as a person types it.
npm_command() { echo "npm run $1 -- --stack $(declared STACK)"; }

# pulumi_command VERB [WORD...]: a command of Pulumi on the stack, as a person types it. Without its name, which a droplet only has after its
# first script, it changes the stack that is selected.
pulumi_command() {
  local stack
  stack=$(declared STACK 2> /dev/null) || stack=''
  echo "npx pulumi $1${stack:+ --stack $stack}${2:+ ${*:2}}"
}

# install_listed FILE: the packages of an area, most of which first-boot.sh has installed.
install_listed() {
  local packages
  mapfile -t packages < "$1"
  # Ubuntu has Docker's client in the server's package.
  [[ $(. /etc/os-release && echo "$ID") == debian ]] || packages=("${packages[@]/%docker-cli/docker.io}")
  install_packages "${packages[@]}"
}

# install_packages NAME...: installs missing packages, without recommended ones.
install_packages() {
  local package state missing=()
  local -A states=()
  while read -r package state; do states[$package]=$state; done \
    < <(dpkg-query -W -f '${Package} ${db:Status-Status}\n' "$@" 2> /dev/null)
  for package in "$@"; do
    if differs "packages $package" installed "${states[$package]:-not installed}"; then missing+=("$package"); fi
  done
  ((${#missing[@]})) || return 0
  say "installing ${missing[*]}"
  local log deadline=$((SECONDS + 300)) apt=(apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0)
  log=$(mktemp)
  # Ubuntu would restart services during the installation.
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
  # A run that was killed may have left packages half configured.
  dpkg --configure -a > /dev/null 2>&1 < /dev/null || true
  until { update_lists "${apt[@]}" && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } > "$log" 2>&1 < /dev/null; do
    rm -f "$LISTS_UPDATED"
    # apt waits for dpkg's lock, but not for those of its lists and its cache, which a daily timer may hold.
    if ! grep -q "Could not get lock" "$log" || ((SECONDS >= deadline)); then
      tail -n 15 "$log" >&2
      rm "$log"
      fail "packages ${missing[*]}: could not be installed, apt's last lines are above. Make sure that the droplet reaches its package mirror, then run $(pulumi_command up) again"
    fi
    sleep 1
  done
  rm "$log"
  changed "installed ${missing[*]}"
}

# update_lists APT...: updates apt's package lists, if no script has done this in the last 10 minutes.
update_lists() {
  [[ -z $(find "$LISTS_UPDATED" -mmin -10 2> /dev/null) ]] || return 0
  "$@" update && install /dev/null "$LISTS_UPDATED"
}
