#!/bin/bash
# Prints an admin key of this deployment. Each call prints another one; all are valid.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
# shellcheck source-path=SCRIPTDIR
source ./read_credentials.sh
echo "Admin key:" >&2
./generate_key "$INSTANCE_NAME" "$INSTANCE_SECRET"
