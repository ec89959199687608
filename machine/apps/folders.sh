# shellcheck shell=bash
# The folders of apps on the volume. Sourced after common.sh.

# put_app_folders MOUNTPOINT FOLDERS: makes each folder, a line `user:group path`, and gives it to its user. What is in it stays as
# it is, and so do the folders of apps that are gone.
put_app_folders() {
  local owner path parent
  [[ -n $2 ]] || return 0
  require_mounted "$1"
  while read -r owner path; do
    parent=${path%/*}
    # Only Docker, as root, has to get there.
    put_folder 0711 0:0 "${parent%/*}"
    put_folder 0711 0:0 "$parent"
    put_folder 0700 "$owner" "$path"
  done <<< "$2"
}

# require_mounted MOUNTPOINT
require_mounted() {
  local state
  state=$(either mounted "not mounted" mountpoint -q "$1")
  rests_on "apps volume" mounted "$state"
  [[ $state == mounted ]] || fail "$1: is not mounted, it should be the data volume. Run $(pulumi_command up) again"
}
