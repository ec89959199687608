#!/usr/bin/env bash
# Reads everything in the repository and compares it with its checksums.
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/lib/sql.sh
source "$here/../lib/sql.sh"
# shellcheck source=machine/backups/repository.sh
source "$here/repository.sh"
# shellcheck source=machine/backups/jobs.sh
source "$here/jobs.sh"

main() {
  local said
  open_repository
  one_at_a_time verify
  say "reading the backups of the database"
  said=$(in_repository verify --output=text 2>&1) || fail "backups of the database: are damaged. $(explained "$said")"
  # It also succeeds if it has found something.
  [[ $said != *"status: error"* ]] || fail "backups of the database: are damaged. $(explained "$said")"
  say "reading the files"
  said=$(restic check --no-lock --read-data 2>&1) || fail "files: are damaged. $(explained "$said")"
  record verify '{}'
  say "every object in the bucket is as it was written"
}

main "$@"
