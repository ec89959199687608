#!/usr/bin/env bash
# Tells, on stdout, how this machine differs from what is declared, and facts to compare with the rest; changes nothing.
# It is a folder on its own: beside it lie the other scripts, and `expected/` with the values of those that set the machine up,
# as they take them: `host`, `postgres`, and `backend` (container, api_port, site_port, dashboard_port, key, read_only_key or
# nothing, role_url), as far as there are such. Records are four fields that end with NUL each:
#
#   difference  path  expected  found
#   fact        name  exit code  what it said (on stderr, where there is nothing on stdout)
#
# A fact's command that takes too long ends with 124: 10 s where it asks somebody, 30 s where it checks a script. The facts are in facts.sh; the last one is `complete`.
set -euo pipefail
SCRIPTS=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
RESULTS=$SCRIPTS/results
export SCRIPTS RESULTS LC_ALL=C.UTF-8 TMPDIR=$RESULTS CONVEX_DROPLET_CHECK=1 CONVEX_DROPLET_DECLARED=$RESULTS/declared
# shellcheck source=machine/lib.sh
source "$SCRIPTS/lib.sh"
# shellcheck source=machine/symptoms.sh
source "$SCRIPTS/symptoms.sh"
# shellcheck source=machine/on-volume.sh
source "$SCRIPTS/on-volume.sh"
# shellcheck source=machine/facts.sh
source "$SCRIPTS/facts.sh"

# The names of the facts, and of those of them that leave out what is declared.
facts=() strays=()

main() {
  local script
  mkdir "$RESULTS"
  : > "$CONVEX_DROPLET_DECLARED"
  for script in host postgres; do
    if [[ -e $SCRIPTS/expected/$script ]]; then fact "check.$script" check "$script"; fi
  done
  fact check.scripts check_scripts
  collect_facts "$SCRIPTS/expected"
  wait
  tell
}

# fact NAME COMMAND...: finds a fact out, at the same time as all others.
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

# check SCRIPT: has one of the scripts look; what it says to people is the fact.
check() { timeout 30 bash "$SCRIPTS/$1.sh" < "$SCRIPTS/expected/$1" 2>&1 > "$RESULTS/check.$1.records"; }

# Those on the machine, which it runs at boot, against those beside this one.
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
    differs "files[$file].mode" "root's, and writable for nobody else" "$(stat --format '%a %U:%G' "$file")" || true
  done >> "$RESULTS/scripts.records"
}

# A value's length is limited, and a variable holds no NUL.
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
