import { expect, it } from "vitest";

import { namedValues } from "../../contract/scripts.ts";
import { RESOURCES, TYPES } from "../../contract/names.ts";
import { databaseVariables, farEnd, shownThroughTunnel } from "../../operations/databases.ts";
import { compareBackups } from "../../operations/findings/backups/backups.ts";
import { expected, isManaged, requireOwnServer } from "../../operations/findings/expected.ts";
import { compare } from "../../operations/findings/look.ts";
import { repairOf } from "../../operations/findings/scripts.ts";
import { rowsOf } from "../../operations/status/rows.ts";
import { failed, insideOf, stateOf, type Told, told } from "./findings.ts";

const URL = "postgresql://shop:pw@private-db.example.com:25060/shop?sslmode=require";
const publicKeyOpenssh = "ssh-ed25519 AAAADeploy";
const RESOURCES_OF_A_STACK = [
  { type: TYPES.key, name: RESOURCES.deployKey, outputs: { publicKeyOpenssh } },
  { type: TYPES.key, name: RESOURCES.hostKey, outputs: { publicKeyOpenssh } },
  { type: TYPES.cluster, name: RESOURCES.cluster },
  { type: "pulumi:providers:postgresql", name: "convex", inputs: { username: "doadmin" } },
  { type: TYPES.role, name: RESOURCES.role, inputs: { name: "convex" } },
  {
    type: TYPES.database,
    name: RESOURCES.database,
    inputs: { name: "convex_self_hosted", owner: "convex", encoding: "UTF8", lcCollate: "C", lcCtype: "C" },
  },
];
const state = stateOf(...RESOURCES_OF_A_STACK);

const OWNER = {
  ...{ name: "convex", superuser: false, createdb: false, createrole: false, login: true, replication: false },
  ...{ bypassrls: false, scram: true, password: false, inherit: true, connection_limit: -1, valid_until: null },
  member_of: [],
};
const OWN = {
  ...{ name: "convex_self_hosted", owner: "convex", acl: "{convex=CTc/convex}", encoding: "UTF8", collate: "C" },
  ...{ ctype: "C", connection_limit: -1, allow_connections: true, template: false },
};

/** What is found about the database of a stack that is as declared, except for these facts. */
function found(facts: Record<string, string | object>, ...differences: Parameters<typeof insideOf>[1][]): Told[] {
  const whole = {
    "postgres.roles": [OWNER],
    "postgres.databases": [OWN],
    "postgres.login": "convex convex_self_hosted",
  };
  const findings = compare(state, insideOf({ ...whole, ...facts }, ...differences));
  return told(findings.filter(({ area }) => area === "postgres"));
}

const MANAGED = "PGSERVICEFILE=/etc/convex-droplet/managed-server.conf PGSERVICE=managed PGDATABASE=defaultdb psql";

it("a managed database that is as declared has no finding, also without an administrator that is a superuser", () => {
  expect(found({})).toEqual([]);
});

it("a managed database that does not answer is repaired by the way to it", () => {
  const [message] = found({ "postgres.roles": failed("timeout") });
  expect(message).toEqual([
    "error postgres postgres postgres: does not answer, so its roles and databases could not be checked",
    "replace convex-database-client; refresh ",
  ]);
});

it.each([
  [
    "private-db.example.com:25060 does not answer this droplet",
    "replace ; refresh convex-cluster-firewall",
    "the database again admits only the droplet: nothing else stops",
  ],
  [
    "it does not accept doadmin's password",
    "replace ; refresh convex-cluster",
    "the droplet gets the administrator's new password: nothing stops",
  ],
  ["its name private-db.example.com is not resolved", "replace convex-database-client; refresh ", undefined],
])(
  "that a managed database cannot be reached has one finding, whose repair fits the reason: %s",
  (reason, repair, costs) => {
    const connection = { subject: "postgres.server", property: "connection", expected: "works", found: reason };
    const difference = { script: "managed.sh", area: "postgres", ...connection } as const;
    expect(found({ "postgres.roles": failed("timeout") }, difference)).toEqual([
      [`error postgres managed.sh postgres.server.connection: is ${reason}, it should be works`, repair],
    ]);
    expect(repairOf(difference)).toMatchObject(costs === undefined ? { up: [RESOURCES.databaseClient] } : { costs });
  },
);

it("what a person has to repair in a managed database is a command for its administrator", () => {
  const [limited, stranger] = found({
    "postgres.roles": [
      { ...OWNER, connection_limit: 3 },
      { ...OWNER, name: "eve" },
    ],
  });
  expect(limited?.[1]).toBe(`${MANAGED} -c 'ALTER ROLE "convex" CONNECTION LIMIT -1'`);
  expect(stranger).toEqual([
    "warning postgres postgres.roles postgres.roles.eve: is a role that this stack does not declare",
    `${MANAGED} -c 'DROP ROLE "eve"'`,
  ]);
});

it("the client of a managed database is checked with the values that it was set up with", () => {
  const client = { create: "bash managed.sh # 0", stdin: "host=private-db.example.com\n" };
  const withClient = stateOf(...RESOURCES_OF_A_STACK, {
    ...{ type: TYPES.command, name: RESOURCES.databaseClient, inputs: client },
  });
  expect(() => expected(withClient)).toThrow("the droplet was set up by other scripts (0) than this checkout has");
});

it("a command that needs the server on the droplet says what to use instead of it", () => {
  expect(() => {
    requireOwnServer(state, "a drill", "Look at the control panel");
  }).toThrow(
    "stack dev: its database is managed, a drill needs one on the droplet. Nothing was changed. Look at the control panel; see docs/managed-database.md",
  );
  requireOwnServer(stateOf(), "a drill", "");
});

it("a tunnel leads to the managed server, which demands TLS there, too", () => {
  expect(farEnd(URL)).toBe("private-db.example.com:25060");
  const outputs = { backendUrl: "", siteUrl: "", dashboardUrl: "", adminKey: "", databaseUrls: { shop: URL } };
  expect(databaseVariables(outputs, "shop")).toEqual({
    DATABASE_URL: "postgresql://shop:pw@127.0.0.1:15432/shop?sslmode=require",
  });
  expect(shownThroughTunnel(URL)).toBe("postgresql://shop@127.0.0.1:15432/shop?sslmode=require");
  const onDroplet = "postgresql://shop:pw@host.docker.internal:5432/shop?sslmode=require";
  expect(shownThroughTunnel(onDroplet)).toBe("postgresql://shop@127.0.0.1:15432/shop");
});

it("missing backups are a notice as long as Convex's files are on the volume", () => {
  const off = {
    type: TYPES.command,
    name: RESOURCES.backups,
    inputs: { stdin: namedValues({ repository_endpoint: "" }) },
  };
  const backendWith = (...envs: string[]) => ({ type: TYPES.container, name: RESOURCES.backend, inputs: { envs } });
  const [onVolume, inBuckets] = [backendWith(), backendWith("S3_STORAGE_FILES_BUCKET=own-files")].map((backend) =>
    compareBackups(stateOf(...RESOURCES_OF_A_STACK, off, backend), insideOf({})),
  );
  expect(onVolume).toMatchObject([{ severity: "notice" }]);
  expect(JSON.stringify(onVolume)).toContain("files on the volume");
  expect(inBuckets).toEqual([]);
});

it("the status of a managed database has no write-ahead log, and shows what DigitalOcean keeps, and dumps of every hour", () => {
  const facts = {
    ...{ now: 0, disks: [], containers: [], backups: {}, waiting: 0, certificate: null, packages: 0, reboot: null },
    postgres: { version: "17.6", connections: 70, allowed: 100, wal: null, databases: [], tables: null },
  };
  const declared = {
    ...{ urls: { backend: "", site: "", dashboard: "" }, apps: new Map<string, string>(), appUrls: {} },
    ...{ droplet: "", monthlyCost: undefined, hasBackups: true, isKeptByCloud: false, bucketServer: undefined },
    ...{ isManaged: true, keptSince: "2026-11-20T18:00:00Z" },
  };
  const rows = (changes: object) => rowsOf({ ...facts, ...changes }, declared);
  const now = Date.parse("2026-11-27T18:00:00Z") / 1000;
  const find = (wanted: string, changes = {}) => rows(changes).find(({ name }) => name === wanted);
  expect(find("PostgreSQL")).toEqual({
    ...{ name: "PostgreSQL", text: "17.6, managed by DigitalOcean", attention: false },
  });
  expect(find("cluster backups", { now })?.text).toBe("every moment of the last 7 days, since 2026-11-20T18:00:00Z");
  const point = (at: string) => find("restore point", { now, backups: { point: { at } } });
  expect(point("2026-11-27T16:30:00Z")).toMatchObject({ text: "90 min ago", attention: false });
  expect(point("2026-11-27T14:00:00Z")).toMatchObject({ text: "4 h ago", attention: true });
  expect(find("backup")).toBeUndefined();
});

it.each([
  ["true", false],
  ["false", true],
])(
  "if a run of a move did not come to its end, the provider shows where the database is: superuser %s",
  (superuser, managed) => {
    const both = [RESOURCES.server, RESOURCES.databaseClient].map((name) => ({
      ...{ type: TYPES.command, name, inputs: { stdin: `name=${name}\n` } },
    }));
    const provider = { type: TYPES.postgresql, name: RESOURCES.postgresql, inputs: { superuser } };
    expect(isManaged(stateOf(...RESOURCES_OF_A_STACK, ...both, provider))).toBe(managed);
  },
);

it("a cluster that a move has left does not make the database managed", () => {
  const server = { type: TYPES.command, name: RESOURCES.server };
  expect(isManaged(stateOf(...RESOURCES_OF_A_STACK, server))).toBe(false);
});
