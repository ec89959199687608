# shellcheck shell=bash
# Where backups are, and how to read and write them: pgBackRest for PostgreSQL, restic for the backend's files and for dumps of a managed
# database, in one bucket.
# Sourced after common.sh and sql.sh. Both encrypt before anything leaves the machine.
#
# Each volume has a part of its own, named by its id (pgBackRest calls it a stanza). So nothing that a new or a restored volume
# writes can damage what an earlier one has written.
# shellcheck disable=SC2034,SC2154 # REPOSITORY_VALUES are the caller's variables

# The values that a repository needs, with the volume's id and how long to keep what.
readonly REPOSITORY_VALUES=(stanza repository_endpoint repository_region repository_bucket repository_key repository_key_secret
  repository_passphrase repository_authority backup_days)
readonly PGBACKREST=/etc/pgbackrest/pgbackrest.conf REPOSITORY=/etc/convex-droplet/backups.env
readonly REPOSITORY_AUTHORITY=/etc/convex-droplet/backups-authority.pem

# configure_repository MOUNTPOINT VERSION DATABASE VOLUME_GB: writes what both tools need, from the caller's REPOSITORY_VALUES. Without an endpoint,
# there are no backups, and backups.sh removes the files.
configure_repository() {
  local mountpoint=$1
  [[ -n $repository_endpoint ]] || return 0
  # The package of pgBackRest starts a server that nobody needs.
  put_mask pgbackrest.service
  install_packages pgbackrest restic jq
  # PostgreSQL's user passes through it to a drill's copy.
  put_folder 0711 root:root "$mountpoint/backups"
  if [[ -n $repository_authority ]]; then put_file 0644 "$REPOSITORY_AUTHORITY" <<< "$repository_authority"; fi
  put_secret root:postgres "$PGBACKREST" < <(pgbackrest_settings "$@")
  put_secret root:root "$REPOSITORY" < <(restic_settings "$@")
}

# require_version: PostgreSQL without a cluster of the package, for a restore or a drill on a droplet whose server is not set up, or managed.
require_version() {
  put_file 0644 /etc/postgresql-common/createcluster.conf <<< "create_main_cluster = false"
  install_packages postgresql
}

# configure_dumps MOUNTPOINT DATABASE...: the same for a managed server, whose log nobody else can archive. So dumps of these databases are
# kept with the files; the first database is Convex's.
configure_dumps() {
  local mountpoint=$1
  # For drills.
  require_version
  install_packages restic jq
  put_folder 0711 root:root "$mountpoint/backups"
  if [[ -n $repository_authority ]]; then put_file 0644 "$REPOSITORY_AUTHORITY" <<< "$repository_authority"; fi
  put_secret root:root "$REPOSITORY" < <(restic_settings "$mountpoint" "" "$2" && echo "DUMPED='${*:2}'")
}

# put_mask UNIT: keeps a unit from being started, also by its package.
put_mask() {
  local path=/etc/systemd/system/$1
  declare_files "$path"
  differs "units.$1 mask" /dev/null "$(readlink "$path" || kind_of "$path")" || return 0
  ln -sfn /dev/null "$path"
  changed "masked $1"
}

pgbackrest_settings() {
  local mountpoint=$1 version=$2 volume_gb=$4
  cat << EOF
[global]
repo1-type=s3
repo1-path=/postgres
repo1-s3-endpoint=$repository_endpoint
repo1-s3-bucket=$repository_bucket
repo1-s3-region=$repository_region
repo1-s3-key=$repository_key
repo1-s3-key-secret=$repository_key_secret
repo1-s3-uri-style=path
repo1-cipher-type=aes-256-cbc
repo1-cipher-pass=$repository_passphrase
repo1-bundle=y
repo1-block=y
# The newest full backup that is older than these days stays, and PostgreSQL's log since then.
repo1-retention-full=$backup_days
repo1-retention-full-type=time
EOF
  if [[ -n $repository_authority ]]; then echo "repo1-storage-ca-file=$REPOSITORY_AUTHORITY"; fi
  cat << EOF
compress-type=zst
# A bucket that does not answer is tried several times; with the usual minute for each, that takes nine.
io-timeout=20
process-max=1
# If so much waits, because the bucket cannot be reached or is too slow, the oldest is dropped, so that the volume does not fill. A twentieth of it.
archive-push-queue-max=$((volume_gb < 40 ? 1 : volume_gb / 20))GiB
log-level-console=warn
log-level-stderr=warn
log-level-file=off

[$stanza]
pg1-path=$mountpoint/postgresql/$version/main
EOF
}

restic_settings() {
  local mountpoint=$1 database=$3
  cat << EOF
STANZA=$stanza
MOUNTPOINT=$mountpoint
DATABASE=$database
BACKUP_DAYS=$backup_days
RESTIC_REPOSITORY=s3:https://$repository_endpoint/$repository_bucket/files
RESTIC_PASSWORD=$repository_passphrase
RESTIC_CACHE_DIR=$mountpoint/backups/cache
AWS_ACCESS_KEY_ID=$repository_key
AWS_SECRET_ACCESS_KEY=$repository_key_secret
AWS_DEFAULT_REGION=$repository_region
EOF
  if [[ -n $repository_authority ]]; then echo "RESTIC_CACERT=$REPOSITORY_AUTHORITY"; fi
}

# open_repository: exports what restic needs, and who and where this instance is.
open_repository() {
  [[ -e $REPOSITORY ]] || fail "$REPOSITORY: is not there, so this droplet has no backups. Switch them on with: $(pulumi_command "config set" backups spaces) && $(pulumi_command up)"
  set -a
  # shellcheck disable=SC1090 # written above
  source "$REPOSITORY"
  set +a
  : "${STANZA:?}" "${MOUNTPOINT:?}" "${DATABASE:?}" "${BACKUP_DAYS:?}"
}

# in_repository COMMAND...: one of pgBackRest's commands, as PostgreSQL's user.
in_repository() { as_postgres pgbackrest --stanza="$STANZA" "$@"; }

# attempt WHAT COMMAND...: runs a tool and passes on its stdout. If it fails, its last lines are shown and the cause is explained.
attempt() {
  local what=$1 log status=0
  log=$(mktemp)
  "${@:2}" 2> "$log" || status=$?
  # From timeout.
  if ((status == 124)); then echo "timed out" >> "$log"; fi
  if ((status != 0)); then
    tail -n 15 "$log" >&2
    say "error: $what: failed. $(explain < "$log")"
    rm "$log"
    return 1
  fi
  rm "$log"
}

# explain <LOG: the cause and the fix of a tool's failure.
explain() {
  local log pattern text
  log=$(cat)
  while IFS='|' read -r pattern text; do
    if grep -Eqi -- "${pattern//;/|}" <<< "$log"; then
      echo "$text"
      return
    fi
  done << EOF
No space left on device|The disk is full. Make room on it, or grow the volume with volumeSizeGb
NoSuchBucket;specified bucket does not exist|The bucket is not there. See backupBucket and backupEndpoint
InvalidAccessKeyId;ExpiredToken;SignatureDoesNotMatch;UserNotFound;Access ?Denied;403 \(Forbidden\)|The bucket refuses the access key: it was deleted, has expired, or has no right to this bucket. If the stack makes it, run $(pulumi_command up --refresh --run-program), otherwise set backupAccessKey and backupSecretKey
wrong password or no key found|The files' backups are encrypted with another secret than this stack's. Use the secret of the stack that made them
wrong cipher-pass|The database's backups are encrypted with another secret than this stack's. Use the secret of the stack that made them
repository does not exist|There are no files' backups at this place in the bucket. See backupBucket and backupEndpoint
certificate;x509|The bucket's certificate is not trusted. See backupEndpoint and backupAuthority
timeout;timed out;HostConnectError;TLS error;connection refused;no such host;unable to get address|The bucket cannot be reached from the droplet. See backupEndpoint, and the network
requested timeline .* is not a child;unexpected timeline|The write-ahead log in the bucket does not lead to this moment. Choose another restore point
CryptoError;invalid checksum;checksum mismatch;error restoring;does not match;ChecksumError;ciphertext verification failed;FormatError;Pack ID;Damaged pack;contains errors;corrupt;unexpected EOF;invalid data;failed to load;decrypt|An object in the bucket is damaged. Choose a restore point that uses another backup, and make a new backup now
recovery ended before configured recovery target was reached|The write-ahead log in the bucket ends before this moment: a segment is missing. Choose an earlier restore point, and make a new backup now
requested recovery stop point is before consistent recovery point|The moment is before the end of its backup. Choose a later one
FileMissingError;missing file;NoSuchKey;key does not exist;does not exist;not found|An object is missing in the bucket. Choose a restore point that uses another backup, and make a new backup now
unable to acquire lock;already locked|Another backup, restore or drill is at work. Wait until it has ended
EOF
  echo "The cause is in the lines above"
}

# repository_info: all stanzas of the bucket, as pgBackRest describes them. Without the right secret or key it exits with 0 and
# reports the problem in its output, in which line breaks are not encoded.
repository_info() {
  local info problem
  info=$(attempt "the database's backups" as_postgres pgbackrest info --output=json --log-level-stderr=warn) || return
  problem=$(python3 -IS -c '
import json, sys
for stanza in json.loads(sys.stdin.read(), strict=False):
    for repository in stanza["repo"]:
        if repository["status"]["code"] not in (0, 1, 2):
            print(stanza["name"] + ": " + repository["status"]["message"])' <<< "$info")
  if [[ -n $problem ]]; then
    printf '%s\n' "$problem" >&2
    # The first file that it reads is encrypted, too.
    if grep -q '^.*\[\(CryptoError\|FormatError\)\]' <<< "$problem"; then problem="wrong cipher-pass"; fi
    fail "the database's backups: cannot be read. $(explain <<< "$problem")"
  fi
  printf '%s\n' "$info"
}

# own_info: only this volume's stanza.
own_info() {
  local info
  info=$(repository_info) || return
  jq -c --arg stanza "$STANZA" 'map(select(.name == $stanza))' <<< "$info"
}

# has_backup <INFO: whether any of these stanzas has a backup.
has_backup() { grep -q '"label"'; }

# current_backups <INFO: the stanza's backups of the present cluster, as JSON. After a migration to another version of PostgreSQL, or a
# restore from another volume, it also has those of the cluster before, to which the present one's log does not fit.
current_backups() { jq -c '.[0] | .db[-1].id as $id | [.backup[]? | select(.database.id == $id)]'; }

has_current_backup() { current_backups | has_backup; }

# archive_failure: why PostgreSQL's log did not reach the bucket when it was last tried, in a sentence. The first line of an error of
# pgBackRest is general; the next ones contain the cause, until PostgreSQL's next message.
archive_failure() {
  tail -qn 500 /var/log/postgresql/postgresql-*.log \
    | awk '/^(P00 +)?ERROR: \[[0-9]+\]/ {text = ""; inside = 1} /^[0-9]+-[0-9]+-[0-9]+ / {inside = 0} inside {text = text $0 "\n"} END {printf "%s", text}' | explain
}
