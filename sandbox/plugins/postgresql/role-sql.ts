import { createHash } from "node:crypto";
import { unsupported, type ValuesOf } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import { asMemberOf } from "./membership.ts";
import { identifier, literal, type Server, type Session } from "./server.ts";

const flag = { type: "boolean", default: false } as const;
const string = { type: "string" } as const;

/** The properties of a role; all change in place. Timeouts are in milliseconds; 0 means none. */
export const roleInputs = {
  name: { type: "string", autoname: { maxLength: 255 } },
  password: { type: "string", secret: true },
  encryptedPassword: { type: "boolean", default: true },
  login: flag,
  superuser: flag,
  createDatabase: flag,
  createRole: flag,
  inherit: { type: "boolean", default: true },
  replication: flag,
  bypassRowLevelSecurity: flag,
  connectionLimit: { type: "integer", default: -1 },
  validUntil: { type: "string", default: "infinity" },
  roles: { type: "set", items: string },
  searchPaths: { type: "list", items: string },
  statementTimeout: { type: "integer" },
  idleInTransactionSessionTimeout: { type: "integer" },
  assumeRole: string,
  skipDropRole: flag,
  skipReassignOwned: flag,
  ...unsupported("encrypted", "passwordWo", "passwordWoVersion"),
} as const;

/** A role as the resource describes it, with defaults. */
export type RoleProperties = ValuesOf<typeof roleInputs>;

/** Attributes that are a word, with or without `NO` before it, and the column that shows each. */
const FLAGS = {
  login: { keyword: "LOGIN", column: "rolcanlogin" },
  superuser: { keyword: "SUPERUSER", column: "rolsuper" },
  createDatabase: { keyword: "CREATEDB", column: "rolcreatedb" },
  createRole: { keyword: "CREATEROLE", column: "rolcreaterole" },
  inherit: { keyword: "INHERIT", column: "rolinherit" },
  replication: { keyword: "REPLICATION", column: "rolreplication" },
  bypassRowLevelSecurity: { keyword: "BYPASSRLS", column: "rolbypassrls" },
} as const;

const flagNames = Object.keys(FLAGS) as (keyof typeof FLAGS)[];

const clause = (role: RoleProperties, name: keyof typeof FLAGS): string =>
  `${role[name] ? "" : "NO"}${FLAGS[name].keyword}`;

export async function createRole(server: Server, role: RoleProperties): Promise<void> {
  await server.transaction(async (session) => {
    const options = [
      ...(role.password ? [`${role.encryptedPassword ? "ENCRYPTED" : "UNENCRYPTED"} ${password(role.password)}`] : []),
      `VALID UNTIL ${literal(role.validUntil)}`,
      `CONNECTION LIMIT ${role.connectionLimit}`,
      ...flagNames.map((name) => clause(role, name)),
    ];
    await session
      .query(`CREATE ROLE ${identifier(role.name)} WITH ${options.join(" ")}`)
      .catch(failed(`error creating role ${role.name}`));
    await grantRoles(session, role);
    await applySettings(session, undefined, role);
  });
}

/** Changes the role named `old.name` to match `role`: only the differences, but always all memberships. */
export async function updateRole(server: Server, old: RoleProperties, role: RoleProperties): Promise<void> {
  await server.transaction(async (session) => {
    const name = identifier(role.name);
    if (role.name !== old.name) await session.query(`ALTER ROLE ${identifier(old.name)} RENAME TO ${name}`);
    // A renamed role loses an md5 password, because its hash contains the name.
    if (role.password !== old.password || role.name !== old.name) {
      await session.query(`ALTER ROLE ${name} ${password(role.password ?? "NULL")}`);
    }
    const options = [
      ...(role.validUntil === old.validUntil ? [] : [`VALID UNTIL ${literal(role.validUntil)}`]),
      ...(role.connectionLimit === old.connectionLimit ? [] : [`CONNECTION LIMIT ${role.connectionLimit}`]),
      ...flagNames.filter((key) => role[key] !== old[key]).map((key) => clause(role, key)),
    ];
    if (options.length > 0) await session.query(`ALTER ROLE ${name} WITH ${options.join(" ")}`);
    for (const granted of await membershipsOf(session, role.name)) {
      await session.query(`REVOKE ${identifier(granted)} FROM ${name}`);
    }
    await grantRoles(session, role);
    await applySettings(session, old, role);
  });
}

/** The role as it is now, or undefined if it does not exist. `known` is the password that was last set. */
export async function readRole(
  server: Server,
  name: string,
  known: string | undefined,
): Promise<Omit<RoleProperties, "skipDropRole" | "skipReassignOwned"> | undefined> {
  return server.connect(async (session) => {
    const [row] = await session.query<Record<string, boolean> & { limit: number; until: string; config: string[] }>(
      `SELECT ${flagNames.map((key) => `${FLAGS[key].column} AS "${key}"`).join(", ")}, rolconnlimit AS "limit",
              COALESCE(rolvaliduntil::text, 'infinity') AS "until", COALESCE(rolconfig, '{}') AS "config"
       FROM pg_catalog.pg_roles WHERE rolname = $1`,
      [name],
    );
    if (row === undefined) return undefined;
    const flags = Object.fromEntries(flagNames.map((key) => [key, row[key] === true])) as Record<
      keyof typeof FLAGS,
      boolean
    >;
    const setting = (key: string): string | undefined =>
      row.config.find((entry) => entry.startsWith(`${key}=`))?.slice(key.length + 1);
    const current = await readPassword(server, session, name, flags.login, known);
    return {
      name,
      ...(current === undefined ? {} : { password: current }),
      encryptedPassword: true,
      ...flags,
      connectionLimit: row.limit,
      validUntil: row.until,
      roles: await membershipsOf(session, name),
      searchPaths: (setting("search_path") ?? "")
        .split(", ")
        .filter((part) => part !== "")
        .map((part) => part.replace(/^"(.*)"$/, "$1")),
      statementTimeout: Number(setting("statement_timeout") ?? 0),
      idleInTransactionSessionTimeout: Number(setting("idle_in_transaction_session_timeout") ?? 0),
      assumeRole: setting("role") ?? "",
    };
  });
}

/** Gives the role's objects in the connected database to the user, revokes its privileges there, and drops it. */
export async function deleteRole(server: Server, role: RoleProperties): Promise<void> {
  await server.transaction(async (session) => {
    const name = identifier(role.name);
    if (!role.skipReassignOwned) {
      await asMemberOf(server, session, [role.name], async () => {
        await session
          .query(`REASSIGN OWNED BY ${name} TO ${identifier(server.user)}`)
          .catch(failed(`could not reassign owned by role ${role.name} to ${server.user}`));
        await session.query(`DROP OWNED BY ${name}`).catch(failed(`could not drop owned by role ${role.name}`));
      });
    }
    if (role.skipDropRole) return;
    await session.query(`DROP ROLE ${name}`).catch(failed(`could not delete role ${role.name}`));
  });
}

/** `NULL`, in upper or lower case, means no password. A backslash is set twice, as in the official plugin. */
function password(value: string): string {
  const quoted = value.replaceAll("\\", "\\\\").replaceAll("'", "''");
  return value.toUpperCase() === "NULL" ? "PASSWORD NULL" : `PASSWORD '${quoted}'`;
}

async function membershipsOf(session: Session, role: string): Promise<string[]> {
  const rows = await session.query<{ name: string }>(
    `SELECT DISTINCT pg_get_userbyid(roleid) AS "name" FROM pg_catalog.pg_auth_members
     JOIN pg_catalog.pg_roles ON member = pg_roles.oid WHERE rolname = $1 ORDER BY 1`,
    [role],
  );
  return rows.map((row) => row.name);
}

async function grantRoles(session: Session, role: RoleProperties): Promise<void> {
  for (const granted of role.roles ?? []) {
    await session.query(`GRANT ${identifier(granted)} TO ${identifier(role.name)}`);
  }
}

/** Sets the role's session defaults, and resets those that are no longer wanted. */
async function applySettings(session: Session, old: RoleProperties | undefined, role: RoleProperties): Promise<void> {
  const wanted = (from: RoleProperties | undefined): Record<string, string> => ({
    search_path: (from?.searchPaths ?? []).map(identifier).join(", "),
    statement_timeout: String(from?.statementTimeout || ""),
    idle_in_transaction_session_timeout: String(from?.idleInTransactionSessionTimeout || ""),
    role: from?.assumeRole ? identifier(from.assumeRole) : "",
  });
  const before = wanted(old);
  for (const [key, value] of Object.entries(wanted(role))) {
    if (value === before[key]) continue;
    await session.query(
      `ALTER ROLE ${identifier(role.name)} ${value === "" ? `RESET ${key}` : `SET ${key} TO ${value}`}`,
    );
  }
}

/**
 * A superuser sees the hash, which counts as the known password if it may be its hash. An md5 hash is compared. A SCRAM
 * hash is not, so an outside change of the password is not noticed, as in the official plugin.
 */
async function readPassword(
  server: Server,
  session: Session,
  name: string,
  login: boolean,
  known: string | undefined,
): Promise<string | undefined> {
  // pg_shadow only has roles that can log in.
  if (!login || !server.settings.superuser) return known;
  const [user] = await session.query<{ superuser: boolean }>(
    `SELECT rolsuper AS "superuser" FROM pg_catalog.pg_roles WHERE rolname = $1`,
    [server.user],
  );
  if (user?.superuser !== true) {
    throw new Error(
      `could not read role password from Postgres as connected user ${server.user} is not a SUPERUSER. ` +
        "You can set `superuser = false` in the provider configuration so it will not try to read the password from Postgres",
    );
  }
  const [row] = await session.query<{ hash: string }>(
    `SELECT COALESCE(passwd, '') AS "hash" FROM pg_catalog.pg_shadow WHERE usename = $1`,
    [name],
  );
  const hash = row?.hash ?? "";
  if (known === undefined || known === "" || /^(md5|SCRAM-SHA-256)/.test(known)) return hash === "" ? known : hash;
  const md5 = `md5${createHash("md5").update(`${known}${name}`).digest("hex")}`;
  return hash === md5 || hash.startsWith("SCRAM-SHA-256") ? known : hash;
}
