import { readdir } from "node:fs/promises";
import path from "node:path";

import pg from "pg";
import { afterAll, beforeAll, expect, test } from "vitest";

import { ensureDatabaseImage } from "../../sandbox/droplet/database/image.ts";
import type { DatabaseEntrance, DatabaseSpec } from "../../sandbox/droplet/hypervisor.ts";
import { openLab } from "./droplet-harness.ts";
import type { Lab } from "./droplet-harness.ts";
import { stepByStep } from "../steps.ts";

// The tests continue each other.
stepByStep();

const NAME = "main.db.test";
const ADMINISTRATOR = { name: "doadmin", password: "it's a secret", mayReplicate: true };

let lab: Lab;
let authority: string;

const cluster: DatabaseSpec = {
  id: "3f1c0c8e-0000-4000-8000-000000000001",
  names: [NAME],
  nodes: [200],
  ...{ memoryMegabytes: 1024, vcpus: 1, maxConnections: 25 },
  settings: {},
  users: [ADMINISTRATOR],
  databases: ["defaultdb"],
};

beforeAll(async () => {
  // It takes a minute on a computer that does not have it yet.
  await ensureDatabaseImage();
  lab = await openLab();
});
afterAll(() => lab[Symbol.asyncDispose]());

/** An entrance for everyone. */
function entrance(node: number): DatabaseEntrance {
  return { node, publicAddress: `${lab.home.addressPrefix}.${node}`, publicNames: [], privateNames: [] };
}

async function connect(node: number, options: pg.ClientConfig = {}): Promise<pg.Client & AsyncDisposable> {
  const client = new pg.Client({
    ...{ host: `${lab.home.addressPrefix}.${node}`, port: 25060, database: "defaultdb" },
    ...{ user: ADMINISTRATOR.name, password: ADMINISTRATOR.password, connectionTimeoutMillis: 2000 },
    ssl: { ca: authority, servername: NAME },
    ...options,
  });
  // The server may end it.
  client.on("error", () => undefined);
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.end() });
}

async function valueOf(client: pg.Client, sql: string): Promise<unknown> {
  const { rows } = await client.query<unknown[]>({ text: sql, rowMode: "array" });
  return rows[0]?.[0];
}

test("a cluster serves PostgreSQL 17 over TLS with its own authority, and only with it", async () => {
  const facts = await lab.room.runDatabase(cluster);
  authority = facts.authority;
  expect(facts.version).toMatch(/^17\.\d+$/);
  await lab.room.serveDatabases([entrance(200)]);

  await using client = await connect(200);
  expect(await valueOf(client, "select current_setting('server_version_num')::int / 10000")).toBe(17);
  await expect(connect(200, { ssl: false })).rejects.toThrow("no encryption");
  await expect(connect(200, { ssl: {} })).rejects.toThrow("self-signed certificate in certificate chain");
  await expect(connect(200, { password: "wrong" })).rejects.toThrow("password authentication failed");
  await expect(connect(200, { user: "_dodb" })).rejects.toThrow("pg_hba.conf rejects");
});

test("its administrator makes roles and databases, but is no superuser", async () => {
  await using client = await connect(200);
  const rights = "rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolsuper";
  const { rows } = await client.query({
    text: `select ${rights} from pg_roles where rolname = current_user`,
    rowMode: "array",
  });
  expect(rows).toEqual([[true, true, true, true, false]]);
  await client.query("create role app login password 'app'");
  await client.query("create database app");
  await expect(client.query("alter system set work_mem = '8MB'")).rejects.toThrow("permission denied");
  await expect(client.query("copy pg_class to program 'cat'")).rejects.toThrow("permission denied");
  await using app = await connect(200, { user: "app", password: "app" });
  await expect(app.query("create table public.t (a int)")).rejects.toThrow("permission denied for schema public");
});

test("as many clients connect as the size allows, less those for maintenance", async () => {
  const clients: pg.Client[] = [];
  for (let count = 0; count < 22; count++) clients.push(await connect(200));
  await expect(connect(200)).rejects.toThrow("remaining connection slots are reserved");
  await Promise.all(clients.map((client) => client.end()));
});

test("runs on when its machine room ends, and the next one takes it over", async () => {
  await using client = await connect(200);
  await client.query("create table kept as select 1 as number");
  await lab.reopen(() => client.query("insert into kept values (2)"));
  await lab.room.runDatabase(cluster);
  await lab.room.serveDatabases([entrance(200)]);
  expect(await valueOf(client, "select count(*) from kept")).toBe("2");
});

test("starts again with its data after a failure", async () => {
  await using client = await connect(200);
  await lab.room.killDatabaseNode(200);
  await expect(client.query("select 1")).rejects.toThrow();
  await lab.room.runDatabase(cluster);
  await using again = await connect(200);
  expect(await valueOf(again, "select count(*) from kept")).toBe("2");
});

test("a second server follows the first, and takes over", async () => {
  await lab.room.backUpDatabase(cluster, "first");
  const grown = { ...cluster, memoryMegabytes: 2048, maxConnections: 50, nodes: [200, 201] };
  await lab.room.runDatabase(grown);
  await lab.room.serveDatabases([entrance(200), entrance(201)]);
  await using standby = await connect(201);
  await using client = await connect(200);
  expect(await valueOf(client, "show max_connections")).toBe("50");
  await client.query("insert into kept values (3)");
  await expect.poll(() => valueOf(standby, "select count(*) from kept")).toBe("3");
  await expect(standby.query("insert into kept values (4)")).rejects.toThrow("read-only");

  await lab.room.killDatabaseNode(200);
  await lab.room.runDatabase({ ...grown, nodes: [201, 200] });
  await standby.query("insert into kept values (4)");
  await using former = await connect(200);
  await expect.poll(() => valueOf(former, "select count(*) from kept")).toBe("4");
});

test("another cluster has the data of a moment before a mistake", async () => {
  const present = { ...cluster, memoryMegabytes: 2048, maxConnections: 50, nodes: [201, 200] };
  await using client = await connect(201);
  const time = new Date(
    Number(await valueOf(client, "select extract(epoch from clock_timestamp()) * 1000")),
  ).toISOString();
  await client.query("select pg_sleep(0.1)");
  await client.query("drop table kept");
  const users = [{ ...ADMINISTRATOR, password: "another" }];
  const id = "3f1c0c8e-0000-4000-8000-000000000002";
  const restore = { cluster: present, backupId: "first", time };
  const { databases } = await lab.room.runDatabase({ ...cluster, id, nodes: [202], databases: [], users, restore });
  expect(databases).toEqual(["defaultdb", "app"]);
  await lab.room.serveDatabases([entrance(201), entrance(202)]);
  await using restored = await connect(202, { password: "another", ssl: { rejectUnauthorized: false } });
  expect(await valueOf(restored, "select count(*) from kept")).toBe("4");
});

test("is gone with its data", async () => {
  const nodes = [201, 200];
  await lab.room.deleteDatabase({ ...cluster, nodes });
  await lab.room.deleteDatabase({ ...cluster, id: "3f1c0c8e-0000-4000-8000-000000000002", nodes: [202] });
  expect(await readdir(path.join(lab.home.root, "databases"))).toEqual([]);
});
