# shellcheck shell=bash
# Restores an instance with a managed database from its own backups, or from another cluster that DigitalOcean has made of a moment. Sourced
# by move-in.sh. Loads the databases beside those that serve, in the cluster, and puts the files beside the instance's, where `swap` expects them.
# shellcheck disable=SC2034,SC2153,SC2154 # find_dump sets target and dumps, backups.env has DATABASE, and describe_cluster takes the values

# from_dump plan|copy <to (latest, or a restore point's name), wanted (whose backups; empty: this volume's, or the only others): prints what
# would be restored, as JSON, or copies it.
from_dump() {
  local mode=$1 to wanted needed name owner own
  take to wanted
  refuse_during_swap
  open_repository
  find_dump "$wanted" "$to"
  needed=$((target[files] * 11 / 10 + 1024 ** 3))
  if [[ $mode == plan ]]; then
    tell_dump "$needed"
    return
  fi
  own=("${!dumps[@]}")
  forget_copy "${own[@]}"
  trap 'tell_if_full; end_leftovers; drop "${own[@]}"' EXIT
  require_space "$MOUNTPOINT" "$needed"
  install -d -m 0700 "$BESIDE"
  watch_space
  restore_files "$MOUNTPOINT/data.moving"
  for name in "${own[@]}"; do load_beside_own "$name" read_dump; done
  refuse_newer_rows
  trap end_leftovers EXIT
}

# loaded: a file with the databases of the copy, for `swap`: an earlier copy that was killed may have had others.
loaded() { echo "$MOUNTPOINT/backups/loaded"; }

# forget_copy DATABASE...: removes what a killed copy has left.
forget_copy() {
  drop "$@"
  install -d -m 0711 "$MOUNTPOINT/backups"
  : > "$(loaded)"
}

# load_beside_own DATABASE READ: loads what READ DATABASE prints, a dump.
load_beside_own() {
  local name=$1 owner
  owner=$(sql "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = '$name'") || exit 1
  if [[ -z $owner ]]; then
    [[ $name != "$DATABASE" ]] || fail "database $name: is not in the cluster, it should be. Make it again, empty: $(pulumi_command up --refresh --run-program); then restore"
    say "database $name is not one of this stack any more, and is left out"
    return
  fi
  say "loading database $name beside the one that serves"
  "$2" "$name" | database "$name" "$owner" || exit 1
  printf '%s\n' "$name" >> "$(loaded)"
}

# from_cluster plan|copy <moment (seconds since 1970), databases (Convex's first), and to copy also host, port, user, password, authority (PEM):
# prints what would be lost, as JSON, or copies the databases of the other cluster. The files are those of now, which include those of the
# moment: links to them, because none of them ever changes.
from_cluster() {
  local mode=$1 moment databases host port user password authority values name
  values=$(cat)
  take moment databases <<< "$values"
  refuse_during_swap
  mapfile -t databases <<< "$databases"
  # make_moving takes no name of these.
  DATABASE=${databases[0]} DUMPED=${databases[*]}
  if [[ $mode == plan ]]; then
    tell_now "$moment"
    return
  fi
  take host port user password authority <<< "$values"
  other=$(mktemp --directory --tmpdir=/run convex-droplet-cluster.XXXXXX)
  forget_copy "${databases[@]}"
  trap 'end_leftovers; rm -rf "$other"; drop "${databases[@]}"' EXIT
  describe_cluster "$other"
  wait_until 300 "the other cluster to admit this droplet" in_cluster "$other" "$DATABASE" psql -qXc "SELECT" > /dev/null 2>&1 \
    || fail "the other cluster: does not answer at $host:$port. $(in_cluster "$other" "$DATABASE" psql -qXc "SELECT" 2>&1 || true)"
  for name in "${databases[@]}"; do load_beside_own "$name" read_cluster; done
  rm -rf "$MOUNTPOINT/data.moving"
  cp -al "$MOUNTPOINT/data" "$MOUNTPOINT/data.moving"
  refuse_newer_rows
  trap 'end_leftovers; rm -rf "$other"' EXIT
}

read_cluster() { in_cluster "$other" "$1" pg_dump --format=custom --compress=0 --no-password; }

# refuse_newer_rows: a backend's migrations only go forward, so the image that serves must not get rows of a newer one.
refuse_newer_rows() {
  local known found
  known=$(version_in in_database "$DATABASE") && found=$(version_in in_database "$(moving_of "$DATABASE")") || exit 1
  if [[ -n $known && -n $found ]] && ((found > known)); then
    fail "the restore point: its tables have version $found, the backend here knows up to $known, because its image is older. Set the later images, then run $(pulumi_command up) and restore again"
  fi
}

# tell_dump NEEDED
tell_dump() {
  local now
  now=$(tell_now "${target[moment]}") || exit 1
  jq -n --arg stanza "${target[stanza]}" --arg point "${target[point]}" --argjson moment "${target[moment]}" --arg databases "${!dumps[*]}" --argjson now "$now" \
    --argjson database "${target[bytes]}" --argjson files "${target[files]}" --argjson needed "$1" --argjson free "$(free_bytes "$MOUNTPOINT")" \
    '{$stanza, $point, moment: ($moment | floor | todate), databases: ($databases / " " | sort), $now, bytes: {$database, $files, $needed, $free}}'
}

# tell_now MOMENT: what there is, and how much of it is newer than a moment, as JSON; null without an instance.
tell_now() {
  local rows newest lost
  if [[ -z $(has_documents in_database "$DATABASE" 2> /dev/null) ]]; then
    echo null
    return
  fi
  read -r rows newest < <(rows_in in_database "$DATABASE")
  lost=$(in_database "$DATABASE" "SELECT count(*) FROM documents WHERE ts > $1::numeric * 1000000000")
  jq -nc --argjson versions "$rows" --argjson newest "$((newest / 1000000000))" --argjson lost "$lost" '{$versions, newest: ($newest | todate), $lost}'
}
