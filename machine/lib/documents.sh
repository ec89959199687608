# shellcheck shell=bash
# Questions about the documents in a backend's database. Sourced after sql.sh. Each takes a function that asks a server, SQL DATABASE
# STATEMENT, such as in_database.

# The documents that are there (`live`), and the ids of the backend's own tables (`system`). The backend names a table by the id of its row
# in _tables. Its table of stored files counts as the app's. What is sorted has no contents, because it would need as much space again.
readonly LIVE_AND_SYSTEM="live AS (
  SELECT table_id, id FROM (
    SELECT DISTINCT ON (table_id, id) table_id, id, deleted FROM documents ORDER BY table_id, id, ts DESC) AS newest
  WHERE NOT deleted),
system AS (
  SELECT substring(sha256(name::bytea) FOR 16) AS id FROM unnest(ARRAY['_db', '_environment_variables', '_backend_state', '_canonical_urls', '_pushes']) AS name
  UNION
  SELECT id FROM documents
  WHERE CASE WHEN NOT deleted AND position('\"_'::bytea IN json_value) > 0
    THEN (convert_from(json_value, 'UTF8')::json ->> 'name') ~ '^_' AND (convert_from(json_value, 'UTF8')::json ->> 'name') <> '_file_storage'
      AND (convert_from(json_value, 'UTF8')::json ->> 'number') IS NOT NULL END)"

# The rows of all _file_storage tables (`stored`), of which each component of an app has one.
readonly STORED="tables AS (
  SELECT substring(sha256('_file_storage') FOR 16) AS id
  UNION
  SELECT id FROM documents
  WHERE CASE WHEN position('\"_file_storage\"'::bytea IN json_value) > 0 THEN convert_from(json_value, 'UTF8')::jsonb ->> 'name' = '_file_storage' END),
stored AS (
  SELECT * FROM (
    SELECT DISTINCT ON (table_id, id) table_id, ts, convert_from(json_value, 'UTF8')::jsonb AS value, deleted
    FROM documents WHERE table_id IN (SELECT id FROM tables) ORDER BY table_id, id, ts DESC) AS newest
  WHERE NOT deleted AND value ? 'sha256')"

# has_documents SQL DATABASE: prints something if a backend has used the database.
has_documents() { "$1" "$2" "SELECT to_regclass('documents')"; }

# rows_in SQL DATABASE: the number of versions and the newest one's time.
rows_in() {
  local documents
  documents=$(has_documents "$@") || return
  [[ -n $documents ]] || { echo "0 0" && return; }
  "$1" "$2" "SELECT count(*) || ' ' || coalesce(max(ts), 0) FROM documents"
}

# own_rows SQL DATABASE: how many documents are not the backend's own.
own_rows() {
  local documents
  documents=$(has_documents "$@") || return
  [[ -n $documents ]] || { echo 0 && return; }
  "$1" "$2" "WITH $LIVE_AND_SYSTEM SELECT count(*) FROM live WHERE table_id NOT IN (SELECT id FROM system)"
}

# own_rows_of SQL DATABASE TS: how many of these documents were there at a time and still are, and the checksum of what they were then.
own_rows_of() {
  "$1" "$2" "
WITH $LIVE_AND_SYSTEM,
past AS (
  SELECT DISTINCT ON (table_id, id) table_id, id, deleted, hash_record_extended(version, 0) AS hash
  FROM documents AS version WHERE ts <= $3 ORDER BY table_id, id, ts DESC)
SELECT count(*) || ' ' || coalesce(sum(hash::numeric), 0) FROM past JOIN live USING (table_id, id)
WHERE NOT past.deleted AND table_id NOT IN (SELECT id FROM system)"
}

# stored_rows SQL DATABASE: the documents of the stored files.
stored_rows() {
  local documents
  documents=$(has_documents "$@") || return
  [[ -z $documents ]] || "$1" "$2" "WITH $STORED SELECT value FROM stored"
}

# newest_files SQL DATABASE: of the newest stored file of each component, its storage id and its SHA-256, on each line.
newest_files() {
  "$1" "$2" "
WITH $STORED
SELECT DISTINCT ON (table_id) value ->> 'storageId' || ' ' ||
  encode(decode(coalesce(value -> 'sha256' ->> '\$bytes', value ->> 'sha256'), 'base64'), 'hex')
FROM stored ORDER BY table_id, ts DESC"
}

# stored_after SQL DATABASE SECONDS: how many stored files are newer than a moment.
stored_after() {
  local documents
  documents=$(has_documents "$@") || return
  [[ -n $documents ]] || { echo 0 && return; }
  "$1" "$2" "WITH $STORED SELECT count(*) FROM stored WHERE ts > $3 * 1000000000"
}

# The newest document about the database itself (`globals`).
readonly GLOBALS="globals AS (
  SELECT value FROM (
    SELECT ts, convert_from(json_value, 'UTF8')::jsonb AS value FROM documents
    WHERE position('\"awsPrefixSecret\"'::bytea IN json_value) > 0 AND position('\"storageType\"'::bytea IN json_value) > 0) AS all_globals
  WHERE value ? 'awsPrefixSecret' ORDER BY ts DESC LIMIT 1)"

# version_in SQL DATABASE: the version of the backend's tables; nothing before its first start.
version_in() {
  local documents
  documents=$(has_documents "$@") || return
  [[ -z $documents ]] || "$1" "$2" "
WITH $GLOBALS
SELECT get_byte(bytes, 0) + get_byte(bytes, 1) * 256 FROM (
  SELECT decode(value -> 'version' ->> '\$integer', 'base64') AS bytes FROM globals) AS newest"
}

# prefix_in SQL DATABASE: what the names of the instance's objects begin with, if it has its files in buckets; otherwise nothing.
prefix_in() {
  local documents
  documents=$(has_documents "$@") || return
  [[ -z $documents ]] || "$1" "$2" "WITH $GLOBALS SELECT coalesce(value -> 'storageType' ->> 's3Prefix', '') FROM globals"
}
