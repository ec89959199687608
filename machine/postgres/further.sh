# shellcheck shell=bash
# Further databases, beside the backend's: who may connect to them, and the logical replication of those that have it. Sourced by
# postgres.sh; facts.sh uses replicated_in. They are lines: a name, which the owner has, too, and the words shadow and replication.
#
# A server that has a logical slot does not start without wal_level = logical. So the volume has a note of the databases that may have
# slots, from before the first one can be made until the last one is dropped, whatever is killed meanwhile.

# For all of them together.
readonly SLOTS=16

# replicated_in DATABASES: the names of those with replication, sorted.
replicated_in() { sed -n 's/ .*\<replication\>.*//p' <<< "$1" | sort; }

note_of_replication() { echo "$1/postgresql/replicating"; }

# further_rules DATABASES SUBNET: lines of pg_hba.conf. On the socket, to which `npm run tunnel` leads, the owner needs its password, too.
further_rules() {
  local name options databases
  while read -r name options; do
    [[ -n $name ]] || continue
    databases="\"$name\""
    if [[ " $options " == *" shadow "* ]]; then databases+=",\"${name}_shadow\""; fi
    printf '%s\n' "local   $databases  \"$name\"               scram-sha-256" "hostssl $databases  \"$name\"  $2      scram-sha-256"
  done <<< "$1"
}

# replication_settings VOLUME_GB: a slot whose consumer is away for too long is given up before the log that it keeps fills the volume. All of
# them together keep no more than one of them may, because they keep the same log.
replication_settings() {
  cat << EOF
wal_level = logical
max_replication_slots = $SLOTS
# Also for the copy that a new backend image is tried on.
max_wal_senders = $((SLOTS + 4))
max_slot_wal_keep_size = '$(($1 < 40 ? 1 : $1 / 20))GB'
EOF
}

# begin_replication MOUNTPOINT DATABASES: sets `replicating`, the databases that have slots or may get some. In check mode, those that
# are declared.
begin_replication() {
  local note
  note=$(note_of_replication "$1")
  replicating=$(replicated_in "$2")
  if [[ -z $replicating ]]; then differs "files[$note]" nothing "$(kind_of "$note")" || return 0; fi
  if [[ -e $note ]] && ! checking; then
    replicating=$(printf '%s\n' "$replicating" "$(< "$note")" | sed '/^$/d' | sort -u)
  fi
  put_file 0644 "$note" <<< "$replicating"
}

# end_replication MOUNTPOINT DATABASES COMMAND...: drops the slots of the databases that have no replication any more. Then runs the
# command, which configures the server without them; it sees the variables here, so their names are no one else's.
end_replication() {
  local note declared ended others
  note=$(note_of_replication "$1") declared=$(replicated_in "$2")
  [[ $replicating != "$declared" ]] || return 0
  while read -r ended; do end_slots "$ended"; done < <(comm -23 <(echo "$replicating") <(echo "$declared"))
  others=$(sql "SELECT string_agg(format('%s in %s', slot_name, database), ', ') FROM pg_replication_slots WHERE slot_type = 'logical'")
  [[ -n $declared || -z $others ]] \
    || fail "PostgreSQL: has the logical replication slots $others, which no setting declares, so it would not start without wal_level logical." \
      "Drop each with: SELECT pg_drop_replication_slot('NAME'); then run $(pulumi_command up) again"
  replicating=$declared
  "${@:3}"
  # As the last step, because until then a killed run has to come here again.
  if [[ -n $declared ]]; then
    put_file 0644 "$note" <<< "$declared"
  else
    rm "$note"
    changed "switched off logical replication"
  fi
}

# end_slots DATABASE: its consumer would make a slot again at once, so its owner may not any more. The stack's tools change the role, too.
end_slots() {
  sql "SELECT format('ALTER ROLE %I NOREPLICATION', rolname) FROM pg_roles WHERE rolname = '$1' AND rolreplication" | sql > /dev/null
  [[ -n $(slots_of "$1") ]] || return 0
  say "dropping the replication slots of database $1: $(slots_of "$1" | paste -sd ' ')"
  wait_until 60 "the replication slots of database $1 to be dropped" drop_slots "$1" || fail "database $1: its replication slots cannot be dropped. Run $(pulumi_command up) again"
  changed "dropped the replication slots of database $1"
}

slots_of() { sql "SELECT slot_name FROM pg_replication_slots WHERE database = '$1' ORDER BY 1"; }

# drop_slots DATABASE: succeeds once all are gone. The processes that use them take a moment to end.
drop_slots() {
  sql "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = '$1' AND active" > /dev/null
  sql "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '$1' AND NOT active" > /dev/null || return
  [[ -z $(slots_of "$1") ]]
}
