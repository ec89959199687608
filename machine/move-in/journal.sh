# shellcheck shell=bash
# The journal of a swap by move-in.sh, on the volume. It is there from before the first change until the backend is accepted, and so is a
# unit that goes on at boot. Sourced after common.sh and swap.sh, by move-in.sh and by restore.sh, which may undo a swap that is in place.
#
#   stamp, database, also (further databases that go with it), container, request (in words) and point (the last restore point before it, or nothing), in lines name=value
# shellcheck disable=SC2154 # the caller has set MOUNTPOINT

readonly RESUME=/etc/systemd/system/convex-move-in.service

swapping() { echo "$MOUNTPOINT/backups/move-in.journal"; }

in_journal() { sed -n "s/^$1=//p" "$(swapping)"; }

# is_swapped: whether database and files of the swap are both in place, because the files come last.
is_swapped() { [[ ! -e $MOUNTPOINT/data.moving ]]; }

# swap_again: the command that finishes the swap.
swap_again() {
  local request
  request=$(in_journal request)
  case $request in
    reset) echo "$(npm_command reset) --yes" ;;
    "restore to "*) echo "$(npm_command restore) --to ${request#restore to } --yes" ;;
    "copy of stack "*" to "*)
      request=${request#copy of stack }
      echo "$(npm_command restore) --from ${request%% to *} --to ${request##* to } --yes"
      ;;
    *) echo "$(npm_command move-in) --cut-over --yes, with the other options that it had" ;;
  esac
}

# end_swap: removes journal and unit.
end_swap() {
  rm -f "$(swapping)"
  # An end that was interrupted may have removed it.
  if [[ -e $RESUME ]]; then systemctl disable --quiet "${RESUME##*/}"; fi
  rm -f "$RESUME"
  systemctl daemon-reload
}
