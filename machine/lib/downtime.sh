# shellcheck shell=bash
# How long an instance on a volume did not serve, when another droplet takes it over. Sourced after common.sh and on-volume.sh.

# Since when, in seconds since 1970. In /run, because it is only of interest in the run that starts the database.
readonly STOPPED=/run/convex-droplet-stopped

# note_stop MOUNTPOINT CLUSTER: before the database starts. PostgreSQL writes its control file at each checkpoint, of which the
# last one is that of a shutdown.
note_stop() { if [[ -e $(mark_of "$1") ]]; then stat --format %Y "$2/global/pg_control" > "$STOPPED"; fi; }

# tell_downtime: once the backend serves. Does not print it again, even if nobody hears it.
tell_downtime() {
  [[ -e $STOPPED ]] || return 0
  say "the backend serves again, $(($(date +%s) - $(cat "$STOPPED"))) s after its database stopped (less, if it crashed)"
  rm -f "$STOPPED"
}
