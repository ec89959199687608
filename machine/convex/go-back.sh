# shellcheck shell=bash
# Undoes an upgrade whose backend does not serve: puts the previous image and the data of before back. Sourced by backend.sh, after upgrade.sh
# and engine.sh.
#
# Only in the hours after the swap, and only if the database answers: later, what was written since then may matter more than the upgrade,
# and without a database, no image would serve. A run that was killed is continued by the next one.

# After that, a person decides.
readonly GO_BACK_SECONDS=7200

# can_go_back MOUNTPOINT CONTAINER VALUES: whether the upgrade to this container's image can be undone. VALUES are those of backend.sh.
can_go_back() {
  local point
  point=$(of_upgrade "$1" "$2" point)
  [[ -n $point && -e $1/image ]] \
    && is_recent "$1" \
    && same_image "$(line_of "$1/upgrade" from)" "$(< "$1/image")" \
    && sql "SELECT" > /dev/null 2>&1 \
    && restore_to "$point" plan "$3" | jq --exit-status '.bytes.needed <= .bytes.free' > /dev/null
}

is_recent() { (($(date +%s) - $(stat --format %Y "$1/upgrade") < GO_BACK_SECONDS)); }

# begin_to_go_back MOUNTPOINT REASON: the reason also has to be true in later runs, which do not show the log lines.
begin_to_go_back() {
  local reason
  reason=$(sed -E 's/[.,]? [Ii]ts last log lines are above.*//; s/, see above.*//' <<< "$2")
  put_file 0644 "$1/upgrade" < <(cat "$1/upgrade" && echo "reason=${reason:-see the log of the run}")
}

# go_back MOUNTPOINT CONTAINER VALUES: safe to do again, until the previous image is accepted. A run that was killed long ago is not continued
# without a question.
go_back() {
  local mountpoint=$1 container=$2 point undone
  point=$(line_of "$mountpoint/upgrade" point)
  if ! is_recent "$mountpoint" && [[ ! -e $mountpoint/backups/restore.journal ]]; then
    sed -i '/^reason=/d' "$mountpoint/upgrade"
    # It was not undone, so the image is not refused.
    rm -f "$mountpoint/refused"
    fail "the upgrade to $(line_of "$mountpoint/upgrade" image) was being undone hours ago, and that was interrupted. Somebody may have used the instance since then," \
      "so nothing was changed. To go back to $point, without what was written since then: $(line_of "$mountpoint/upgrade" images) && $(npm_command restore) --to $point --yes; to keep the data: $(pulumi_command up --refresh --run-program)"
  fi
  say "the new backend does not serve; putting the previous image and the data of $point back"
  # Another run may be doing the same.
  lock
  if ! is_going_back "$mountpoint"; then
    unlock
    return
  fi
  put_file 0644 "$mountpoint/refused" < "$mountpoint/upgrade"
  replace_container "$container" "$(accepted_image "$mountpoint" "$container")"
  unlock
  undone=$(restore_to "$point" run "$3") || fail "the data of $point was not put back, see above. Fix the cause, then run $(pulumi_command up) again, which goes on;" \
    "or keep the data as the new backend has left it: $(npm_command ssh) rm $mountpoint/upgrade $mountpoint/refused && $(pulumi_command up --refresh --run-program)"
  undone=$(sed -n 's/^point=//p' <<< "$undone")
  if [[ -n $undone && $undone != "$point" ]]; then say "what was written until $undone can still be restored, but only the new image may read it"; fi
}

# restore_to POINT MODE VALUES
restore_to() {
  # A drill may be first.
  printf '%s\n' "to=$1" "stanza=" "mode=$2" "$3" | patience=3600 bash "${BASH_SOURCE[0]%/*}/../backups/restore.sh"
}

# replace_container NAME IMAGE: creates the same container with another image, and does not start it. Until the end, the old one keeps what it
# is made from.
replace_container() {
  local name=$1 image=$2 own answer
  if [[ -n $(image_of "$name") ]] && ! same_image "$(image_of "$name")" "$image"; then
    docker stop "$name" > /dev/null || fail "$name: does not stop. See: docker ps"
    docker rm --force --volumes "$name-refused" > /dev/null 2>&1 || true
    docker rename "$name" "$name-refused" || fail "$name: cannot be renamed. See: docker ps --all"
  fi
  if [[ -n $(image_of "$name") ]]; then return; fi
  [[ -n $(image_of "$name-refused") ]] \
    || fail "$name: is gone, so it cannot be created with the previous image. Let a run create it: $(line_of "$mountpoint/upgrade" images) --refresh --run-program"
  docker image inspect "$image" > /dev/null 2>&1 || docker pull --quiet "$image" > /dev/null || fail "$image: cannot be pulled. See: docker pull $image"
  # Docker reports the image's own variables with the container's.
  own=$(docker image inspect --format '{{json .Config.Env}}' "$(image_of "$name-refused")")
  answer=$(docker inspect "$name-refused" | jq --arg image "$image" --argjson own "$own" '.[0]
    | .NetworkSettings.Networks as $networks | .Id[:12] as $id | {
      Image: $image, Env: (.Config.Env - ($own // [])), ExposedPorts: .Config.ExposedPorts, Volumes: .Config.Volumes, Healthcheck: .Config.Healthcheck,
      StopSignal: .Config.StopSignal, StopTimeout: .Config.StopTimeout,
      HostConfig: (.HostConfig + {NetworkMode: ($networks | keys[0])}),
      NetworkingConfig: {EndpointsConfig: ($networks | map_values({Aliases: ((.Aliases // []) - [$id])}))}
    }' | create_container "$name") || fail "$name: cannot be created with the previous image: $answer. See: docker ps --all"
}
