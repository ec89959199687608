# shellcheck shell=bash
# What the scripts on the machine share. Sourced, never run: telling people what happens, waiting for a state, and declaring
# what is to be there: packages, folders, files. Whatever is already as declared is left alone; `changes` counts the
# rest.
#
# With CONVEX_DROPLET_CHECK=1 in the environment (check mode) a script changes nothing and waits for nothing. It prints each
# difference between the machine and what it declares on stdout instead, as fields that end with NUL each: `difference`, the
# script, the area, the subject, the property (or nothing), what is expected, what was found. If CONVEX_DROPLET_DECLARED names
# a file, the script adds the path of each file that it declares to it.

# Nobody else ends a script that hangs: the command provider neither at Ctrl-C nor when a resource's time is over. So each
# runs itself again under a limit, of 20 minutes unless told otherwise. When that is over it says so, and ends all that it
# has started: the session is its own, over SSH and as a unit.
if [[ -n ${BASH_SOURCE[1]:-} && -z ${CONVEX_DROPLET_LIMITED:-} ]]; then
  export CONVEX_DROPLET_LIMITED=1
  status=0 limit=${CONVEX_DROPLET_LIMIT_SECONDS:-1200}
  timeout --foreground --kill-after=10 "$limit" bash "$0" "$@" || status=$?
  # 137 where it had to be killed.
  if ((status == 124 || status == 137)); then
    printf '%s: error: did not end within %s s and was stopped. Its last line says at what; then run npx pulumi up again\n' "${0##*/}" "$limit" >&2
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

# say TEXT...: tells a person, on stderr; stdout is for data.
say() { printf '%s: %s\n' "${0##*/}" "$*" >&2; }

# changed TEXT...: tells what was done, and counts it.
changed() {
  changes=$((changes + 1))
  say "$@"
}

# fail TEXT...: ends the script with a sentence that names what is wrong and how to mend it.
fail() {
  say "error: $*"
  exit 1
}

# take NAME...: reads the values of a run from stdin, a line `name=value` each, into the caller's variables of these names. A name
# that comes more than once is a list, a line each item.
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

# finish: the last word of a run.
finish() {
  if checking; then return; fi
  if ((changes == 0)); then say "unchanged"; else say "done, $changes changed"; fi
}

# checking: whether the script is only to look.
checking() { [[ ${CONVEX_DROPLET_CHECK:-} == 1 ]]; }

# in_area AREA COMMAND...: runs a function whose differences belong to another area than the one named as the script.
in_area() {
  local area=$1
  "${@:2}"
}

# differs SUBJECT[ PROPERTY] EXPECTED FOUND: whether there is something to change. Never in check mode, which prints the
# difference instead. So every change is behind a `differs`, and whatever is declared is also checked.
differs() {
  [[ $2 != "$3" ]] || return 1
  checking || return 0
  local subject=$1 property=
  if [[ $1 =~ ^(.*)\ ([^] /]+)$ ]]; then subject=${BASH_REMATCH[1]} property=${BASH_REMATCH[2]}; fi
  printf '%s\0' difference "${0##*/}" "$area" "$subject" "$property" "${2:0:65536}" "${3:0:65536}"
  return 1
}

# rests_on SUBJECT[ PROPERTY] EXPECTED FOUND: ends a script that only looks where the rest of it could not be looked at.
rests_on() {
  if ! checking || [[ $2 == "$3" ]]; then return; fi
  differs "$@" || exit 0
}

# either YES NO COMMAND...: YES where the command succeeds, NO where it fails.
either() { if "${@:3}" > /dev/null 2>&1; then echo "$1"; else echo "$2"; fi; }

# wait_until SECONDS WHAT COMMAND...: polls until the command succeeds, or fails naming what was awaited.
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

# lock: waits for its turn. A run whose pulumi was killed may still be at work on the machine.
lock() {
  if checking; then return; fi
  exec {run_lock}> /run/convex-droplet.lock
  flock --timeout 900 "$run_lock" || fail "another run is at work on this machine and has not ended for 15 minutes. Look at: lslocks"
}

# kind_of PATH: what is there.
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

# place_differs KIND MODE OWNER PATH: whether PATH is no such file or folder, or not with this mode and owner (user:group).
place_differs() {
  local kind=$1 mode=${2#0} owner=$3 path=$4 found_mode found_owner verdict=1
  if [[ $(kind_of "$path") != "$kind" ]]; then
    differs "${kind}s[$path]" "$kind" "$(kind_of "$path")"
    return
  fi
  read -r found_mode found_owner < <(stat --format '%a %U:%G' "$path")
  if differs "${kind}s[$path] mode" "$mode" "$found_mode"; then verdict=0; fi
  if differs "${kind}s[$path] owner" "$owner" "$found_owner"; then verdict=0; fi
  return "$verdict"
}

# content_differs PATH CONTENT: whether the file has another content.
content_differs() {
  local found=
  # A variable holds no NUL, and what is behind one must not go unnoticed.
  IFS= read -rd '' found < <(tr '\0' '\1' < "$1") || true
  differs "files[$1] content" "$2" "$found"
}

# put_folder MODE OWNER PATH: makes a folder with this mode and owner (user:group).
put_folder() {
  place_differs folder "$@" || return 0
  install -d -m "$1" -o "${2%:*}" -g "${2#*:}" "$3" || fail "$3: cannot be made a folder. Look at: ls -ld $3"
  changed "made folder $3"
}

# put_file MODE PATH [READER]: writes stdin to PATH atomically unless it is there already, and notes, until `settled READER`,
# that whoever reads the file has to be told.
put_file() {
  local mode=$1 path=$2 reader=${3:-} new=${2%/*}/.${2##*/}.new content stale=
  if checking && [[ -n ${CONVEX_DROPLET_DECLARED:-} ]]; then echo "$path" >> "$CONVEX_DROPLET_DECLARED"; fi
  IFS= read -rd '' content || true
  if place_differs file "$mode" root:root "$path"; then stale=1; fi
  if [[ $(kind_of "$path") == file ]] && content_differs "$path" "$content"; then stale=1; fi
  [[ -n $stale ]] || return 0
  { mkdir -p "${path%/*}" && rm -f "$new" && (umask 077 && printf %s "$content" > "$new") && chmod "$mode" "$new"; } \
    || fail "$path: cannot be written"
  # Before the file itself, or a run killed between the two would leave a reader that is never told. The notes are in
  # /run: a reboot tells all readers.
  if [[ -n $reader ]]; then install -D /dev/null "$PENDING/$reader"; fi
  mv --no-target-directory "$new" "$path" || fail "$path: cannot be written"
  changed "wrote $path"
}

# pending READER: whether files were written that READER has not been told of.
pending() { [[ -e $PENDING/$1 ]] && differs "readers.$1" "told of all files" "not told of all files"; }

# settled READER: says that READER has been told.
settled() { rm -f "$PENDING/$1"; }

# install_packages NAME...: installs what is missing, without what is only recommended.
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
  # Ubuntu would restart services meanwhile.
  export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1
  # A run that was killed may have left packages half configured.
  dpkg --configure -a > /dev/null 2>&1 < /dev/null || true
  until { update_lists "${apt[@]}" && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } > "$log" 2>&1 < /dev/null; do
    rm -f "$LISTS_UPDATED"
    # apt waits for dpkg's lock, but not for those of its lists and its cache, which a daily timer may hold.
    if ! grep -q "Could not get lock" "$log" || ((SECONDS >= deadline)); then
      tail -n 15 "$log" >&2
      rm "$log"
      fail "packages ${missing[*]}: could not be installed, apt's last lines are above. See that the droplet reaches its package mirror, then run npx pulumi up again"
    fi
    sleep 1
  done
  rm "$log"
  changed "installed ${missing[*]}"
}

# update_lists APT...: gets the lists of packages that there are, unless a script of the same run just has.
update_lists() {
  [[ -z $(find "$LISTS_UPDATED" -mmin -10 2> /dev/null) ]] || return 0
  "$@" update && install /dev/null "$LISTS_UPDATED"
}
