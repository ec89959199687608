#!/usr/bin/env bash
# Makes the folders of an app on the volume, before its container mounts them: Docker would make them for root. The second run
# changes nothing and says so.
#
#   prepare.sh <mountpoint, folders (each `user:group path`, both as numbers)
set -euo pipefail
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/lib/common.sh
source "$here/../lib/common.sh"
# shellcheck source=machine/apps/folders.sh
source "$here/folders.sh"

main() {
  local mountpoint folders
  take mountpoint folders
  lock
  put_app_folders "$mountpoint" "$folders"
  finish
}

main "$@"
