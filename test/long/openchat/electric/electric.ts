import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { setTimeout } from "node:timers/promises";

import pg from "pg";

import { follow } from "./replication.ts";

/**
 * What Electric does at its borders: a slot and a publication in its database, `/v1/health` with 202 until it reads the slot's changes and
 * then 200, and `/v1/shape` with the rows of a table for those who know its secret. Of two on one slot, the second one waits.
 */
const { ELECTRIC_PORT = "3000", ELECTRIC_STORAGE_DIR = "", ELECTRIC_SECRET = "", ELECTRIC_INSECURE = "" } = process.env;
const SLOT = "electric_slot_default";
const PUBLICATION = "electric_publication_default";

const state: { status: "starting" | "waiting" | "active"; handle: string } = { status: "starting", handle: "" };

function refuse(reason: string): never {
  console.error(reason);
  process.exit(1);
}

if (ELECTRIC_SECRET === "" && ELECTRIC_INSECURE !== "true") refuse("ELECTRIC_SECRET is not set");
for (const name of ["DATABASE_URL", "ELECTRIC_GATEKEEPER_SECRET", "PG_PROXY_PASSWORD"]) {
  if ((process.env[name] ?? "") === "") refuse(`${name} is not set`);
}
mkdirSync(ELECTRIC_STORAGE_DIR, { recursive: true });
const note = `${ELECTRIC_STORAGE_DIR}/handle`;

async function connected(options: object = {}): Promise<pg.Client> {
  const url = new URL(process.env["DATABASE_URL"] ?? "");
  url.search = "";
  const ssl = { ca: readFileSync(process.env["PGSSLROOTCERT"] ?? "", "utf8") };
  const client = new pg.Client({ connectionString: url.href, ssl, keepAlive: true, ...options });
  client.on("error", (error) => {
    console.error(`lost a connection: ${error.message}`);
  });
  await client.connect();
  return client;
}

/** The value of a statement's first column. */
async function ask(client: pg.Client, statement: string): Promise<unknown> {
  const { rows } = await client.query<unknown[]>({ text: statement, rowMode: "array" });
  return rows[0]?.[0];
}

/** Follows the database until the connection breaks, which a restart of the server or a restore does. */
async function run(): Promise<void> {
  const client = await connected();
  try {
    const level = await ask(client, "SHOW wal_level");
    if (level !== "logical") refuse(`wal_level is ${String(level)}, it must be logical`);
    state.status = "waiting";
    await client.query(`SELECT pg_advisory_lock(hashtext('${SLOT}'))`);
    if ((await ask(client, `SELECT 1 FROM pg_publication WHERE pubname = '${PUBLICATION}'`)) === undefined)
      await client.query(`CREATE PUBLICATION ${PUBLICATION}`);
    if ((await ask(client, `SELECT 1 FROM pg_replication_slots WHERE slot_name = '${SLOT}'`)) === undefined) {
      await client.query(`SELECT pg_create_logical_replication_slot('${SLOT}', 'pgoutput')`);
      // What was read through another slot is no longer true.
      writeFileSync(note, String(Date.now()));
    }
    state.handle = readFileSync(note, "utf8");
    const reader = await connected({ replication: "database" });
    try {
      await follow(reader, { slot: SLOT, publication: PUBLICATION }, () => {
        console.log("active");
        state.status = "active";
      });
    } finally {
      await reader.end().catch(() => undefined);
    }
  } finally {
    state.status = "starting";
    await client.end().catch(() => undefined);
  }
}

async function shape(table: string): Promise<unknown> {
  if (!/^[a-z_]+$/.test(table)) return undefined;
  const client = await connected();
  try {
    const isPublished = `SELECT 1 FROM pg_publication_tables WHERE pubname = '${PUBLICATION}' AND tablename = '${table}'`;
    if ((await ask(client, isPublished)) === undefined) {
      await client.query(
        `ALTER TABLE ${table} REPLICA IDENTITY FULL; ALTER PUBLICATION ${PUBLICATION} ADD TABLE ${table}`,
      );
    }
    return (await client.query(`SELECT * FROM ${table}`)).rows.map((value: unknown) => ({ value }));
  } finally {
    await client.end();
  }
}

async function answer(url: URL): Promise<{ status: number; body: unknown }> {
  if (url.pathname === "/v1/health")
    return { status: state.status === "active" ? 200 : 202, body: { status: state.status } };
  if (url.pathname !== "/v1/shape") return { status: 404, body: {} };
  if (ELECTRIC_SECRET !== "" && url.searchParams.get("secret") !== ELECTRIC_SECRET) {
    return { status: 401, body: { message: "Unauthorized" } };
  }
  if (state.status !== "active") return { status: 503, body: { message: state.status } };
  return { status: 200, body: await shape(url.searchParams.get("table") ?? "") };
}

createServer((request, response) => {
  answer(new URL(request.url ?? "/", "http://electric"))
    .catch((error: unknown) => ({ status: 503, body: { message: String(error) } }))
    .then(({ status, body }) => {
      const headers = { "access-control-allow-origin": "*", "content-type": "application/json" };
      response.writeHead(status, { ...headers, "electric-handle": state.handle }).end(JSON.stringify(body));
    }, console.error);
}).listen(Number(ELECTRIC_PORT), "0.0.0.0");
process.on("SIGTERM", () => process.exit(0));

for (;;) {
  await run().catch((error: unknown) => {
    console.error(String(error));
  });
  await setTimeout(1000);
}
