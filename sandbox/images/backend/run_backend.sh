#!/bin/bash
# The container's entry point: starts the backend from environment variables. Arguments go before the script's own.
# The first run makes credentials and storage; each later one uses them again.
set -euo pipefail

export DATA_DIR="${DATA_DIR:-/convex/data}"
export TMPDIR="${TMPDIR:-$DATA_DIR/tmp}"
export STORAGE_DIR="${STORAGE_DIR:-$DATA_DIR/storage}"
export SQLITE_DB="${SQLITE_DB:-$DATA_DIR/db.sqlite3}"

S3_VARIABLES=(
  AWS_REGION
  S3_STORAGE_EXPORTS_BUCKET
  S3_STORAGE_FILES_BUCKET
  S3_STORAGE_MODULES_BUCKET
  S3_STORAGE_SEARCH_BUCKET
  S3_STORAGE_SNAPSHOT_IMPORTS_BUCKET
)

# Sets `database`: flags and specification. An empty POSTGRES_URL counts as unset.
choose_database() {
  if [[ -n "${POSTGRES_URL:-}" ]]; then
    database=(--db postgres-v5 "$POSTGRES_URL")
  elif [[ -n "${MYSQL_URL:-}" ]]; then
    database=(--db mysql-v5 "$MYSQL_URL")
  elif [[ -n "${DATABASE_URL:-}" ]]; then
    echo "Warning: DATABASE_URL is deprecated. Please use POSTGRES_URL for PostgreSQL or MYSQL_URL for MySQL connections instead."
    database=(--db postgres-v5 "$DATABASE_URL")
  else
    database=("$SQLITE_DB")
  fi
}

# Sets `storage`. S3 needs all of its variables; if only some are set, this prints a warning.
choose_storage() {
  local variable missing=()
  for variable in "${S3_VARIABLES[@]}"; do
    [[ -n "${!variable:-}" ]] || missing+=("$variable")
  done
  storage=(--local-storage "$STORAGE_DIR")
  if ((${#missing[@]} == 0)); then
    storage=(--s3-storage)
  elif ((${#missing[@]} < ${#S3_VARIABLES[@]})); then
    echo "Warning: Some AWS/S3 environment variables are missing. Falling back to local storage."
    echo "Missing variables: ${missing[*]}"
  fi
}

mkdir -p "$TMPDIR" "$STORAGE_DIR"
# shellcheck source-path=SCRIPTDIR
source ./read_credentials.sh
choose_database
choose_storage

# A variable that is set switches its flag on, even with the value `false` or `0`.
exec ./convex-local-backend "$@" \
  --instance-name "$INSTANCE_NAME" \
  --instance-secret "$INSTANCE_SECRET" \
  --port 3210 \
  --site-proxy-port 3211 \
  --convex-origin "${CONVEX_CLOUD_ORIGIN:-}" \
  --convex-site "${CONVEX_SITE_ORIGIN:-}" \
  --beacon-tag self-hosted-docker \
  ${DISABLE_BEACON:+--disable-beacon} \
  ${REDACT_LOGS_TO_CLIENT:+--redact-logs-to-client} \
  ${DO_NOT_REQUIRE_SSL:+--do-not-require-ssl} \
  "${storage[@]}" \
  "${database[@]}"
