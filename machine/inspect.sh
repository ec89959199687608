#!/usr/bin/env bash
# Prints how this machine differs from what is declared, and facts to compare with the rest. Changes nothing. It needs the other
# scripts in its folder, and there the folder `expected/` with the values that the scripts were run with: `host`, `postgres` or `managed`,
# `edge`, `apps`, `buckets`, `backups`, and `backend` (container, api_port, site_port, dashboard_port, key, read_only_key, role, database, role_url), as far as the stack was deployed.
# It prints records; each field ends with NUL:
#
#   difference  script  area  subject  property  expected  found   (from a script in check mode, see common.sh)
#   fact        name  exit code  output (stderr, if stdout is empty)
#
# A fact's command is stopped, with exit code 124, after 10 s if it asks a service, after 30 s if it is a script's check. Each
# area's facts.sh lists its facts; the last fact is `complete`.
set -euo pipefail
SCRIPTS=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
RESULTS=$SCRIPTS/results
export SCRIPTS RESULTS LC_ALL=C.UTF-8 TMPDIR=$RESULTS CONVEX_DROPLET_CHECK=1 CONVEX_DROPLET_DECLARED=$RESULTS/declared
# shellcheck source=machine/lib/common.sh
source "$SCRIPTS/lib/common.sh"
# shellcheck source=machine/lib/sql.sh
source "$SCRIPTS/lib/sql.sh"
# shellcheck source=machine/convex/symptoms.sh
source "$SCRIPTS/convex/symptoms.sh"
# shellcheck source=machine/lib/on-volume.sh
source "$SCRIPTS/lib/on-volume.sh"
# shellcheck source=machine/convex/upgrade.sh
source "$SCRIPTS/convex/upgrade.sh"
# shellcheck source=machine/host/facts.sh
source "$SCRIPTS/host/facts.sh"
# shellcheck source=machine/postgres/facts.sh
source "$SCRIPTS/postgres/facts.sh"
# shellcheck source=machine/managed/facts.sh
source "$SCRIPTS/managed/facts.sh"
# shellcheck source=machine/edge/facts.sh
source "$SCRIPTS/edge/facts.sh"
# shellcheck source=machine/backups/facts.sh
source "$SCRIPTS/backups/facts.sh"
# shellcheck source=machine/convex/facts.sh
source "$SCRIPTS/convex/facts.sh"
# shellcheck source=machine/functions/facts.sh
source "$SCRIPTS/functions/facts.sh"

# The names of all facts, and of the facts from which declared files are removed.
facts=() strays=()

main() {
  local values mountpoint=/ expected=$SCRIPTS/expected
  mkdir "$RESULTS"
  : > "$CONVEX_DROPLET_DECLARED"
  for values in "$expected"/*; do
    if [[ -e $SCRIPTS/${values##*/}/${values##*/}.sh ]]; then fact "check.${values##*/}" check "${values##*/}"; fi
  done
  fact check.scripts in_area host check_scripts
  if [[ -e $expected/host ]]; then mountpoint=$(value_in "$expected/host" mountpoint); fi
  host_facts "$mountpoint"
  if [[ -e $expected/postgres ]]; then postgres_facts "$expected/postgres" "$expected/backend"; fi
  if [[ -e $expected/managed ]]; then managed_facts "$expected/managed" "$expected/backend"; fi
  if [[ -e $expected/edge ]]; then edge_facts "$expected/edge"; fi
  if [[ -e $expected/backups ]]; then backups_facts "$expected/backups"; fi
  if [[ -e $expected/backend ]]; then
    convex_facts "$expected/backend" "$mountpoint"
    functions_facts "$expected/backend"
  fi
  wait
  tell
}

# fact NAME COMMAND...: collects a fact, in parallel with all others.
fact() {
  local name=$1
  shift
  facts+=("$name")
  {
    local code=0
    "$@" > "$RESULTS/$name" 2> "$RESULTS/$name.error" || code=$?
    echo "$code" > "$RESULTS/$name.code"
  } &
}

# stray NAME COMMAND...: a fact from which declared files are removed.
stray() {
  strays+=("$1")
  fact "$@"
}

# value_in FILE NAME: one of a script's values.
value_in() { sed -n "s/^$2=//p" "$1"; }

# check SCRIPT: runs one of the scripts in check mode; its messages are the fact.
check() { timeout 30 bash "$SCRIPTS/$1/$1.sh" < "$SCRIPTS/expected/$1" 2>&1 > "$RESULTS/check.$1.records"; }

# Compares the scripts on the machine, some of which run at boot, with those in this folder.
check_scripts() {
  local folder=/usr/local/lib/convex-droplet file content
  { find "$SCRIPTS" \( -path "$SCRIPTS/expected" -o -path "$RESULTS" \) -prune -o -type f -printf '%P\n' && find "$folder" ! -type d -printf '%P\n'; } | sort -u \
    | while read -r file; do
      differs "files[$folder/$file]" "$(kind_of "$SCRIPTS/$file")" "$(kind_of "$folder/$file")" || true
      if [[ -f $SCRIPTS/$file && -f $folder/$file ]] && ! cmp -s "$SCRIPTS/$file" "$folder/$file"; then
        IFS= read -rd '' content < "$SCRIPTS/$file" || true
        content_differs "$folder/$file" "$content" || true
      fi
    done > "$RESULTS/scripts.records"
  find "$folder" \( ! -user root -o -perm /022 \) -printf '%p\n' | while read -r file; do
    differs "files[$file] mode" "owned by root, and writable only by root" "$(stat --format '%a %U:%G' "$file")" || true
  done >> "$RESULTS/scripts.records"
}

# Limits a value's length. A variable cannot contain a NUL.
tell() {
  local name code value
  for name in "${strays[@]}"; do
    value=$(grep -Fxv --file "$CONVEX_DROPLET_DECLARED" "$RESULTS/$name") || true
    printf '%s\n' "$value" > "$RESULTS/$name"
  done
  cat "$RESULTS"/*.records
  for name in "${facts[@]}"; do
    read -r code < "$RESULTS/$name.code"
    IFS= read -r -N 1048576 value < "$RESULTS/$name" || true
    [[ -n $value || $code == 0 ]] || IFS= read -r -N 65536 value < "$RESULTS/$name.error" || true
    printf '%s\0' fact "$name" "$code" "$value"
  done
  printf '%s\0' fact complete 0 ""
}

main
