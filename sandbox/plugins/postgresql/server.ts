import { readFileSync } from "node:fs";
import type { ConnectionOptions } from "node:tls";

import pg from "pg";

/** The server and the user: the provider's arguments with defaults. */
export interface ServerSettings {
  host: string;
  port: number;
  /** The database to connect to for work on roles and databases. */
  database: string;
  username: string;
  password?: string;
  sslmode: string;
  sslrootcert?: string;
  /** Whether the user may read password hashes. */
  superuser: boolean;
  /** Seconds. */
  connectTimeout: number;
  /** `9.0.0`, the default, means that the server is asked. */
  expectedVersion: string;
  /** The role that owns new objects, if its name differs from the login's. */
  databaseUsername?: string;
}

/** An open connection, or a transaction on it. */
export interface Session {
  query<Row extends pg.QueryResultRow>(sql: string, values?: unknown[]): Promise<Row[]>;
}

/** One PostgreSQL server. Each operation opens a connection and closes it; before that, nothing connects. */
export class Server {
  readonly settings: ServerSettings;
  #version: number | undefined;

  constructor(settings: ServerSettings) {
    this.settings = settings;
  }

  /** The role that statements run as. */
  get user(): string {
    return this.settings.databaseUsername ?? this.settings.username;
  }

  /** @param database instead of the settings' own */
  async connect<T>(work: (session: Session) => Promise<T>, database?: string): Promise<T> {
    const client = new pg.Client({
      host: this.settings.host,
      port: this.settings.port,
      database: database ?? this.settings.database,
      user: this.settings.username,
      ...(this.settings.password === undefined ? {} : { password: this.settings.password }),
      ssl: tlsOptions(this.settings),
      connectionTimeoutMillis: this.settings.connectTimeout * 1000,
    });
    // If a connection is lost between two queries, the next query fails with the error.
    client.on("error", () => undefined);
    try {
      await client.connect().catch((error: unknown) => {
        throw this.#connectionError(error);
      });
      return await work({
        query: async <Row extends pg.QueryResultRow>(sql: string, values?: unknown[]) =>
          (await client.query<Row>(sql, values).catch(reworded)).rows,
      });
    } finally {
      await client.end();
    }
  }

  /** Like {@link connect}, in one transaction: does all of the work, or none of it. */
  async transaction<T>(work: (session: Session) => Promise<T>, database?: string): Promise<T> {
    return this.connect(async (session) => {
      await session.query("BEGIN");
      try {
        const result = await work(session);
        await session.query("COMMIT");
        return result;
      } catch (error) {
        await session.query("ROLLBACK").catch(() => undefined);
        throw error;
      }
    }, database);
  }

  /** The server's major version: `expectedVersion` if it is set, else the server is asked once. */
  async version(session: Session): Promise<number> {
    if (this.settings.expectedVersion !== "9.0.0") return Number.parseInt(this.settings.expectedVersion, 10);
    if (this.#version === undefined) {
      const [row] = await session.query<{ number: string }>("SELECT current_setting('server_version_num') AS number");
      this.#version = Math.floor(Number(row?.number) / 10_000);
    }
    return this.#version;
  }

  #connectionError(error: unknown): Error {
    return new Error(
      `error connecting to PostgreSQL server ${this.settings.host} (scheme: postgres): ${wordsOf(error)}`,
    );
  }
}

function reworded(error: unknown): never {
  throw new Error(wordsOf(error), { cause: error });
}

/** The error with the text of the official plugin's client. */
function wordsOf(error: unknown): string {
  // A refused connection to a name with several addresses is an error with one error for each.
  const first: unknown = error instanceof AggregateError ? error.errors.at(-1) : error;
  const { code, address, port } = first as { code?: string; address?: string; port?: number };
  if (code === "ECONNREFUSED") return `dial tcp ${address ?? ""}:${port ?? ""}: connect: connection refused`;
  const message = first instanceof Error ? first.message : String(first);
  if (message === "The server does not support SSL connections") return "pq: SSL is not enabled on the server";
  return first instanceof pg.DatabaseError ? `pq: ${message} (${code ?? ""})` : message;
}

function tlsOptions({ sslmode, sslrootcert }: ServerSettings): false | ConnectionOptions {
  switch (sslmode) {
    case "disable":
      return false;
    case "require":
      // With authorities, the official plugin's client takes it for verify-ca.
      return sslrootcert === undefined ? { rejectUnauthorized: false } : trusting(sslrootcert);
    case "verify-ca":
      return sslrootcert === undefined ? { checkServerIdentity: () => undefined } : trusting(sslrootcert);
    default:
      throw new Error(
        `sslmode: ${sslmode} is not in the sandbox's stand-in, it should be disable, require or verify-ca.`,
      );
  }
}

/** Any name is right, if one of these authorities vouches for it. */
function trusting(file: string): ConnectionOptions {
  return { ca: readFileSync(file, "utf8"), checkServerIdentity: () => undefined };
}

/** Quotes a name for SQL text. */
export const identifier = pg.escapeIdentifier;
/** Quotes a value for SQL text; statements about roles and databases take no parameters. */
export const literal = pg.escapeLiteral;
