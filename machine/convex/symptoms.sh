# shellcheck shell=bash
# Messages in the log of a backend that does not start, with their causes and fixes. Sourced after common.sh and sql.sh.

UP=$(pulumi_command up --refresh --run-program)
readonly UP
# What sets the server up, or the way to a managed one.
SERVER="'**$(by_place convex-server convex-database-client)'"
readonly SERVER
# With a refresh, because somebody may have made the container by hand; with the rehearsal, because it would also get a new image.
readonly MAKE_BACKEND="$UP --target '**convex-backend' --target '**convex-rehearsal' --target-dependents --replace '**convex-backend'"

# explain_symptoms <LOG: for each symptom found, one line with its cause and its fix.
explain_symptoms() {
  local log
  log=$(cat)
  symptom "$log" "cluster url already contains db name" \
    "POSTGRES_URL names a database; the backend derives it from the instance name" \
    "recreate the container, with the right URL: $MAKE_BACKEND"
  symptom "$log" "server does not support TLS" \
    "the backend requires TLS, and PostgreSQL does not offer it" \
    "run $(pulumi_command up --replace "$SERVER"), which switches it on again"
  symptom "$log" "invalid peer certificate: (Expired|certificate expired)" \
    "PostgreSQL's certificate has expired" \
    "run $(pulumi_command up --replace "$SERVER"), which renews it and writes it again"
  symptom "$log" "invalid peer certificate: (NotValidYet|certificate not valid yet)" \
    "PostgreSQL's certificate is not valid yet: the droplet's clock is behind that of the computer that made it" \
    "set the clock that is wrong, for the droplet see timedatectl; then run $(pulumi_command up --replace "'**convex-postgres-authority'"), which makes another certificate"
  symptom "$log" "invalid peer certificate: (certificate not valid for name|Bad|CaUsed|Invalid|NotValidForName|Other|Unhandled|Unknown|Unsupported)|Failed to (read|parse) CA file" \
    "the backend does not trust PostgreSQL's certificate" \
    "write the certificate again, and recreate the container: $UP --target $SERVER --target '**convex-backend' --target '**convex-rehearsal' --target-dependents --replace $SERVER --replace '**convex-backend'"
  symptom "$log" 'database "[^"]*" does not exist' \
    "the database named after the instance is missing; it was dropped, or the instance was renamed" \
    "if it contained data, restore its backup; to create an empty one: $UP --target '**convex-database' --target '**convex-privacy' --target-dependents --replace '**convex-privacy'"
  symptom "$log" "failed to lookup address|Temporary failure in name resolution|Name or service not known" \
    "$(by_place "the container does not know host.docker.internal: somebody made it without that name, or disconnected it from its network" \
      "the name of the managed database is not resolved: the cluster is gone, or the droplet's name servers do not answer")" \
    "$(by_place "recreate the container: $MAKE_BACKEND" "run $(pulumi_command up --replace "$SERVER"), which says what is wrong with it")"
  symptom "$log" "[Cc]onnection refused" \
    "PostgreSQL does not listen where the container looks for it" \
    "run $(pulumi_command up --replace "$SERVER"), which $(by_place "starts it again; to see where it listens: ss -ltn 'sport = :5432'" "says what is wrong with it")"
  symptom "$log" "no pg_hba.conf entry" \
    "PostgreSQL's host rules do not admit the container's address, role or database" \
    "run $(pulumi_command up --replace "$SERVER"), which writes the rules again"
  symptom "$log" "password authentication failed" \
    "the role's password is not the one in the stack's state" \
    "run $(pulumi_command up --replace "'**convex-password'"), which sets a new one"
  symptom "$log" "remaining connection slots" \
    "all connections of the server are in use" \
    "lower postgresPoolSize, or find out who else connects: SELECT usename, count(*) FROM pg_stat_activity GROUP BY 1"
  symptom "$log" "Already acquired with higher timestamp|Lease Lost" \
    "another backend writes to the same database, or this machine's clock went back" \
    "stop the other backend; for the clock see timedatectl"
  symptom "$log" "Database was initialized with" \
    "the instance has its files somewhere else than fileStorage says, and a backend keeps the storage of its first start" \
    "set fileStorage back to what it was, see docs/file-storage.md, and run $UP"
  symptom "$log" "Cannot use s3 storage path" \
    "the files in the buckets belong to an instance with another name" \
    "set instanceName back to what it was, the start of that path, and run $UP"
  symptom "$log" "No AWS credentials were found" \
    "the backend has the variables of its buckets, but no key for them" \
    "recreate the container, with all variables: $MAKE_BACKEND"
  symptom "$log" "NoSuchBucket|InvalidAccessKeyId|SignatureDoesNotMatch" \
    "a bucket with the backend's files is gone, or refuses its key" \
    "run $(pulumi_command up --refresh --run-program --replace "'**convex-buckets'"), which names the bucket"
  symptom "$log" "Transition too old" \
    "the image is too new for data this old" \
    "start an older image first, which migrates the data part of the way"
  symptom "$log" "No space left on device" \
    "a disk is full" \
    "see df -h; grow the volume with volumeSizeGb"
}

# symptom LOG PATTERN CAUSE FIX
symptom() {
  if grep -Eq -- "$2" <<< "$1"; then printf 'cause: %s\n  fix: %s\n' "$3" "$4"; fi
}
