-- The facts about roles and databases of a managed PostgreSQL server, for its administrator, as the records that inspect.sh prints. What
-- DigitalOcean itself has there belongs to superusers, has a name that begins with _, or is the administrator's.
\pset tuples_only on
\pset format unaligned
\pset fieldsep_zero
\pset recordsep_zero

SELECT 'fact', 'postgres.roles', 0, coalesce(jsonb_agg(to_jsonb(r) ORDER BY name), '[]')
FROM (
  SELECT rolname AS name, rolsuper AS superuser, rolcreatedb AS createdb, rolcreaterole AS createrole, rolcanlogin AS login,
    rolreplication AS replication, rolbypassrls AS bypassrls, rolinherit AS inherit, rolconnlimit AS connection_limit,
    rolvaliduntil AS valid_until,
    -- Nobody can see how it is kept.
    true AS scram, false AS password,
    ARRAY(SELECT pg_get_userbyid(roleid) FROM pg_auth_members WHERE member = a.oid ORDER BY 1) AS member_of
  FROM pg_roles AS a WHERE rolname !~ '^(pg)?_' AND rolname <> current_user AND NOT rolsuper
) AS r;

SELECT 'fact', 'postgres.databases', 0, jsonb_agg(to_jsonb(d) ORDER BY name)
FROM (
  SELECT datname AS name, pg_get_userbyid(datdba) AS owner, datacl::text AS acl, pg_encoding_to_char(encoding) AS encoding,
    datcollate AS collate, datctype AS ctype, datconnlimit AS connection_limit, datallowconn AS allow_connections,
    datistemplate AS template
  FROM pg_database WHERE datname !~ '^_' AND datname <> current_database() AND NOT (SELECT rolsuper FROM pg_roles AS a WHERE a.oid = datdba)
) AS d;

SELECT 'fact', 'postgres.role_settings', 0, string_agg(line, E'\n' ORDER BY line)
FROM (
  SELECT concat_ws(' ', 'role ' || nullif(setrole, 0)::regrole, 'database ' || datname) || ': ' || unnest(setconfig) AS line
  FROM pg_db_role_setting LEFT JOIN pg_database AS d ON d.oid = setdatabase
  WHERE setrole = 0 OR EXISTS (SELECT FROM pg_roles AS a WHERE a.oid = setrole AND rolname !~ '^(pg)?_' AND rolname <> current_user AND NOT rolsuper)
) AS s;
