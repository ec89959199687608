-- The facts about the PostgreSQL server, as the records that inspect.sh prints. Values that may be secret are left out.
-- Variables: changed (the last change of a configuration file, in seconds since 1970), and replicated (the databases with
-- logical replication, with commas).
\pset tuples_only on
\pset format unaligned
\pset fieldsep_zero
\pset recordsep_zero

SELECT 'fact', 'postgres.settings', 0, coalesce(jsonb_agg(to_jsonb(s) ORDER BY name), '[]')
FROM (
  SELECT name, CASE WHEN name ~ 'conninfo|passphrase' THEN '(hidden)' ELSE current_setting(name) END AS setting,
    source, sourcefile, sourceline, pending_restart,
    -- The file with the value that waits for a restart: if a setting is set twice, the last one.
    (SELECT f.sourcefile FROM pg_file_settings AS f WHERE f.name = pg_settings.name ORDER BY seqno DESC LIMIT 1) AS pending_file
  FROM pg_settings WHERE source NOT IN ('default', 'client', 'session')
) AS s;

-- With the text of each rule from its file.
SELECT 'fact', 'postgres.hba', 0, coalesce(jsonb_agg(to_jsonb(r) ORDER BY rule_number, file_name, line_number), '[]')
FROM (
  SELECT rule_number, file_name, line_number, type, database, user_name, address, netmask, auth_method, error,
    coalesce(regexp_replace((string_to_array(pg_read_file(file_name, true), E'\n'))[line_number],
      '(passwd|secrets)=("[^"]*"|\S+)', '\1=(hidden)', 'g'), '') AS line
  FROM pg_hba_file_rules
) AS r;

SELECT 'fact', 'postgres.loaded', 0, extract(epoch FROM pg_conf_load_time()) || ' ' || :'changed';

SELECT 'fact', 'postgres.roles', 0, jsonb_agg(to_jsonb(r) ORDER BY name)
FROM (
  SELECT rolname AS name, rolsuper AS superuser, rolcreatedb AS createdb, rolcreaterole AS createrole, rolcanlogin AS login,
    rolreplication AS replication, rolbypassrls AS bypassrls, rolinherit AS inherit, rolconnlimit AS connection_limit,
    rolvaliduntil AS valid_until, coalesce(rolpassword LIKE 'SCRAM-SHA-256$%', false) AS scram,
    rolpassword IS NOT NULL AS password,
    ARRAY(SELECT pg_get_userbyid(roleid) FROM pg_auth_members WHERE member = a.oid ORDER BY 1) AS member_of
  FROM pg_authid AS a WHERE rolname !~ '^pg_'
) AS r;

SELECT 'fact', 'postgres.databases', 0, jsonb_agg(to_jsonb(d) ORDER BY name)
FROM (
  SELECT datname AS name, pg_get_userbyid(datdba) AS owner, datacl::text AS acl, pg_encoding_to_char(encoding) AS encoding,
    datcollate AS collate, datctype AS ctype, datconnlimit AS connection_limit, datallowconn AS allow_connections,
    datistemplate AS template
  FROM pg_database
) AS d;

SELECT 'fact', 'postgres.role_settings', 0, string_agg(line, E'\n' ORDER BY line)
FROM (
  SELECT concat_ws(' ', 'role ' || nullif(setrole, 0)::regrole, 'database ' || datname) || ': ' || unnest(setconfig) AS line
  FROM pg_db_role_setting LEFT JOIN pg_database AS d ON d.oid = setdatabase
) AS s;

-- What the server has to keep although nobody may use it any more.
SELECT 'fact', 'postgres.held', 0, string_agg(line, E'\n' ORDER BY line)
FROM (
  SELECT concat_ws(E'\t', 'replication slot ' || slot_name,
    CASE WHEN wal_status = 'lost' THEN 'lost' ELSE coalesce(pg_size_pretty(pg_current_wal_lsn() - restart_lsn), '') END,
    format('SELECT pg_drop_replication_slot(%L)', slot_name)) AS line
  FROM pg_replication_slots
  -- The slot of a declared consumer, unless it has none any more.
  WHERE NOT (coalesce(database = ANY (string_to_array(:'replicated', ',')), false) AND wal_status IS DISTINCT FROM 'lost')
  UNION
  SELECT concat_ws(E'\t', 'prepared transaction ' || gid, database, format('ROLLBACK PREPARED %L', gid)) FROM pg_prepared_xacts
  UNION
  SELECT concat_ws(E'\t', 'subscription ' || subname, datname, format('DROP SUBSCRIPTION %I', subname))
  FROM pg_subscription JOIN pg_database AS d ON d.oid = subdbid
  UNION
  SELECT concat_ws(E'\t', 'tablespace ' || spcname, pg_tablespace_location(oid), format('DROP TABLESPACE %I', spcname))
  FROM pg_tablespace WHERE spcname !~ '^pg_'
) AS h;
