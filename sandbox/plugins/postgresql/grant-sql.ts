import { unsupported, type ValuesOf } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import { asMemberOf } from "./membership.ts";
import { identifier, type Server, type Session } from "./server.ts";

const fixed = { type: "string", required: true, replaces: true } as const;

/** What a grant may be given; all but its privileges replaces it. */
export const grantInputs = {
  /** A role, or `public` for every role. */
  role: fixed,
  database: fixed,
  objectType: fixed,
  /** Where the objects are; needed for all but databases. */
  schema: { type: "string", replaces: true },
  /** All objects of the type in the schema when absent. */
  objects: { type: "set", items: { type: "string" }, replaces: true },
  /** Empty: whatever the role had on the objects is taken away. */
  privileges: { type: "set", items: { type: "string" }, required: true },
  withGrantOption: { type: "boolean", default: false, replaces: true },
  ...unsupported("columns"),
} as const;

/** A grant as the resource describes it. */
export type GrantProperties = ValuesOf<typeof grantInputs>;

/** Each object type's privileges, and for those that are in a schema how the catalog names them. */
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

/** The object types a grant can be about here. */
export const objectTypes = Object.keys(OBJECT_TYPES);

/** The resource's id: all that makes it another grant when it changes. */
export function grantId(grant: GrantProperties): string {
  const place = grant.objectType === "database" ? [] : [grant.schema ?? ""];
  return [grant.role, grant.database, ...place, grant.objectType, ...(grant.objects ?? []).toSorted()].join("_");
}

/** Revokes everything and grants what is wanted, in one transaction, so that nobody sees the moment in between. */
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

/** Takes everything away; an error where role, database or schema is gone, and the privileges with it. */
export async function revokeGrant(server: Server, grant: GrantProperties): Promise<void> {
  await inDatabase(server, grant, (session) =>
    session
      .query(`REVOKE ALL PRIVILEGES ON ${target(grant)} FROM ${grantee(grant)}`)
      .catch(failed("could not execute revoke query")),
  );
}

/**
 * The privileges that the role has now, or undefined when role, database or schema is gone. Where the objects of a schema do
 * not all have the wanted ones, there are none: that is a difference, and the next update sets them all.
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

/** @param aclQuery gives the one access list of the object that is named by `$2` */
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

/** What the catalog will say once the grant is applied: `ALL` is only a way to write it. */
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

/** What stands after ON. */
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

/** Does the work as the owners of the objects, who alone may grant on them. */
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
