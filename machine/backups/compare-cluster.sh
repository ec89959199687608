#!/usr/bin/env bash
# Compares a managed cluster that was restored to a moment with the one that the stack uses, over TLS, from this droplet: its tables, all of
# their rows, and Convex's newest document. Only reads. How to log in there is in memory until the script ends.
#
#   compare-cluster.sh <host, port, user, password, authority (PEM), moment (seconds since 1970), databases (Convex's first)
#
# Prints one JSON object: databases (name, tables, rows), newest (the newest document's time, RFC 3339, or null), and problems (sentences).
set -euo pipefail
# Reading all rows takes as long as there are rows.
export CONVEX_DROPLET_LIMIT_SECONDS=${CONVEX_DROPLET_LIMIT_SECONDS:-14400}
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/jobs.sh"
# shellcheck source=machine/backups/other-cluster.sh
source "$here/other-cluster.sh"

# How long a new cluster may take to admit this droplet. And by how many seconds a document's time may differ from that of its commit.
readonly PATIENCE=300 TOLERANCE=10
readonly TABLES="SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) FROM pg_tables WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1"

main() {
  local host port user password authority moment databases database newest=null
  take host port user password authority moment databases
  folder=$(mktemp --directory --tmpdir=/run convex-droplet-cluster.XXXXXX)
  trap 'rm -rf "$folder"' EXIT
  describe_cluster "$folder"
  mapfile -t databases <<< "$databases"
  wait_until "$PATIENCE" "the restored cluster to admit this droplet" answers || fail "the restored cluster: does not answer at $host:$port. $(there "${databases[0]}" "SELECT" 2>&1 || true)"
  : > "$folder/found"
  : > "$folder/problems"
  for database in "${databases[@]}"; do compare "$database"; done
  newest=$(compare_newest "${databases[0]}" "$moment")
  jq -nc --slurpfile databases "$folder/found" --arg problems "$(< "$folder/problems")" --argjson newest "$newest" \
    '{$databases, newest: (if $newest > 0 then $newest | todate else null end), problems: [$problems | scan("[^\n]+")]}'
}

# there DATABASE STATEMENT: asks the restored cluster.
there() { in_cluster "$folder" "$1" psql -qAtX -v ON_ERROR_STOP=1 -c "$2"; }

answers() { there "${databases[0]}" "SELECT" > /dev/null 2>&1; }

problem() { printf '%s\n' "$*" >> "$folder/problems"; }

# compare DATABASE: each table of the one has to be in the other, and all its rows can be read.
compare() {
  local own found table count rows=0 tables=0
  own=$(in_database "$1" "$TABLES") || fail "database $1: its tables cannot be listed"
  if ! found=$(there "$1" "$TABLES"); then
    problem "database $1 is not in the restored cluster, or cannot be read there"
    return
  fi
  while read -r table; do
    if [[ -z $table ]]; then continue; fi
    if ! grep -Fxq -- "$table" <<< "$found"; then problem "database $1: table $table is missing in the restored cluster"; fi
  done <<< "$own"
  while read -r table; do
    if [[ -z $table ]]; then continue; fi
    if count=$(there "$1" "SELECT count(*) FROM $table"); then
      rows=$((rows + count)) tables=$((tables + 1))
    else
      problem "database $1: table $table cannot be read in the restored cluster"
    fi
  done <<< "$found"
  jq -nc --arg name "$1" --argjson tables "$tables" --argjson rows "$rows" '{$name, $tables, $rows}' >> "$folder/found"
}

# compare_newest DATABASE MOMENT: prints the time of the newest document there, in seconds. A document never changes, but old versions of one
# are deleted after a while, so here may be fewer of them.
compare_newest() {
  local database=$1 moment=$2 rows newest before own count
  read -r rows newest < <(rows_in there "$database") || true
  if [[ -z ${newest:-} ]]; then
    problem "database $database: its documents cannot be read in the restored cluster"
    echo 0
    return
  fi
  read -r before < <(in_database "$database" "SELECT coalesce(max(ts), 0) FROM documents WHERE ts <= ($moment - $TOLERANCE)::bigint * 1000000000")
  read -r own < <(in_database "$database" "SELECT count(*) FROM documents WHERE ts <= $newest")
  count=$rows
  if ((newest < before)); then problem "the newest document in the restored cluster is of $(utc "$newest"), there is one of $(utc "$before"), which is before the moment"; fi
  if ((newest > (moment + TOLERANCE) * 1000000000)); then problem "the restored cluster has a document of $(utc "$newest"), which is after the moment"; fi
  if ((count < own)); then problem "the restored cluster has $count versions of documents up to $(utc "$newest"), the present one has $own"; fi
  echo $((newest / 1000000000))
}

utc() { date --utc --date="@$(($1 / 1000000000))" +%FT%TZ; }

main
