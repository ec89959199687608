# shellcheck shell=bash
# What the scripts on the machine share. Sourced, never run: telling people what happens, waiting for a state, installing
# packages, writing files. Whatever is already as it should be is left alone; `changes` counts the rest.

changes=0

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

# finish: the last word of a run.
finish() {
  if ((changes == 0)); then say "unchanged"; else say "done, $changes changed"; fi
}

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

# put_file MODE PATH: writes stdin to PATH atomically unless it is there already. Returns 0 when it wrote, 1 when it had not to.
put_file() {
  local mode=$1 path=$2 temporary
  mkdir -p "${path%/*}"
  temporary=$(mktemp "${path%/*}/.new.XXXXXX")
  cat > "$temporary"
  chmod "$mode" "$temporary"
  if [[ -f $path && ! -L $path ]] && cmp -s "$temporary" "$path" && [[ $(stat -c '%a %U' "$path") == "${mode#0} root" ]]; then
    rm "$temporary"
    return 1
  fi
  mv "$temporary" "$path"
  changed "wrote $path"
}

# install_packages NAME...: installs what is missing, without what is only recommended.
install_packages() {
  local package missing=()
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null) == installed ]] || missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  say "installing ${missing[*]}"
  local log apt=(apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 -o Dpkg::Use-Pty=0)
  log=$(mktemp)
  export DEBIAN_FRONTEND=noninteractive
  # A run that was killed may have left packages half configured.
  dpkg --configure -a > "$log" 2>&1 || true
  if ! { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${missing[@]}"; } >> "$log" 2>&1 < /dev/null; then
    tail -n 15 "$log" >&2
    rm "$log"
    fail "packages ${missing[*]}: could not be installed, apt's last lines are above. See that the droplet reaches its package mirror, then run pulumi up again"
  fi
  rm "$log"
  changed "installed ${missing[*]}"
}

# guard_unit UNIT MOUNTPOINT: lets a unit start only when the data volume is mounted. Returns as put_file does.
guard_unit() {
  if put_file 0644 "/etc/systemd/system/$1.d/convex-volume.conf" < <(sed "s|@MOUNTPOINT@|$2|" "${BASH_SOURCE[0]%/*}/files/requires-volume.conf"); then
    systemctl daemon-reload
  else
    return 1
  fi
}
