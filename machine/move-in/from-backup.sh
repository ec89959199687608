# shellcheck shell=bash
# Copies the instance of another stack from that stack's backups, which are only read. Sourced by move-in.sh. Restores it beside the
# instance in a throw-away folder, and moves database and files to where `swap` expects them.
#
# Where the other stack's backups are, and their secrets, arrive on stdin. They are below OTHER, in memory, until the script ends; the next
# restore, drill or move removes those of one that was killed.
# shellcheck disable=SC2034,SC2153,SC2154 # `take` sets REPOSITORY_VALUES, find_target sets target, and backups.env has DATABASE

# from_backup plan|copy DATABASE OWNER <to, wanted (whose backups; empty: those of the other stack's volume, or the only ones), source
# (the other stack, for messages), database (the other instance's), and the values of the other stack's repository: prints what would be copied, as JSON, or copies it. DATABASE is the
# instance's own.
from_backup() {
  local mode=$1 own=$2 owner=$3 to wanted source database chosen needed "${REPOSITORY_VALUES[@]}"
  take to wanted source database "${REPOSITORY_VALUES[@]}"
  refuse_during_swap
  open_repository
  # The same as a drill's, so a drill also removes what a killed copy leaves.
  copy=$MOUNTPOINT/backups/drill
  trap 'tell_if_full; end_leftovers; rm -rf "$OTHER" "$copy"' EXIT
  rm -rf "$copy"
  open_other "$database"
  chosen=$(choose_stanza "$wanted")
  find_target "$chosen" "$to"
  # Rows are in the restored cluster, in the copy of the database, and in the write-ahead log until that is archived.
  needed=$((target[bytes] * 3 + target[files] + 1024 ** 3))
  if [[ $mode == plan ]]; then
    jq -n --arg stanza "$chosen" --arg to "${target[to]}" --arg backup "${target[backup]}" --argjson moment "${target[moment]}" \
      --argjson needed "$needed" --argjson free "$(free_bytes "$MOUNTPOINT")" \
      '{$stanza, $to, $backup, moment: ($moment | floor | todate), bytes: {$needed, $free}}'
    return
  fi
  # Of a copy that was killed.
  drop "$own"
  trap 'tell_if_full; end_leftovers; rm -rf "$OTHER" "$copy"; drop "$own"' EXIT
  require_space "$MOUNTPOINT" "$needed"
  restore_beside "$chosen" "$copy/cluster" "$copy/files"
  # The other instance's secret has no place here.
  rm -rf "$copy/files/credentials"
  check_beside "$copy/files" > /dev/null || exit 1
  refuse_newer "$own"
  say "copying the database"
  gently runuser -u postgres -- "/usr/lib/postgresql/${target[version]}/bin/pg_dump" -h "$BESIDE" --format=custom --dbname="$DATABASE" \
    | database "$own" "$owner" || exit 1
  stop_beside "$copy/cluster"
  if [[ -d $MOUNTPOINT/data/credentials ]]; then cp -a "$MOUNTPOINT/data/credentials" "$copy/files"; fi
  rm -rf "$MOUNTPOINT/data.moving"
  mv --no-target-directory "$copy/files" "$MOUNTPOINT/data.moving"
  trap 'end_leftovers; rm -rf "$OTHER" "$copy"' EXIT
}

# open_other DATABASE: like open_repository, for the other stack's backups.
open_other() {
  local place=$MOUNTPOINT
  install -d -o root -g postgres -m 0750 "$OTHER"
  printf '%s\n' "$repository_authority" > "$OTHER/authority.pem"
  # Nothing is archived there, so the version and the volume's size do not matter.
  (umask 027 && pgbackrest_settings "$place" 0 "$1" 0 | in_other > "$OTHER/pgbackrest.conf")
  chgrp postgres "$OTHER/pgbackrest.conf"
  (umask 077 && restic_settings "$place" 0 "$1" | in_other > "$OTHER/backups.env")
  unset RESTIC_CACERT
  set -a
  # shellcheck disable=SC1091 # written above
  source "$OTHER/backups.env"
  PGBACKREST_CONFIG=$OTHER/pgbackrest.conf RESTIC_CACHE_DIR=$copy/cache
  set +a
}

in_other() { sed "s|$REPOSITORY_AUTHORITY|$OTHER/authority.pem|"; }

# refuse_newer OWN: a backend's migrations only go forward, so an older image must not get rows of a newer one. Its image has migrated the
# instance's own database to the version that it knows.
refuse_newer() {
  local own other
  own=$(version_in in_database "$1") || fail "the instance's own database: its version cannot be read, see above. The instance is unchanged"
  other=$(version_in beside_sql "$DATABASE") || fail "the copy: its version cannot be read, see above. The instance is unchanged"
  if [[ -n $own && -n $other ]] && ((other > own)); then
    fail "the copy: its tables have version $other, the backend here knows up to $own, because its image is older. Set the other stack's backendImage and dashboardImage here, then run $(pulumi_command up)"
  fi
}
