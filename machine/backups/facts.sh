# shellcheck shell=bash
# The facts about the backups, each one JSON object. Sourced by inspect.sh. Nothing asks the bucket. Times are seconds since 1970.
#
# With files in buckets, there is also objects. With a managed database, there is no base and no backups.archive, and the point is one of dumps.
#
#   backups.jobs        now, and for each of point, base and drill: last (its record on the volume; null if it never ran), since (the
#                       timer's start; null if it is not active), running, result (systemd's, of the last run), ended (of the
#                       last run, or null), cause (the last error after `last`, or empty)
#   backups.archive     now, archived and failed (PostgreSQL's last success and failure), wal (the file that failed), failures,
#                       waiting (how many files wait), oldest (the first of them), gap (whether files were dropped), cause
#   backups.restores    phase, request and to of an unfinished restore, or null; running (whether a restore or drill is at
#                       work), kept (folders that restores have replaced)

# What `explain` says if it knows no cause. Whoever reads a fact does not see these lines.
readonly UNEXPLAINED="The cause is in the lines above"

# backups_facts VALUES: nothing without a repository.
backups_facts() {
  local mountpoint
  [[ -n $(value_in "$1" repository_endpoint) ]] || return 0
  mountpoint=$(value_in "$1" mountpoint)
  fact backups.jobs tell_jobs "$mountpoint"
  if ! is_managed; then fact backups.archive tell_archive "$mountpoint"; fi
  fact backups.restores tell_restores "$mountpoint"
}

tell_jobs() {
  {
    if is_managed; then
      tell_job "$1" point convex-dump dump
    else
      tell_job "$1" point convex-restore-point
      tell_job "$1" base convex-base-backup
    fi
    if [[ -e /etc/systemd/system/convex-objects.timer ]]; then tell_job "$1" objects convex-objects; fi
    tell_job "$1" drill convex-drill
  } | jq -sc --argjson now "$(date +%s)" 'add + {$now}'
}

# tell_job MOUNTPOINT NAME UNIT [SCRIPT]
tell_job() {
  local last since='' running=false ended cause from
  last=$(jq -ce . "$1/backups/$2.json" 2> /dev/null) || last=null
  if [[ $(of_unit "$3.timer" ActiveState) == active ]]; then since=$(of_unit "$3.timer" ActiveEnterTimestamp); fi
  if [[ $(of_unit "$3.service" ActiveState) == activating ]]; then running=true; fi
  ended=$(of_unit "$3.service" ExecMainExitTimestamp)
  from=$(jq -r --argjson since "${since:-null}" '(.at? // .started? | fromdate?) // $since // empty' <<< "$last")
  # Only lines of the script itself: those of the tools may contain more than a person needs.
  cause=$(timeout 5 journalctl --quiet --output cat --unit "$3.service" ${from:+--since "@$from"} | sed -n "s/^${4:-$2}\.sh: error: //p" | tail -n 1)
  cause=${cause% "$UNEXPLAINED"}
  jq -nc --arg name "$2" --argjson last "$last" --argjson since "${since:-null}" --argjson running "$running" \
    --arg result "$(of_unit "$3.service" Result)" --argjson ended "${ended:-null}" --arg cause "$cause" \
    '{($name): {$last, $since, $running, $result, $ended, $cause}}'
}

# of_unit UNIT PROPERTY: a time is in seconds since 1970, or empty.
of_unit() {
  local value
  value=$(timeout 5 systemctl show --timestamp=unix --property "$2" --value "$1")
  echo "${value#@}"
}

tell_archive() {
  local status waiting gap=false folder
  # shellcheck disable=SC2016 # of the inner shell
  status=$(timeout 5 bash -c 'source "$0" && sql "$1"' "$SCRIPTS/lib/sql.sh" "SELECT json_build_object('archived', floor(extract(epoch FROM last_archived_time)),
    'failed', floor(extract(epoch FROM last_failed_time)), 'wal', last_failed_wal, 'failures', failed_count) FROM pg_stat_archiver" 2> /dev/null) \
    || status='{"archived": null, "failed": null, "wal": null, "failures": 0}'
  for folder in "$1"/postgresql/*/main; do
    if [[ -e $folder/convex-archive-gap ]]; then gap=true; fi
  done
  waiting=$(find "$1"/postgresql/*/main/pg_wal/archive_status -name '*.ready' -printf '%Ts\n' 2> /dev/null | sort -n)
  jq -nc --argjson status "$status" --arg cause "$(why_not_archived)" --arg waiting "$waiting" --argjson gap "$gap" --argjson now "$(date +%s)" \
    '[$waiting | scan("\\d+") | tonumber] as $times
    | $status + {$now, waiting: ($times | length), oldest: $times[0], $gap, $cause}'
}

# why_not_archived: the explanation of the last failure in PostgreSQL's log; empty if there is none.
why_not_archived() (
  # shellcheck source=machine/backups/repository.sh
  source "$SCRIPTS/backups/repository.sh"
  archive_failure 2> /dev/null | sed "/^$UNEXPLAINED/d" || true
)

tell_restores() {
  local running=false kept journal=$1/backups/restore.journal
  # Not by taking its lock, because a restore that begins at this moment would stop.
  if find /proc/[0-9]*/fd -lname /run/convex-droplet-beside.lock 2> /dev/null | grep -q .; then running=true; fi
  kept=$(find "$1" "$1"/postgresql/*/ -mindepth 1 -maxdepth 1 -type d \( -name 'data.before-[0-9]*' -o -name 'main.before-[0-9]*' \) 2> /dev/null | sort)
  jq -nc --arg phase "$(in_journal phase "$journal")" --arg request "$(in_journal request "$journal")" --arg to "$(in_journal to "$journal")" \
    --argjson running "$running" --arg kept "$kept" \
    '{phase: (if $phase == "" then null else $phase end), $request, $to, $running, kept: [$kept | scan("[^\n]+")]}'
}

in_journal() { if [[ -e $2 ]]; then sed -n "s/^$1=//p" "$2"; fi; }
