# shellcheck shell=bash
# Sourced. Sets INSTANCE_NAME and INSTANCE_SECRET from the environment, else from the last run's files, else to new
# values. Stores them for the next run, so that a value outlives its environment variable.

CREDENTIALS_DIR="${CREDENTIALS_DIR:-${DATA_DIR:-/convex/data}/credentials}"
mkdir -p "$CREDENTIALS_DIR"

if [[ -z "${INSTANCE_NAME:-}" ]]; then
  if [[ -f "$CREDENTIALS_DIR/instance_name" ]]; then
    INSTANCE_NAME="$(< "$CREDENTIALS_DIR/instance_name")"
  else
    INSTANCE_NAME=convex-self-hosted
  fi
fi

if [[ -z "${INSTANCE_SECRET:-}" ]]; then
  if [[ -f "$CREDENTIALS_DIR/instance_secret" ]]; then
    INSTANCE_SECRET="$(< "$CREDENTIALS_DIR/instance_secret")"
  else
    INSTANCE_SECRET="$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')"
  fi
fi

echo "$INSTANCE_NAME" > "$CREDENTIALS_DIR/instance_name"
(umask 077 && echo "$INSTANCE_SECRET" > "$CREDENTIALS_DIR/instance_secret")
