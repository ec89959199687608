# shellcheck shell=bash
# Which backend image this volume was last accepted with, and the upgrade that is under way. Sourced after common.sh.
#
#   MOUNTPOINT/image    the accepted image
#   MOUNTPOINT/upgrade  there from a passed rehearsal until the new backend is accepted, in lines name=value: image (the new one), version
#                       (of the tables, after its migrations), back (how to go back, for people)

# accepted_image MOUNTPOINT CONTAINER: prints nothing if no backend was accepted yet. A droplet that an earlier release has set up has
# no file.
accepted_image() { cat "$1/image" 2> /dev/null || image_of "$2"; }

# image_of CONTAINER: the reference that it was created with.
image_of() { docker inspect --format '{{.Config.Image}}' "$1" 2> /dev/null || true; }

# same_image ONE OTHER: the digest decides, a tag before it has no effect.
same_image() { [[ ${1##*@} == "${2##*@}" ]]; }

# of_upgrade MOUNTPOINT CONTAINER NAME: a value of the upgrade, if it is one to this container's image.
of_upgrade() {
  [[ -e $1/upgrade ]] || return 0
  if same_image "$(sed -n 's/^image=//p' "$1/upgrade")" "$(image_of "$2")"; then sed -n "s/^$3=//p" "$1/upgrade"; fi
}

# accept_image MOUNTPOINT CONTAINER: ends the upgrade.
accept_image() {
  local image
  image=$(image_of "$2")
  [[ -n $image ]] || fail "$2: Docker does not say which image it has. See: docker inspect $2"
  put_file 0644 "$1/image" <<< "$image"
  rm -f "$1/upgrade"
}
