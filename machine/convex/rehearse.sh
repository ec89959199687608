#!/usr/bin/env bash
# Tries a new backend image on a copy of database and files, before the backend that serves is replaced. If the image does not pass, the
# script fails, nothing was changed, and the old backend still serves. It passes if it gets healthy, has the instance's name, accepts the
# admin key, completes its migrations, answers a query, writes, reads a stored file, and has all documents unchanged. Then the
# script makes a restore point, if there are backups, and notes on the volume what it has seen, for backend.sh.
#
# The copy's database is a physical copy, its files are a layer over the instance's, which nothing can write through. Both servers have
# no network but their own loopback. So cron jobs and actions of the copy reach nobody. Everything is removed at the end, also
# what a killed run has left. If the image is the accepted one, it does nothing. Files in buckets are out of the copy's reach, so no stored file
# is read then.
#
# A managed server gives no physical copy, and has no room beside it. So then it tries nothing, and notes the moment to which the server can
# be restored.
#
#   rehearse.sh <stack, container, dashboard (its container), image, dashboard_image, name (the instance's), role (the database's owner),
#     mountpoint, key (the admin key), memory_mb (the copy's limit), rehearse (true or false), environment (the backend's variables),
#     files (what else is mounted: path on the droplet, colon, path in the container)
#
#   rehearse.sh check  < the same; prints what it would do, in lines name=value, and changes nothing
set -euo pipefail
# As long as the data needs.
export CONVEX_DROPLET_LIMIT_SECONDS=${CONVEX_DROPLET_LIMIT_SECONDS:-14400}
here=$(cd "${BASH_SOURCE[0]%/*}" && pwd)
# shellcheck source=machine/backups/jobs.sh
source "$here/../backups/jobs.sh"
# shellcheck source=machine/backups/beside.sh
source "$here/../backups/beside.sh"
# shellcheck source=machine/convex/gate.sh
source "$here/gate.sh"
# shellcheck source=machine/convex/upgrade.sh
source "$here/upgrade.sh"

# In memory: the variables, and where the layer is mounted. The containers: one has the network, the other is the backend.
readonly REHEARSAL=/run/convex-droplet-rehearsal NETWORK=convex-rehearsal-network COPY=convex-rehearsal

main() {
  local stack container dashboard image dashboard_image name role mountpoint key memory_mb rehearse environment files
  local accepted documents folder shown obstacle begun=
  take stack container dashboard image dashboard_image name role mountpoint key memory_mb rehearse environment files
  # It goes on to its end if the connection breaks.
  trap '' PIPE
  MOUNTPOINT=$mountpoint DATABASE=${name//-/_} folder=$mountpoint/rehearsal
  mountpoint -q "$mountpoint" || fail "$mountpoint: is not mounted, it should be the data volume. Run $(pulumi_command up)"
  accepted=$(accepted_image "$mountpoint" "$container")
  # A new droplet has no dashboard yet.
  shown=$(image_of "$dashboard")
  shown=${shown:-$dashboard_image}
  if [[ ${1:-} == check ]]; then
    tell_plan
    return
  fi
  if [[ -e $folder || -n $(leftover_containers) ]]; then begin; fi
  obstacle=$(earlier_upgrade)
  if are_in_place; then
    say "unchanged"
  elif [[ $rehearse != true ]]; then
    say "uses the images without a rehearsal, because rehearseImages is false"
    rm -f "$mountpoint/upgrade"
  elif [[ -n $obstacle ]]; then
    fail "$obstacle"
  else
    require_pair
    documents=$(documents_here) || fail "PostgreSQL: does not answer, see above, so the new backend image cannot be tried. Nothing was changed. See: $(npm_command doctor)"
    if [[ -z $documents ]]; then
      say "no backend has used this database yet, so there is nothing to try the image on"
    elif is_managed; then
      same_image "$image" "$accepted" || note_moment
    elif ! same_image "$image" "$accepted"; then
      begin
      rehearse
    fi
  fi
}

# are_in_place: whether both images are the ones that serve.
are_in_place() { same_image "$image" "$accepted" && same_image "$dashboard_image" "$shown"; }

# earlier_upgrade: why an upgrade that failed keeps the image from being tried, if one does.
earlier_upgrade() {
  if is_refused "$MOUNTPOINT" "$image"; then
    tell_refused "$MOUNTPOINT"
  elif is_going_back "$MOUNTPOINT"; then
    echo "the upgrade to $(line_of "$MOUNTPOINT/upgrade" image) is being undone, and that was interrupted, so no other image can be tried." \
      "Finish it first, with the previous images: $(line_of "$MOUNTPOINT/upgrade" images); then set this image again"
  fi
}

# documents_here: prints something if a backend has used the database. A new stack has none yet.
documents_here() {
  local found
  found=$(sql "SELECT 1 FROM pg_database WHERE datname = '$DATABASE'") || return
  [[ -z $found ]] || has_documents in_database "$DATABASE"
}

tell_plan() {
  local needed=0 version documents
  if ! is_managed; then needed=$(room_needed); fi
  documents=$(documents_here)
  version=
  if [[ -n $documents ]]; then version=$(version_in in_database "$DATABASE"); fi
  printf '%s\n' "accepted=$accepted" "revision=$(revision_of "$accepted")" "image=$image" "imageRevision=$(revision_of "$image")" \
    "upgrade=$(either no yes same_image "$image" "$accepted")" "dashboard=$(either "" "$dashboard_image" same_image "$dashboard_image" "$shown")" \
    "rehearse=$rehearse" "managed=$(either yes no is_managed)" "needed=$needed" "free=$(free_bytes "$MOUNTPOINT")" "point=$(either yes no has_backups)" "version=$version" "refused=$(refusal)" \
    "data=$(either yes no test -n "$documents")"
}

# refusal: why the next run would refuse the images, if it would. Without pulling them, the backend's revision may be unknown.
refusal() {
  local obstacle other
  is_published backendImage "$image" && is_published dashboardImage "$dashboard_image" || return 0
  if are_in_place || [[ $rehearse != true ]]; then return; fi
  obstacle=$(earlier_upgrade)
  if [[ -n $obstacle ]]; then
    echo "$obstacle"
  elif other=$(other_revision) && [[ -n $other ]]; then
    echo "dashboardImage: is not of revision $other, it should be that of the backend. npx pulumi up --stack $stack pulls both images, and names the right one"
  fi
}

# is_published SETTING IMAGE: whether the droplet has the image, or its registry does. Otherwise prints why not.
is_published() {
  local answer
  if docker image inspect "$2" > /dev/null 2>&1 || answer=$(timeout 30 docker manifest inspect "$2" 2>&1 > /dev/null); then return; fi
  answer=${answer%%$'\n'*}
  echo "$1: $2 cannot be pulled: ${answer:-its registry does not answer}. Set an image that is published: npx pulumi config set $1 REPOSITORY@DIGEST --stack $stack"
  return 1
}

# revision_of IMAGE: nothing if it was not pulled, or does not name it.
revision_of() { docker image inspect --format '{{index .Config.Labels "org.opencontainers.image.revision"}}' "$1" 2> /dev/null || true; }

# begin: lets only one restore, drill or rehearsal work, and removes what a killed one has left.
begin() {
  local patience=900
  [[ -z $begun ]] || return 0
  begun=1
  alone
  # shellcheck disable=SC2064 # expand the name now, while the variable exists
  trap "clean_up '$folder'" EXIT
  clean_up "$folder"
}

# leftover_containers: a droplet that was switched off meanwhile still has them.
leftover_containers() { docker ps --all --quiet --filter "name=^$COPY$" --filter "name=^$NETWORK$"; }

clean_up() {
  docker rm --force --volumes "$COPY" "$NETWORK" > /dev/null 2>&1 || true
  end_leftovers
  if mountpoint -q "$REHEARSAL/data"; then umount "$REHEARSAL/data" || umount --lazy "$REHEARSAL/data"; fi
  rm -rf --one-file-system "$REHEARSAL" "$1"
}

# require_pair: the protocol between the two images is private, so both must be of one revision.
require_pair() {
  local revision repository right
  if ! revision=$(other_revision); then
    say "the revisions of the two images are not compared, because the registry does not show them"
    return
  fi
  [[ -n $revision ]] || return 0
  repository=$(untagged "$dashboard_image")
  timeout 300 docker pull --quiet "$repository:$revision" > /dev/null 2>&1 || true
  right=$(docker image inspect --format '{{range .RepoDigests}}{{println .}}{{end}}' "$repository:$revision" 2> /dev/null | grep -F "$repository@") || true
  fail "dashboardImage: is not of revision $revision, it should be that of the backend. Set it with: npx pulumi config set dashboardImage ${right:-$repository@DIGEST} --stack $stack"
}

# other_revision: the revision of the backend's image, if the dashboard's is of another one; nothing if it is of the same. Fails if the registry
# does not show it. Only the backend's image names it, but both are published with it as their tag.
other_revision() {
  local revision published own
  revision=$(revision_of "$image")
  [[ $revision =~ ^[0-9a-f]{40}$ ]] || return
  published=$(manifest_of "$(untagged "$dashboard_image"):$revision") && own=$(manifest_of "$dashboard_image") || return
  # The digest is that of the manifest, or of one that it lists for this kind of processor.
  if [[ $published != "$own" && $published != *"${dashboard_image##*@}"* ]]; then echo "$revision"; fi
}

manifest_of() { timeout 30 docker manifest inspect "$1" 2> /dev/null; }

# untagged REFERENCE: the repository.
untagged() {
  local repository=${1%@*}
  if [[ ${repository##*/} == *:* ]]; then repository=${repository%:*}; fi
  echo "$repository"
}

rehearse() {
  local until before version bin status point
  bin=/usr/lib/postgresql/$(($(sql "SHOW server_version_num") / 10000))/bin
  require_room
  say "trying the new backend image on a copy of the data; meanwhile, $(what_serves)"
  copy_database
  copy_files
  start_copies
  until=$(beside_sql "$DATABASE" "SELECT coalesce(max(ts), 0) FROM documents")
  before=$(own_rows_of beside_sql "$DATABASE" "$until") || fail "the copy of the database: its documents cannot be read"
  # Behind `||`, it would go on after an error.
  set +e
  (
    set -e
    start_backend
    try
  )
  status=$?
  set -e
  tell_if_full
  ((status == 0)) \
    || fail "backendImage: did not pass on a copy of the data, see above. Nothing was changed, and $(what_serves). To keep the previous image: $(previous_images);" \
      "to use the new one anyway: $(give_up)"
  version=$(< "$REHEARSAL/version")
  clean_up "$folder"
  make_point
  write_upgrade
  say "the new backend image passes: version $version of the tables, ${before% *} documents unchanged${point:+, restore point $point}"
}

# what_serves: a new droplet has no backend yet.
what_serves() { if [[ $(docker inspect --format '{{.State.Running}}' "$container" 2> /dev/null) == true ]]; then echo "the previous backend serves"; else echo "no backend serves"; fi; }

# give_up: the commands that use the new image without a rehearsal.
give_up() { echo "npx pulumi config set rehearseImages false --stack $stack && npx pulumi up --stack $stack && npx pulumi config rm rehearseImages --stack $stack"; }

# room_needed: for the copy of the database, and for what the instance and the migrations may write meanwhile.
room_needed() { sql "SELECT (sum(pg_database_size(oid)) * 1.2)::bigint + 1024 * 1024 * 1024 + $RESERVE FROM pg_database"; }

require_room() {
  local needed free
  needed=$(room_needed)
  free=$(free_bytes "$MOUNTPOINT")
  ((free >= needed)) \
    || fail "$MOUNTPOINT: has $(human "$free") free, it should have $(human "$needed") to try the new backend image on a copy of the database." \
      "Nothing was changed. Grow the volume: npx pulumi config set volumeSizeGb $((($(blockdev --getsize64 "$(findmnt --noheadings --output SOURCE "$MOUNTPOINT")") + needed - free) / 1024 ** 3 + 2)) --stack $stack && npx pulumi up --stack $stack;" \
      "or use the image without a rehearsal: $(give_up)"
}

copy_database() {
  local said
  install -d -m 0711 "$folder"
  install -d -o postgres -g postgres -m 0700 "$folder/cluster" "$BESIDE"
  watch_space
  said=$(cd / && gently runuser -u postgres -- "$bin/pg_basebackup" --pgdata="$folder/cluster" --checkpoint=fast --no-sync --no-manifest --no-password 2>&1) || {
    tell_if_full
    fail "the database: cannot be copied, so nothing was changed. $(tail -n 1 <<< "$said"). To use the image without a rehearsal: $(give_up)"
  }
}

# copy_files: a layer takes what is written, and the files below it stay as they are.
copy_files() {
  install -d -m 0700 "$REHEARSAL" "$REHEARSAL/data" "$folder/upper" "$folder/work"
  chmod --reference="$MOUNTPOINT/data" "$folder/upper"
  mount -t overlay convex-rehearsal -o "lowerdir=$MOUNTPOINT/data,upperdir=$folder/upper,workdir=$folder/work" "$REHEARSAL/data" \
    || fail "the files: cannot be mounted below a layer, so nothing was changed. See: dmesg"
}

# start_copies: a network with nothing but a loopback, and in it a server for the copy of the database, with the name and the certificate
# of the real one.
start_copies() {
  local etc pid
  etc=/etc/postgresql/$(basename "${bin%/bin}")/main
  docker run --detach --name "$NETWORK" --network none --add-host host.docker.internal:127.0.0.1 --entrypoint sleep "$image" infinity > /dev/null \
    || fail "the new backend image: no container of it can be started, so nothing was changed"
  pid=$(docker inspect --format '{{.State.Pid}}' "$NETWORK")
  through=(nsenter --target "$pid" --net)
  cat > "$BESIDE/postgresql.conf" << EOF
data_directory = '$folder/cluster'
hba_file = '$BESIDE/pg_hba.conf'
ident_file = '$BESIDE/pg_ident.conf'
max_connections = $(sql "SHOW max_connections")
ssl = on
ssl_cert_file = '$etc/server.crt'
ssl_key_file = '$etc/server.key'
autovacuum = off
fsync = off
full_page_writes = off
EOF
  printf '%s\n' "local all postgres peer" "hostssl \"$DATABASE\" \"$role\" 127.0.0.1/32 scram-sha-256" > "$BESIDE/pg_hba.conf"
  : > "$BESIDE/pg_ident.conf"
  chown -R postgres:postgres "$BESIDE"
  serve_beside "$bin" "/proc/$pid/ns/net" -c listen_addresses=127.0.0.1 || fail "the copy of the database: its server does not start, see above. Nothing was changed"
}

start_backend() {
  local file options=()
  while IFS= read -r file; do options+=(--volume "$file:ro"); done <<< "$files"
  # The end of the migrations is at this level.
  (umask 077 && grep -v '^RUST_LOG=' <<< "$environment" > "$REHEARSAL/environment" && echo RUST_LOG=info >> "$REHEARSAL/environment")
  docker run --detach --name "$COPY" --network "container:$NETWORK" --env-file "$REHEARSAL/environment" --volume "$REHEARSAL/data:/convex/data" "${options[@]}" \
    --memory "${memory_mb}m" --memory-swap "${memory_mb}m" --oom-score-adj 1000 --cpu-shares 10 --log-driver json-file --log-opt max-size=10m --log-opt max-file=5 "$image" > /dev/null \
    || fail "the new backend image: no container of it can be started"
}

# try: checks the new backend on the copy; leaves the version of its tables in a file.
try() {
  local accepted_key after
  accepted_key=$(pass_gate "$COPY" 3210 "$name" "$key") || exit 1
  wait_until 3600 "the migrations to end" has_migrated
  require_query "$COPY" 3210 "$accepted_key"
  if is_in_buckets; then
    require_pause 3210 "$accepted_key"
    say "the files are in buckets, which the copy cannot reach, so no stored file was read"
  else
    require_write "$COPY" 3210 "$accepted_key"
    require_file 3210 beside_sql "$DATABASE"
  fi
  after=$(own_rows_of beside_sql "$DATABASE" "$until") || fail "the copy of the database: its documents cannot be read any more"
  [[ ${after% *} == "${before% *}" ]] \
    || fail "the new backend has lost documents: ${after% *} of ${before% *} are left. If cron jobs or scheduled functions of your app delete documents, it may be those: they run on the copy, too"
  [[ $after == "$before" ]] || fail "the new backend has changed documents that were there before"
}

# is_in_buckets: whether the backend has its files in buckets. Without a network, the copy can neither read nor change them.
is_in_buckets() { grep -q '^S3_STORAGE_FILES_BUCKET=' <<< "$environment"; }

has_migrated() {
  local log ahead
  log=$(docker logs "$COPY" 2>&1)
  if failed_migration <<< "$log" >&2; then fail "the new backend: a migration has failed, see above"; fi
  ahead=$(grep -o "persisted db metadata version is ahead.*" <<< "$log" | head -n 1) || true
  [[ -z $ahead ]] || fail "the new backend is older than the data: $ahead. Migrations only go forward. To go back with the data of a restore point from before the upgrade:" \
    "npx pulumi config set rehearseImages false --stack $stack && npx pulumi up --stack $stack && npm run restore -- --stack $stack --to POINT --yes && npx pulumi config rm rehearseImages --stack $stack"
  if has_ended "$COPY"; then
    show_log "$COPY" 1970-01-01
    fail "the new backend has ended, its last log lines are above"
  fi
  grep -o "db metadata version up to date at [0-9]*" <<< "$log" | tail -n 1 | grep -o "[0-9]*$" > "$REHEARSAL/version"
}

# has_backups: whether this volume has one in the bucket. Backups that the same run switches on do not have one yet, nor has a volume
# that was adopted or made from a snapshot. The cluster of a managed database keeps every moment itself.
has_backups() {
  local own
  [[ -e $REPOSITORY ]] || return 1
  if is_managed; then return 1; fi
  open_repository
  own=$(own_info) || give_up_point
  has_current_backup <<< "$own"
}

give_up_point() {
  fail "no restore point could be made before the upgrade, see above, so nothing was changed. Fix the cause and run $(pulumi_command up) again; or go on without: $(give_up)"
}

# make_point: sets `point`, if there are backups.
make_point() {
  point=
  has_backups || return 0
  bash "$here/../backups/point.sh" now || give_up_point
  point=$(jq -r .point "$MOUNTPOINT/backups/point.json")
}

# note_moment: DigitalOcean keeps every moment of seven days.
note_moment() {
  local moment version='' point=''
  moment=$(date --utc +%FT%TZ)
  write_upgrade "moment=$moment"
  say "the new backend image is not tried on a copy, because the database is managed; before it, the database can be restored to $moment: $(npm_command restore) --to $moment"
}

# write_upgrade [LINE...]: with the variables version and point.
write_upgrade() {
  local from
  # An image that was not accepted has used the data, too.
  from=$(image_of "$container")
  from=${from:-$(line_of "$MOUNTPOINT/upgrade" image)}
  put_file 0644 "$MOUNTPOINT/upgrade" < <(printf '%s\n' "image=$image" "from=${from:-$accepted}" "version=$version" "images=$(previous_images)" "point=$point" "$@")
  sync "$MOUNTPOINT/upgrade" "$MOUNTPOINT"
  # Of an upgrade whose undoing was interrupted.
  docker rm --force --volumes "$container-refused" > /dev/null 2>&1 || true
}

# previous_images: the commands that use the previous images again. A database that was restored does not say which one it had.
previous_images() {
  local before_dashboard
  [[ -n $accepted ]] || { echo "npx pulumi config set backendImage PREVIOUS_IMAGE --stack $stack && npx pulumi up --stack $stack" && return; }
  before_dashboard=$(image_of "$dashboard")
  echo "npx pulumi config set backendImage $accepted --stack $stack${before_dashboard:+ && npx pulumi config set dashboardImage $before_dashboard --stack $stack} && npx pulumi up --stack $stack"
}

main "$@"
