import { unsupported, type ValuesOf } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import { asMemberOf } from "./membership.ts";
import { identifier, type Server, type Session } from "./server.ts";

const fixed = { type: "string", required: true, replaces: true } as const;

/** The properties of a grant; a change of any of them, except its privileges, replaces it. */
export const grantInputs = {
  /** A role, or `public` for every role. */
  role: fixed,
  database: fixed,
  objectType: fixed,
  /** The schema of the objects; required except for databases. */
  schema: { type: "string", replaces: true },
  /** If absent, all objects of the type in the schema. */
  objects: { type: "set", items: { type: "string" }, replaces: true },
  /** If empty, the role's privileges on the objects are revoked. */
  privileges: { type: "set", items: { type: "string" }, required: true },
  withGrantOption: { type: "boolean", default: false, replaces: true },
  ...unsupported("columns"),
} as const;

/** A grant as the resource describes it. */
export type GrantProperties = ValuesOf<typeof grantInputs>;

/** Each object type's privileges and, for types in a schema, their names in the catalog. */
const OBJECT_TYPES: Record<string, { privileges: string[]; catalog?: "class" | "proc"; kinds?: string[] }> = {
  database: { privileges: ["CREATE", "CONNECT", "TEMPORARY"] },
  schema: { privileges: ["CREATE", "USAGE"] },
  table: {
    privileges: ["SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER"],
    catalog: "class",
    kinds: ["r", "v", "m", "f", "p"],
  },
  sequence: { privileges: ["USAGE", "SELECT", "UPDATE"], catalog: "class", kinds: ["S"] },
  function: { privileges: ["EXECUTE"], catalog: "proc", kinds: ["f", "a", "w"] },
  procedure: { privileges: ["EXECUTE"], catalog: "proc", kinds: ["p"] },
  routine: { privileges: ["EXECUTE"], catalog: "proc", kinds: ["f", "a", "w", "p"] },
};

/** The object types that a grant here can have. */
export const objectTypes = Object.keys(OBJECT_TYPES);

/** The resource's id, from all properties whose change makes it another grant. */
export function grantId(grant: GrantProperties): string {
  const place = grant.objectType === "database" ? [] : [grant.schema ?? ""];
  return [grant.role, grant.database, ...place, grant.objectType, ...(grant.objects ?? []).toSorted()].join("_");
}

/** Revokes everything and grants the wanted privileges, in one transaction, so that no other session sees it half done. */
export async function applyGrant(server: Server, grant: GrantProperties): Promise<void> {
  check(grant);
  await inDatabase(server, grant, async (session) => {
    await session
      .query(`REVOKE ALL PRIVILEGES ON ${target(grant)} FROM ${grantee(grant)}`)
      .catch(failed("could not execute revoke query"));
    if (grant.privileges.length === 0) return;
    const option = grant.withGrantOption ? " WITH GRANT OPTION" : "";
    await session.query(`GRANT ${grant.privileges.join(", ")} ON ${target(grant)} TO ${grantee(grant)}${option}`);
  });
}

/** Revokes everything. Fails if role, database or schema no longer exists. */
export async function revokeGrant(server: Server, grant: GrantProperties): Promise<void> {
  await inDatabase(server, grant, (session) =>
    session
      .query(`REVOKE ALL PRIVILEGES ON ${target(grant)} FROM ${grantee(grant)}`)
      .catch(failed("could not execute revoke query")),
  );
}

/**
 * The role's privileges now, or undefined if role, database or schema is gone. If some objects of a schema lack a wanted
 * privilege, the result is empty, which is a difference, so the next update sets all of them.
 */
export async function readGrant(server: Server, grant: GrantProperties): Promise<string[] | undefined> {
  const exists = await server.connect(async (session) => {
    const [row] = await session.query<{ role: boolean; database: boolean }>(
      `SELECT $1 = 'public' OR EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = $1) AS "role",
              EXISTS (SELECT FROM pg_catalog.pg_database WHERE datname = $2) AS "database"`,
      [grant.role, grant.database],
    );
    return row?.role === true && row.database;
  });
  if (!exists) return undefined;
  return server.connect((session) => readPrivileges(session, grant), grant.database);
}

async function readPrivileges(session: Session, grant: GrantProperties): Promise<string[] | undefined> {
  if (grant.objectType === "database") {
    return privilegesOf(session, grant, "SELECT datacl FROM pg_catalog.pg_database WHERE datname = $2", grant.database);
  }
  const [schema] = await session.query("SELECT 1 FROM pg_catalog.pg_namespace WHERE nspname = $1", [grant.schema]);
  if (schema === undefined) return undefined;
  if (grant.objectType === "schema") {
    return privilegesOf(session, grant, "SELECT nspacl FROM pg_catalog.pg_namespace WHERE nspname = $2", grant.schema);
  }
  const { catalog, kinds } = typeOf(grant);
  const [prefix, kind] = catalog === "proc" ? ["pro", "prokind"] : ["rel", "relkind"];
  const objects = await session.query<{ name: string; privileges: string[] }>(
    `SELECT ${prefix}name AS "name", ARRAY(
       SELECT privilege_type FROM aclexplode(${prefix}acl) WHERE grantee = ${GRANTEE_OID} ORDER BY 1) AS "privileges"
     FROM pg_catalog.pg_${String(catalog)} JOIN pg_catalog.pg_namespace ON ${prefix}namespace = pg_namespace.oid
     WHERE nspname = $2 AND ${kind} = ANY($3)`,
    [grant.role, grant.schema, kinds],
  );
  const meant = grant.objects?.length ? objects.filter(({ name }) => grant.objects?.includes(name)) : objects;
  return meant.every(({ privileges }) => sameSet(privileges, wanted(grant))) ? grant.privileges : [];
}

const GRANTEE_OID =
  "(CASE WHEN $1 = 'public' THEN 0 ELSE (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = $1) END)";

/** @param aclQuery selects the access list of the object with the name `$2` */
async function privilegesOf(
  session: Session,
  grant: GrantProperties,
  aclQuery: string,
  name: string | undefined,
): Promise<string[]> {
  const rows = await session.query<{ privilege: string }>(
    `SELECT privilege_type AS "privilege" FROM aclexplode((${aclQuery})) WHERE grantee = ${GRANTEE_OID} ORDER BY 1`,
    [grant.role, name],
  );
  const privileges = rows.map((row) => row.privilege);
  return sameSet(privileges, wanted(grant)) ? grant.privileges : privileges;
}

/** The privileges that the catalog shows after the grant; it never shows `ALL`. */
function wanted(grant: GrantProperties): string[] {
  return grant.privileges.includes("ALL") ? typeOf(grant).privileges : grant.privileges;
}

function check(grant: GrantProperties): void {
  const { privileges } = typeOf(grant);
  if (grant.objectType !== "database" && !grant.schema) {
    throw new Error("parameter 'schema' is mandatory for postgresql_grant resource");
  }
  if (grant.objects?.length && (grant.objectType === "database" || grant.objectType === "schema")) {
    throw new Error(`cannot specify \`objects\` when \`object_type\` is \`${grant.objectType}\``);
  }
  for (const privilege of grant.privileges) {
    if (privilege !== "ALL" && !privileges.includes(privilege)) {
      throw new Error(`${privilege} is not an allowed privilege for object type ${grant.objectType}`);
    }
  }
}

function typeOf(grant: GrantProperties): (typeof OBJECT_TYPES)[string] {
  const type = OBJECT_TYPES[grant.objectType];
  if (type === undefined) {
    throw new Error(
      `objectType: ${grant.objectType} is not in the sandbox's stand-in, it should be one of ${objectTypes.join(", ")}.`,
    );
  }
  return type;
}

/** The text after ON. */
function target(grant: GrantProperties): string {
  if (grant.objectType === "database") return `DATABASE ${identifier(grant.database)}`;
  const schema = identifier(grant.schema ?? "");
  if (grant.objectType === "schema") return `SCHEMA ${schema}`;
  const type = grant.objectType.toUpperCase();
  return grant.objects?.length
    ? `${type} ${grant.objects.map((name) => `${schema}.${identifier(name)}`).join(", ")}`
    : `ALL ${type}S IN SCHEMA ${schema}`;
}

const grantee = (grant: GrantProperties): string => (grant.role === "public" ? "PUBLIC" : identifier(grant.role));

/** Does the work as the owners of the objects, because only they may grant privileges on them. */
async function inDatabase(
  server: Server,
  grant: GrantProperties,
  work: (session: Session) => Promise<unknown>,
): Promise<void> {
  await server.transaction(async (session) => {
    const owners = await session.query<{ name: string }>(
      grant.objectType === "database"
        ? `SELECT pg_get_userbyid(datdba) AS "name" FROM pg_catalog.pg_database WHERE datname = $1`
        : `SELECT pg_get_userbyid(nspowner) AS "name" FROM pg_catalog.pg_namespace WHERE nspname = $1
             UNION SELECT pg_get_userbyid(relowner) FROM pg_catalog.pg_class
             JOIN pg_catalog.pg_namespace ON relnamespace = pg_namespace.oid WHERE nspname = $1`,
      [grant.objectType === "database" ? grant.database : grant.schema],
    );
    await asMemberOf(
      server,
      session,
      owners.map(({ name }) => name),
      () => work(session),
    );
  }, grant.database);
}

function sameSet(one: string[], other: string[]): boolean {
  return one.length === other.length && one.every((element) => other.includes(element));
}
