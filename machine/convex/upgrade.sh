# shellcheck shell=bash
# Which backend image this volume was last accepted with, the upgrade that is under way, and the last one that was undone. Sourced after
# common.sh.
#
#   MOUNTPOINT/image    the accepted image
#   MOUNTPOINT/upgrade  there from a passed rehearsal until the new backend is accepted, in lines name=value: image (the new one), from (the
#                       one that has used the data before), version (of the tables, after its migrations), images (commands that set the
#                       previous images, for people), point (the restore point from before; empty without backups), moment (from before, if
#                       the database is managed; then version is empty), and while going back, reason (why)
#   MOUNTPOINT/refused  the same of the upgrade that was undone

# accepted_image MOUNTPOINT CONTAINER: prints nothing if no backend was accepted yet. A droplet that an earlier release has set up has
# no file.
accepted_image() { cat "$1/image" 2> /dev/null || image_of "$2"; }

# image_of CONTAINER: the reference that it was created with.
image_of() { docker inspect --format '{{.Config.Image}}' "$1" 2> /dev/null || true; }

# same_image ONE OTHER: the digest decides, a tag before it has no effect.
same_image() { [[ ${1##*@} == "${2##*@}" ]]; }

# line_of FILE NAME: a value; nothing without the file.
line_of() { sed -n "s/^$2=//p" "$1" 2> /dev/null || true; }

# of_upgrade MOUNTPOINT CONTAINER NAME: a value of the upgrade, if it is one to this container's image.
of_upgrade() {
  [[ -e $1/upgrade ]] || return 0
  if same_image "$(line_of "$1/upgrade" image)" "$(image_of "$2")"; then line_of "$1/upgrade" "$3"; fi
}

# is_refused MOUNTPOINT IMAGE: whether the last upgrade that was undone was one to this image.
is_refused() { [[ -e $1/refused ]] && same_image "$(line_of "$1/refused" image)" "$2"; }

# is_going_back MOUNTPOINT: whether the upgrade is being undone.
is_going_back() { [[ -n $(line_of "$1/upgrade" reason) ]]; }

# tell_refused MOUNTPOINT: why, and what to do.
tell_refused() {
  local path=$1/refused stack
  stack=$(declared STACK)
  echo "backendImage: $(line_of "$path" image) was put in place and did not serve, so it was undone ($(line_of "$path" reason))." \
    "To keep the previous image: $(line_of "$path" images). If the cause was another one, to try this image again:" \
    "$(npm_command ssh) rm $path && npx pulumi up --stack $stack --refresh --run-program --replace '**convex-rehearsal'"
}

# accept_image MOUNTPOINT CONTAINER: ends the upgrade.
accept_image() {
  local image
  image=$(image_of "$2")
  [[ -n $image ]] || fail "$2: Docker does not say which image it has. See: docker inspect $2"
  put_file 0644 "$1/image" <<< "$image"
  rm -f "$1/upgrade"
  # While an upgrade is undone, the new image's container still exists.
  docker rm --force --volumes "$2-refused" > /dev/null 2>&1 || true
  if is_refused "$1" "$image"; then rm "$1/refused"; fi
}
