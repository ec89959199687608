import path from "node:path";

import pg from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { reveal, Secret } from "../../sandbox/plugins/framework/values.ts";
import { PluginClient } from "./plugin-client.ts";
import type { Inputs, Made } from "./plugin-client.ts";
import { expectSame, standInOnly } from "./plugin-subject.ts";
import { LocalPostgres } from "./plugin-postgresql-server.ts";

const ROLE = "postgresql:index/role:Role";
const DATABASE = "postgresql:index/database:Database";
const GRANT = "postgresql:index/grant:Grant";

const ADMIN_PASSWORD = "adm'in \\secret";
const PASSWORD = `p"w'd; --`;

let postgres: LocalPostgres;
let plugin: PluginClient;
const started: PluginClient[] = [];

beforeAll(async () => {
  postgres = await LocalPostgres.start();
  await sql("CREATE ROLE convex");
  await sql(`CREATE ROLE admin SUPERUSER LOGIN PASSWORD ${pg.escapeLiteral(ADMIN_PASSWORD)}`);
  plugin = await configured({});
});
afterAll(async () => {
  await Promise.all(started.map((client) => client[Symbol.asyncDispose]()));
  await (postgres as LocalPostgres | undefined)?.[Symbol.asyncDispose]();
});
afterEach(async () => {
  const databases = await sql<{ datname: string }>("SELECT datname FROM pg_database WHERE datname LIKE 'test%'");
  for (const { datname } of databases) {
    await sql(`ALTER DATABASE "${datname}" IS_TEMPLATE false`);
    await sql(`DROP DATABASE "${datname}" WITH (FORCE)`);
  }
  const roles = await sql<{ rolname: string }>("SELECT rolname FROM pg_roles WHERE rolname LIKE 'test%'");
  for (const { rolname } of roles) {
    await sql(`DROP OWNED BY "${rolname}"`);
    await sql(`DROP ROLE "${rolname}"`);
  }
});

const settings = () => ({
  host: postgres.host,
  port: JSON.stringify(postgres.port),
  username: "admin",
  password: ADMIN_PASSWORD,
  sslmode: "disable",
});

async function configured(changes: Inputs): Promise<PluginClient> {
  const client = await PluginClient.start("postgresql");
  started.push(client);
  await client.configure({ ...settings(), ...changes });
  return client;
}

function sql<Row extends pg.QueryResultRow>(text: string, database = "postgres"): Promise<Row[]> {
  return postgres.query<Row>(text, database);
}

async function logIn(user: string, password: string, database = "postgres"): Promise<void> {
  const client = new pg.Client({ host: postgres.host, port: postgres.port, user, password, database });
  await client.connect();
  await client.end();
}

/** The resource after a refresh. */
async function refreshed(client: PluginClient, made: Made): Promise<Made> {
  const found = await client.read(made);
  if (found === undefined) throw new Error(`${made.urn}: is gone`);
  return found;
}

const unlessOriginal = standInOnly("postgresql", "the official plugin has all of it");

describe("the provider", () => {
  test("keeps its password secret, and stores no defaults, not even those of the environment", async () => {
    const env = { PGHOST: postgres.host, PGPORT: String(postgres.port), PGUSER: "admin", PGSSLMODE: "disable" };
    await using client = await PluginClient.start("postgresql", { env });
    const settings = await client.configure({ password: ADMIN_PASSWORD });
    expect(settings).toEqual({ password: new Secret(ADMIN_PASSWORD) });
    expect((await client.create(ROLE, { name: "test" })).id).toBe("test");
  });

  test("connects at the first operation, not before, and names a server that does not answer", async () => {
    const client = await configured({ port: "1" });
    await expect(client.create(ROLE, { name: "test" })).rejects.toThrow(
      `2 UNKNOWN: 1 error occurred:\n\t* error connecting to PostgreSQL server ${postgres.host} (scheme: postgres): ` +
        `dial tcp ${postgres.host}:1: connect: connection refused\n`,
    );
  });

  test("does not show a refused password", async () => {
    const client = await configured({ password: "not-the-password" });
    const error = await client.create(ROLE, { name: "test" }).catch(String);
    expect(error).toContain('(scheme: postgres): pq: password authentication failed for user "admin" (28P01)\n');
    expect(error).not.toContain("not-the-password");
  });

  test("uses TLS by default", async () => {
    const client = await configured({ sslmode: "require" });
    await expect(client.create(ROLE, { name: "test" })).rejects.toThrow("pq: SSL is not enabled on the server");
  });

  test("trusts a server under another name if its authority vouches for it, and no other server", async () => {
    await using folder = await postgres.serveTls("managed.test");
    const trusting = async (authority: string) =>
      configured({ sslmode: "verify-ca", sslrootcert: path.join(folder.path, authority) });
    expect((await (await trusting("authority.pem")).create(ROLE, { name: "test" })).id).toBe("test");
    await expect((await trusting("other.pem")).create(ROLE, { name: "test-two" })).rejects.toThrow(
      /certificate|issuer/,
    );
  });

  unlessOriginal("knows three ways to use TLS", async () => {
    const other = await configured({ sslmode: "verify-full" });
    await expect(other.create(ROLE, { name: "test" })).rejects.toThrow(
      "sslmode: verify-full is not in the sandbox's stand-in, it should be disable, require or verify-ca.",
    );
  });
});

describe("Role", () => {
  test("is created with its attributes and a password that works", async () => {
    const made = await plugin.create(ROLE, { name: "test-role", login: true, password: PASSWORD, connectionLimit: 7 });
    expect(made.id).toBe("test-role");
    expect(made.state["password"]).toEqual(new Secret(PASSWORD));
    const [row] = await sql("SELECT * FROM pg_roles WHERE rolname = 'test-role'");
    expect(row).toMatchObject({
      rolcanlogin: true,
      rolsuper: false,
      rolinherit: true,
      rolcreaterole: false,
      rolcreatedb: false,
      rolreplication: false,
      rolbypassrls: false,
      rolconnlimit: 7,
    });
    await logIn("test-role", PASSWORD);
    expectSame(await refreshed(plugin, made), made);
    expect(
      (await plugin.diff(made, { name: "test-role", login: true, password: PASSWORD, connectionLimit: 7 })).diffs,
    ).toEqual([]);
  });

  test("has the resource's name if the program sets none", async () => {
    const made = await plugin.create(ROLE, {}, { name: "test" });
    expect(made.id).toMatch(/^test-[0-9a-f]{7}$/);
  });

  const base = { name: "test", login: true, password: PASSWORD };
  test.each<[string, Inputs]>([
    ["login", { login: false }],
    ["superuser", { superuser: true }],
    ["createDatabase", { createDatabase: true }],
    ["createRole", { createRole: true }],
    ["inherit", { inherit: false }],
    ["replication", { replication: true }],
    ["bypassRowLevelSecurity", { bypassRowLevelSecurity: true }],
    ["connectionLimit", { connectionLimit: 3 }],
    ["validUntil", { validUntil: "2099-01-01 00:00:00+00" }],
    ["roles", { roles: ["pg_monitor", "pg_read_all_data"] }],
    ["searchPaths", { searchPaths: ["one", "Two"] }],
    ["statementTimeout", { statementTimeout: 5000 }],
    ["idleInTransactionSessionTimeout", { idleInTransactionSessionTimeout: 6000 }],
    ["assumeRole", { assumeRole: "pg_monitor" }],
    ["password", { password: "another" }],
    ["name", { name: "test-renamed" }],
  ])("changes %s in place, in both directions", async (property, change) => {
    const made = await plugin.create(ROLE, base);
    const diff = await plugin.diff(made, { ...base, ...change });
    expect(diff).toMatchObject({ diffs: [property], replaces: [], deleteBeforeReplace: false });
    const updated = await plugin.update(made, { ...base, ...change });
    expect(reveal(updated.state[property] ?? null)).toEqual(Object.values(change)[0]);
    const again = await refreshed(plugin, { ...updated, id: updated.state["name"] as string });
    expect((await plugin.diff(again, { ...base, ...change })).diffs).toEqual([]);
    const back = await plugin.update(updated, base);
    expect((await plugin.diff(await refreshed(plugin, back), base)).diffs).toEqual([]);
    await logIn("test", PASSWORD);
  });

  test("shows outside changes after a refresh", async () => {
    const made = await plugin.create(ROLE, { name: "test", connectionLimit: 7 });
    await sql("ALTER ROLE test CONNECTION LIMIT 9 CREATEDB");
    const found = await refreshed(plugin, made);
    expect(found.inputs["connectionLimit"]).toBe(9);
    expect((await plugin.diff(found, { name: "test", connectionLimit: 7 })).detailed).toEqual({
      connectionLimit: "UPDATE",
      createDatabase: "UPDATE",
    });
  });

  test("does not notice an outside change of the password, which is stored as SCRAM", async () => {
    const made = await plugin.create(ROLE, base);
    await sql("ALTER ROLE test PASSWORD 'stolen'");
    expectSame(await refreshed(plugin, made), made);
  });

  test("is gone after an outside drop", async () => {
    const made = await plugin.create(ROLE, { name: "test" });
    await sql("DROP ROLE test");
    expect(await plugin.read(made)).toBeUndefined();
    await expect(plugin.delete(made)).rejects.toThrow(
      'could not reassign owned by role test to admin: pq: role "test" does not exist (42704)',
    );
  });

  test("gets each backslash of its password twice", async () => {
    await plugin.create(ROLE, { ...base, password: "a\\b" });
    await logIn("test", "a\\\\b");
  });

  test("is in the state as planned if its update fails", async () => {
    const made = await plugin.create(ROLE, base);
    await plugin.create(ROLE, { name: "test-taken" });
    const wanted = { ...base, connectionLimit: 3, roles: ["nobody"] };
    const error: unknown = await plugin.update(made, wanted).catch((caught: unknown) => caught);
    const kept = { ...made, state: plugin.initErrorOf(error)?.state ?? {} };
    expect(kept.state).toMatchObject({ connectionLimit: 3, roles: ["nobody"] });
    expect((await plugin.diff(kept, wanted)).detailed).toEqual({});
    expect(await sql("SELECT rolconnlimit FROM pg_roles WHERE rolname = 'test'")).toEqual([{ rolconnlimit: -1 }]);
  });

  test("gives its objects to the user in a delete", async () => {
    const made = await plugin.create(ROLE, { name: "test" });
    await sql("CREATE TABLE left_behind (id int)");
    await sql("ALTER TABLE left_behind OWNER TO test");
    await plugin.delete(made);
    expect(await sql("SELECT tableowner FROM pg_tables WHERE tablename = 'left_behind'")).toEqual([
      { tableowner: "admin" },
    ]);
    expect(await sql("SELECT FROM pg_roles WHERE rolname = 'test'")).toEqual([]);
    await sql("DROP TABLE left_behind");
  });

  test("stays with its objects if it is configured so", async () => {
    const owner = await plugin.create(ROLE, { name: "test-owner", skipReassignOwned: true });
    await sql(`CREATE TABLE owned (id int)`);
    await sql(`ALTER TABLE owned OWNER TO "test-owner"`);
    await expect(plugin.delete(owner)).rejects.toThrow(
      'role "test-owner" cannot be dropped because some objects depend on it',
    );
    await sql("DROP TABLE owned");
    await plugin.delete(await plugin.create(ROLE, { name: "test-kept", skipDropRole: true }));
    expect(await sql("SELECT FROM pg_roles WHERE rolname = 'test-kept'")).toHaveLength(1);
  });

  test("never shows its password in an error", async () => {
    await plugin.create(ROLE, base);
    const error = await plugin.create(ROLE, base).catch((caught: unknown) => JSON.stringify(caught) + String(caught));
    expect(error).toContain('error creating role test: pq: role \\"test\\" already exists (42710)');
    expect(error).not.toContain('p"w');
    expect(error).not.toContain("PASSWORD");
  });

  unlessOriginal("refuses what the stand-in does not have, and what nobody has", async () => {
    await expect(plugin.check(ROLE, { passwordWo: "x" })).rejects.toThrow("passwordWo is not implemented");
    await expect(plugin.check(ROLE, { passwort: "x" })).rejects.toThrow("passwort is unknown");
  });

  test("cannot be read by a user who may not see password hashes, unless this is configured, but stays in the state", async () => {
    await sql(`CREATE ROLE "test-plain" LOGIN CREATEROLE PASSWORD 'plain'`);
    const user = { username: "test-plain", password: "plain" };
    const error: unknown = await (await configured(user)).create(ROLE, base).catch((caught: unknown) => caught);
    expect(plugin.initErrorOf(error)).toMatchObject({
      id: "test",
      reasons: [
        expect.stringContaining(
          "connected user test-plain is not a SUPERUSER. You can set `superuser = false` in the provider configuration",
        ) as string,
      ],
    });
    await sql("DROP ROLE test");
    const made = await (await configured({ ...user, superuser: "false" })).create(ROLE, base);
    expect(made.state["password"]).toEqual(new Secret(PASSWORD));
  });
});

describe("Database", () => {
  test("is created empty and in UTF-8, owned by the user", async () => {
    const made = await plugin.create(DATABASE, { name: "test-database" });
    expect(made.id).toBe("test-database");
    expect(made.state).toMatchObject({
      owner: "admin",
      template: "template0",
      encoding: "UTF8",
      tablespaceName: "pg_default",
      connectionLimit: -1,
      allowConnections: true,
      isTemplate: false,
    });
    expectSame(await refreshed(plugin, made), made);
    expect((await plugin.diff(made, { name: "test-database" })).diffs).toEqual([]);
  });

  test.each<[string, Inputs]>([
    ["connectionLimit", { connectionLimit: 3 }],
    ["allowConnections", { allowConnections: false }],
    ["isTemplate", { isTemplate: true }],
    ["owner", { owner: "convex" }],
    ["name", { name: "test-renamed" }],
  ])("changes %s in place", async (property, change) => {
    const base = { name: "test", owner: "admin", isTemplate: false };
    const made = await plugin.create(DATABASE, base);
    const wanted = { ...base, ...change };
    expect(await plugin.diff(made, wanted)).toMatchObject({ diffs: [property], replaces: [] });
    const updated = await plugin.update(made, wanted);
    expect(updated.state).toMatchObject(change);
    const again = await refreshed(plugin, { ...updated, id: updated.state["name"] as string });
    expect((await plugin.diff(again, wanted)).diffs).toEqual([]);
  });

  test.each([
    ["template", "template1"],
    ["encoding", "LATIN1"],
    ["lcCollate", "POSIX"],
    ["lcCtype", "POSIX"],
  ])("is replaced if %s changes, the old one deleted first because both have one name", async (property, value) => {
    const base = { name: "test", template: "template0", encoding: "UTF8", lcCollate: "C", lcCtype: "C" };
    const made = await plugin.create(DATABASE, base);
    expect(await plugin.diff(made, { ...base, [property]: value })).toEqual({
      detailed: { [property]: "UPDATE_REPLACE" },
      diffs: [property],
      replaces: [property],
      deleteBeforeReplace: true,
    });
  });

  test("gives its objects to its new owner if it is configured so", async () => {
    await sql("CREATE ROLE test_old");
    await sql("CREATE ROLE test_new");
    const base = { name: "test", owner: "test_old", alterObjectOwnership: true };
    const made = await plugin.create(DATABASE, base);
    await sql("CREATE TABLE things (id int); ALTER TABLE things OWNER TO test_old", "test");
    await plugin.update(made, { ...base, owner: "test_new" });
    expect(await sql("SELECT tableowner FROM pg_tables WHERE tablename = 'things'", "test")).toEqual([
      { tableowner: "test_new" },
    ]);
  });

  test("shows outside changes and an outside delete after a refresh", async () => {
    const inputs = { name: "test", owner: "admin" };
    const made = await plugin.create(DATABASE, inputs);
    await sql("ALTER DATABASE test OWNER TO convex");
    expect((await plugin.diff(await refreshed(plugin, made), inputs)).detailed).toEqual({ owner: "UPDATE" });
    await sql("DROP DATABASE test");
    expect(await plugin.read(made)).toBeUndefined();
    await expect(plugin.delete(made)).rejects.toThrow(
      'error blocking connections to database: pq: database "test" does not exist (3D000)',
    );
  });

  test("is deleted while it is used, also as a template", async () => {
    const made = await plugin.create(DATABASE, { name: "test", isTemplate: true });
    const user = new pg.Client({
      host: postgres.host,
      port: postgres.port,
      user: "admin",
      password: ADMIN_PASSWORD,
      database: "test",
    });
    const errors: string[] = [];
    user.on("error", (error) => errors.push(error.message));
    await user.connect();
    await plugin.delete(made);
    await expect.poll(() => errors).toContain("terminating connection due to administrator command");
    expect(await sql("SELECT FROM pg_database WHERE datname = 'test'")).toEqual([]);
  });

  test("gets another owner even if the user is not a superuser, who keeps no membership", async () => {
    await sql(`CREATE ROLE "test-plain" LOGIN CREATEDB CREATEROLE PASSWORD 'plain'`);
    await sql(`CREATE ROLE "test-owner"`);
    const client = await configured({ username: "test-plain", password: "plain", superuser: "false" });
    const made = await client.create(DATABASE, { name: "test", owner: "test-owner" });
    expect(made.state["owner"]).toBe("test-owner");
    await expect(client.create(DATABASE, { name: "test", owner: "test-owner" })).rejects.toThrow(
      'error creating database "test": pq: database "test" already exists (42P04)',
    );
    await client.delete(made);
    expect(await sql("SELECT FROM pg_auth_members WHERE member = '\"test-plain\"'::regrole")).toEqual([]);
  });
});

describe("Grant", () => {
  const can = async (role: string, privilege: string, on = "database"): Promise<boolean> => {
    const [row] = await sql<{ can: boolean }>(
      `SELECT has_${on}_privilege('${role}', '${on === "database" ? "test" : "things"}', '${privilege}') AS can`,
      "test",
    );
    return row?.can === true;
  };
  const closed = { role: "public", database: "test", objectType: "database", privileges: [] };

  test("revokes a database's privileges from all, grants one to a role, and revokes it again", async () => {
    await plugin.create(DATABASE, { name: "test" });
    await plugin.create(ROLE, { name: "test_reader" });
    expect(await can("test_reader", "CONNECT")).toBe(true);
    const everybody = await plugin.create(GRANT, closed);
    expect(everybody.id).toBe("public_test_database");
    expect(await can("test_reader", "CONNECT")).toBe(false);

    const reader = await plugin.create(GRANT, { ...closed, role: "test_reader", privileges: ["CONNECT"] });
    expect(await can("test_reader", "CONNECT")).toBe(true);
    for (const made of [everybody, reader]) expectSame(await refreshed(plugin, made), made);
    await plugin.delete(reader);
    expect(await can("test_reader", "CONNECT")).toBe(false);
  });

  test("changes its privileges in place and is replaced, the old one deleted first, for anything else", async () => {
    await plugin.create(DATABASE, { name: "test" });
    await plugin.create(ROLE, { name: "test_reader" });
    const inputs = { ...closed, role: "test_reader", privileges: ["CONNECT"] };
    const made = await plugin.create(GRANT, inputs);
    const more = { ...inputs, privileges: ["CREATE", "TEMPORARY"] };
    expect(await plugin.diff(made, more)).toMatchObject({ diffs: ["privileges"], replaces: [] });
    await plugin.update(made, more);
    await plugin.create(GRANT, closed);
    expect([await can("test_reader", "CONNECT"), await can("test_reader", "CREATE")]).toEqual([false, true]);
    for (const [property, value] of Object.entries({
      role: "convex",
      database: "postgres",
      objectType: "schema",
      schema: "public",
      objects: ["things"],
      withGrantOption: true,
    })) {
      const diff = await plugin.diff(made, { ...inputs, [property]: value });
      expect(diff).toMatchObject({ replaces: [property], deleteBeforeReplace: true });
    }
  });

  test("shows outside changes after a refresh, and that its role is gone", async () => {
    await plugin.create(DATABASE, { name: "test" });
    await plugin.create(ROLE, { name: "test_reader" });
    const everybody = await plugin.create(GRANT, closed);
    const inputs = { ...closed, role: "test_reader", privileges: ["CONNECT", "TEMPORARY"] };
    const reader = await plugin.create(GRANT, inputs);
    await sql("GRANT CONNECT ON DATABASE test TO PUBLIC");
    await sql("REVOKE CONNECT ON DATABASE test FROM test_reader");
    expect((await plugin.diff(await refreshed(plugin, everybody), closed)).diffs).toEqual(["privileges"]);
    expect((await plugin.diff(await refreshed(plugin, reader), inputs)).diffs).toEqual(["privileges"]);
    await sql("DROP OWNED BY test_reader");
    await sql("DROP ROLE test_reader");
    expect(await plugin.read(reader)).toBeUndefined();
    await expect(plugin.delete(reader)).rejects.toThrow(
      'could not execute revoke query: pq: role "test_reader" does not exist (42704)',
    );
  });

  test("covers all tables of a schema, the schema itself, and single tables", async () => {
    await plugin.create(DATABASE, { name: "test" });
    await plugin.create(ROLE, { name: "test_reader" });
    await sql("CREATE TABLE things (id int); CREATE TABLE others (id int)", "test");
    const tables = { role: "test_reader", database: "test", schema: "public", objectType: "table" };
    const all = await plugin.create(GRANT, { ...tables, privileges: ["ALL"] });
    expect(all.id).toBe("test_reader_test_public_table");
    expect(await can("test_reader", "TRUNCATE", "table")).toBe(true);
    expectSame(await refreshed(plugin, all), all);

    await sql("CREATE TABLE newer (id int)", "test");
    expect((await refreshed(plugin, all)).state["privileges"]).toEqual([]);
    await plugin.delete(all);
    expect(await can("test_reader", "SELECT", "table")).toBe(false);

    const one = await plugin.create(GRANT, { ...tables, objects: ["things"], privileges: ["SELECT"] });
    expect(await can("test_reader", "SELECT", "table")).toBe(true);
    expectSame(await refreshed(plugin, one), one);

    const schema = await plugin.create(GRANT, { ...tables, objectType: "schema", privileges: ["CREATE"] });
    expectSame(await refreshed(plugin, schema), schema);
    await plugin.delete(schema);
  });

  test("refuses a privilege that the object does not have, and a schema's objects without the schema", async () => {
    await plugin.create(DATABASE, { name: "test" });
    await expect(plugin.create(GRANT, { ...closed, privileges: ["SELECT"] })).rejects.toThrow(
      "SELECT is not an allowed privilege for object type database",
    );
    await expect(plugin.create(GRANT, { ...closed, objectType: "table" })).rejects.toThrow(
      "parameter 'schema' is mandatory for postgresql_grant resource",
    );
  });

  unlessOriginal("refuses objects that the stand-in does not know", async () => {
    await expect(plugin.create(GRANT, { ...closed, objectType: "foreign_server" })).rejects.toThrow(
      "objectType: foreign_server is not in the sandbox's stand-in",
    );
  });
});
