-- The fact about what is in the backend's own database. It follows facts.sql, of this machine's server or of a managed one.
-- Variables: database, role.
\connect :database

WITH objects AS (
  SELECT format('%s %s', CASE relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' WHEN 'S' THEN 'sequence' ELSE 'table' END, oid::regclass) AS object,
    relowner AS owner, relacl AS acl, relnamespace AS schema, 'pg_class'::regclass AS catalogue, oid
  FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
  UNION ALL
  SELECT 'function ' || oid::regprocedure, proowner, proacl, pronamespace, 'pg_proc'::regclass, oid FROM pg_proc
),
own_objects AS (
  SELECT * FROM objects AS o
  WHERE schema::regnamespace::text !~ '^(pg_|information_schema$)'
    -- The objects of an extension are reported as that extension.
    AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = o.catalogue AND objid = o.oid AND deptype = 'e')
),
lines AS (
  SELECT format('%s belongs to %s', object, pg_get_userbyid(owner)) AS line FROM own_objects WHERE pg_get_userbyid(owner) <> :'role'
  UNION
  SELECT format('%s grants %s to %s', object, privilege_type, CASE grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(grantee) END)
  FROM own_objects, aclexplode(acl) WHERE grantee <> owner
  UNION
  SELECT format('schema %I belongs to %s', nspname, pg_get_userbyid(nspowner))
  FROM pg_namespace
  WHERE nspname !~ '^(pg_|information_schema$)' AND pg_get_userbyid(nspowner) <> CASE nspname WHEN 'public' THEN 'pg_database_owner' ELSE :'role' END
  UNION
  SELECT format('schema %I grants %s to %s', nspname, privilege_type, CASE grantee WHEN 0 THEN 'everybody' ELSE pg_get_userbyid(grantee) END)
  FROM pg_namespace, aclexplode(nspacl)
  WHERE nspname !~ '^(pg_|information_schema$)' AND grantee <> nspowner
    -- Every database has this grant.
    AND NOT (nspname = 'public' AND grantee = 0 AND privilege_type = 'USAGE')
  UNION
  SELECT format('extension %I is installed', extname) FROM pg_extension WHERE extname <> 'plpgsql'
  -- Objects that run automatically; the backend creates none of them.
  UNION
  SELECT format('event trigger %I calls %s', evtname, evtfoid::regproc) FROM pg_event_trigger
  UNION
  SELECT format('trigger %I on %s calls %s', tgname, tgrelid::regclass, tgfoid::regproc) FROM pg_trigger WHERE NOT tgisinternal
  UNION
  SELECT format('rule %I on %s', rulename, ev_class::regclass) FROM pg_rewrite JOIN pg_class AS c ON c.oid = ev_class
  WHERE rulename <> '_RETURN' AND relnamespace::regnamespace::text !~ '^(pg_|information_schema$)'
  UNION
  SELECT format('policy %I on %s', polname, polrelid::regclass) FROM pg_policy
  UNION
  SELECT format('publication %I', pubname) FROM pg_publication
  UNION
  SELECT format('foreign server %I', srvname) FROM pg_foreign_server
  UNION
  SELECT format('language %I', lanname) FROM pg_language WHERE oid >= 16384 AND lanname <> 'plpgsql'
  UNION
  SELECT format('default privileges of what %s makes', defaclrole::regrole) FROM pg_default_acl
)
SELECT 'fact', 'postgres.grants', 0, string_agg(line, E'\n' ORDER BY line) FROM lines;
