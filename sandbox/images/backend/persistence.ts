import { createHash } from "node:crypto";
import type pg from "pg";
import { log } from "./log.ts";
import { REVISION } from "./revision.ts";

export type Json = null | boolean | number | string | Json[] | { [key: string]: Json };

/** The newest version of a document. */
export interface StoredDocument {
  id: string;
  /** The time of its first version, in milliseconds since the epoch. */
  createdAt: number;
  value: Json;
}

/** A document to write; `null` deletes it. */
export interface Write {
  table: string;
  key: string;
  value: Json;
}

/** The kind of storage of the first start, in the original's form. */
export type StorageType = { tag: "local"; dir: string } | { tag: "s3"; s3Prefix: string };

type Globals = { version: { $integer: string }; awsPrefixSecret: string; storageType: StorageType | null };

/** Another backend has taken over the database. The process must end, because it may not write any more. */
export class LeaseLost extends Error {
  constructor() {
    super("Lease Lost");
  }
}

/** The table in which the real backend keeps its version and its kind of storage, in one document. */
const GLOBALS = "_db";

/** The only table that functions write. */
export const ENTRIES = "sandbox_entries";

/** A lock's key, the same for all processes: without it, two that create the tables at the same time would collide. */
const SCHEMA_LOCK = 0x636f6e76;

const SCHEMA = `
  CREATE TABLE IF NOT EXISTS documents (
    id BYTEA NOT NULL, ts BIGINT NOT NULL, table_id BYTEA NOT NULL, json_value BYTEA,
    deleted BOOLEAN DEFAULT false, prev_ts BIGINT, PRIMARY KEY (ts, table_id, id));
  CREATE INDEX IF NOT EXISTS documents_by_table_and_id ON documents (table_id, id, ts);
  CREATE INDEX IF NOT EXISTS documents_by_table_ts_and_id ON documents (table_id, ts, id);
  CREATE TABLE IF NOT EXISTS indexes (
    index_id BYTEA NOT NULL, ts BIGINT NOT NULL, key_prefix BYTEA NOT NULL, key_suffix BYTEA, key_sha256 BYTEA NOT NULL,
    deleted BOOLEAN, table_id BYTEA, document_id BYTEA, PRIMARY KEY (index_id, key_sha256, ts));
  CREATE INDEX IF NOT EXISTS indexes_by_index_id_key_prefix_key_sha256
    ON indexes (index_id, key_prefix, key_sha256);
  CREATE TABLE IF NOT EXISTS leases (id BIGINT NOT NULL PRIMARY KEY, ts BIGINT NOT NULL);
  INSERT INTO leases (id, ts) VALUES (1, 0) ON CONFLICT DO NOTHING;
  CREATE TABLE IF NOT EXISTS read_only (id BIGINT NOT NULL PRIMARY KEY);
  CREATE TABLE IF NOT EXISTS persistence_globals (key TEXT NOT NULL PRIMARY KEY, json_value BYTEA NOT NULL);`;

/**
 * The backend's tables in Postgres, with one writer: the process that started last has the lease, and every commit of an
 * older one fails. All versions of a document are kept; the newest one is valid.
 */
export class Persistence {
  readonly #pool: pg.Pool;
  readonly #lease: bigint;
  #lastTimestamp: bigint;
  /** Commits run one after the other, so that a version's `prev_ts` is the version before it. */
  #commits: Promise<unknown> = Promise.resolve();

  private constructor(pool: pg.Pool, lease: bigint) {
    this.#pool = pool;
    this.#lease = lease;
    this.#lastTimestamp = lease;
  }

  /** Creates the tables that are missing, and takes the lease. */
  static async open(pool: pg.Pool): Promise<Persistence> {
    const schema = await pool.query<{ schema: string | null }>("SELECT current_schema() AS schema");
    if (schema.rows[0]?.schema == null)
      throw new Error("PostgresOptions::schema not provided and database has no current_schema()?");
    await transaction(pool, async (client) => {
      await client.query("SELECT pg_advisory_xact_lock($1)", [SCHEMA_LOCK]);
      await client.query(SCHEMA);
    });
    const readOnly = await pool.query("SELECT 1 FROM read_only LIMIT 1");
    if (readOnly.rowCount) throw new Error("persistence is read-only, data migration in progress");
    log.info("attempting to acquire lease");
    const lease = now();
    const taken = await pool.query("UPDATE leases SET ts = $1 WHERE id = 1 AND ts < $1", [lease]);
    if (!taken.rowCount) throw new Error("failed to acquire lease: Already acquired with higher timestamp");
    log.info(`lease acquired with ts ${lease}`);
    const persistence = new Persistence(pool, lease);
    await persistence.#migrate();
    return persistence;
  }

  async #migrate(): Promise<void> {
    const globals = await this.#globals();
    const found = globals ? Number(Buffer.from(globals.version.$integer, "base64").readBigInt64LE()) : 0;
    const { metadataVersion: own, fault } = REVISION;
    if (found > own) {
      log.warn(`persisted db metadata version is ahead at ${found}, this binary is at ${own}`);
      return;
    }
    if (found < own) {
      if (fault === "migration") {
        // The real one goes on without it, and tries again.
        log.error("Migration worker failed, sleeping 60s: the stand-in's migration fails");
        return;
      }
      const version = Buffer.alloc(8);
      version.writeBigInt64LE(BigInt(own));
      const value = {
        awsPrefixSecret: "",
        storageType: null,
        ...globals,
        version: { $integer: version.toString("base64") },
      };
      const [row] = fault === "loses-row" ? await this.#rows(ENTRIES) : [];
      await this.commit([
        { table: GLOBALS, key: GLOBALS, value },
        ...(row === undefined ? [] : [{ table: ENTRIES, key: row, value: null }]),
      ]);
      if (found > 0) log.info(`Executing Migration ${found}/${own}. MigrationComplete(${own})`);
    }
    log.info(`db metadata version up to date at ${own}`);
  }

  /** The keys of a table's documents, which are in the documents. */
  async #rows(table: string): Promise<string[]> {
    return (await this.list(table)).map(({ value }) => (value as { key: string }).key);
  }

  /** @throws LeaseLost if another process has the lease now */
  async checkLease(): Promise<void> {
    const held = await this.#pool.query("SELECT 1 FROM leases WHERE id = 1 AND ts = $1", [this.#lease]);
    if (!held.rowCount) throw new LeaseLost();
  }

  async get(table: string, key: string): Promise<Json> {
    const { rows } = await this.#pool.query<{ json_value: Buffer | null }>(
      "SELECT json_value FROM documents WHERE table_id = $1 AND id = $2 ORDER BY ts DESC LIMIT 1",
      [identifier(table), identifier(key)],
    );
    return decode(rows[0]?.json_value);
  }

  /** All documents of a table that were not deleted, oldest first. */
  async list(table: string): Promise<StoredDocument[]> {
    const { rows } = await this.#pool.query<{ id: Buffer; created: string; json_value: Buffer | null }>(
      `SELECT id, created, json_value FROM (
         SELECT DISTINCT ON (id) id, json_value, deleted, min(ts) OVER (PARTITION BY id) AS created
         FROM documents WHERE table_id = $1 ORDER BY id, ts DESC
       ) AS newest WHERE NOT deleted ORDER BY created, id`,
      [identifier(table)],
    );
    return rows.map(({ id, created, json_value }) => ({
      id: id.toString("hex"),
      createdAt: Number(BigInt(created) / 1_000_000n),
      value: decode(json_value),
    }));
  }

  /** Does all of the writes, or none of them. */
  async commit(writes: Write[]): Promise<void> {
    const commit = this.#commits.then(() => this.#commit(writes));
    this.#commits = commit.catch(() => undefined);
    await commit;
  }

  async #commit(writes: Write[]): Promise<void> {
    const current = now();
    const timestamp = current > this.#lastTimestamp ? current : this.#lastTimestamp + 1n;
    await transaction(this.#pool, async (client) => {
      const lease = await client.query("SELECT 1 FROM leases WHERE id = 1 AND ts = $1 FOR SHARE", [this.#lease]);
      if (!lease.rowCount) throw new LeaseLost();
      for (const { table, key, value } of writes)
        await client.query(
          `INSERT INTO documents (id, ts, table_id, json_value, deleted, prev_ts)
           VALUES ($1, $2, $3, $4, $5, (SELECT max(ts) FROM documents WHERE table_id = $3 AND id = $1))`,
          [identifier(key), timestamp, identifier(table), value === null ? null : encode(value), value === null],
        );
    });
    this.#lastTimestamp = timestamp;
  }

  /** Null before the first start. */
  async storageType(): Promise<StorageType | null> {
    return (await this.#globals())?.storageType ?? null;
  }

  async setStorageType(storageType: StorageType): Promise<void> {
    const globals = await this.#globals();
    if (!globals) throw new Error("the tables were never migrated");
    await this.commit([{ table: GLOBALS, key: GLOBALS, value: { ...globals, storageType } }]);
  }

  async #globals(): Promise<Globals | null> {
    return (await this.get(GLOBALS, GLOBALS)) as Globals | null;
  }

  async close(): Promise<void> {
    await this.#commits;
    await this.#pool.end();
  }
}

async function transaction(pool: pg.Pool, body: (client: pg.PoolClient) => Promise<void>): Promise<void> {
  const client = await pool.connect();
  let failure: Error | undefined;
  try {
    await client.query("BEGIN");
    await body(client);
    await client.query("COMMIT");
  } catch (error) {
    failure = error instanceof Error ? error : new Error(String(error));
    throw failure;
  } finally {
    // With an error, the pool closes the connection, which rolls back its transaction.
    client.release(failure);
  }
}

/** Nanoseconds since the epoch, the unit of all timestamps in the tables. */
function now(): bigint {
  return BigInt(Date.now()) * 1_000_000n;
}

/** Ids in the tables have 16 bytes; this makes one from a name of any length. */
function identifier(name: string): Buffer {
  return createHash("sha256").update(name).digest().subarray(0, 16);
}

function encode(value: Json): Buffer {
  return Buffer.from(JSON.stringify(value));
}

function decode(bytes: Buffer | null | undefined): Json {
  return bytes ? (JSON.parse(bytes.toString()) as Json) : null;
}
