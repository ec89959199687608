#!/usr/bin/env bash
# PostgreSQL's archive_command: sends one file of its log (WAL) to the repository. Not in the background, because pgBackRest 2.55
# does not bound what waits in that mode (https://github.com/pgbackrest/pgbackrest/issues/2629). If too much waits, pgBackRest drops
# the file. A restore cannot pass this gap, so the next restore point first starts a new backup behind it.
#
#   archive.sh COMMAND...   (it contains pgbackrest, because pgBackRest looks for this word in the setting)
set -euo pipefail
status=0
said=$("$@" 2>&1) || status=$?
if [[ -n $said ]]; then printf '%s\n' "$said" >&2; fi
if ((status == 0)) && [[ $said == *"dropped WAL file"* ]]; then : > convex-archive-gap; fi
exit "$status"
