import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { execa } from "execa";
import pg from "pg";
import { freePort } from "../free-port.ts";

/** A PostgreSQL server from Debian's package on this computer's loopback address, with its data in a temporary folder. */
export class LocalPostgres implements AsyncDisposable {
  readonly host = "127.0.0.1";
  readonly port: number;
  readonly #folder: string;
  readonly #binaries: string;

  private constructor(folder: string, binaries: string, port: number) {
    this.#folder = folder;
    this.#binaries = binaries;
    this.port = port;
  }

  static async start(): Promise<LocalPostgres> {
    const [version = "none"] = (await readdir("/usr/lib/postgresql")).sort((one, other) => Number(other) - Number(one));
    const folder = await mkdtemp(path.join(tmpdir(), "plugin-postgresql-"));
    const server = new LocalPostgres(folder, `/usr/lib/postgresql/${version}/bin`, await freePort());
    await execa("chown", ["postgres", folder]);
    await server.#run("initdb", "--no-sync", "--auth-local=trust", "--auth-host=scram-sha-256");
    const options = `-c listen_addresses=${server.host} -p ${server.port} -k ${folder} -c fsync=off`;
    await server.#run("pg_ctl", "start", "-w", "-o", options, "-l", path.join(folder, "log"));
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#run("pg_ctl", "stop", "-w", "-m", "immediate");
    await rm(this.#folder, { recursive: true });
  }

  /** As the superuser, over the socket. */
  async query<Row extends pg.QueryResultRow>(text: string, database = "postgres"): Promise<Row[]> {
    const client = new pg.Client({ host: this.#folder, port: this.port, user: "postgres", database });
    await client.connect();
    try {
      return (await client.query<Row>(text)).rows;
    } finally {
      await client.end();
    }
  }

  /** PostgreSQL refuses to run as root. */
  async #run(program: string, ...args: string[]): Promise<void> {
    const command = [path.join(this.#binaries, program), "-D", path.join(this.#folder, "data"), ...args];
    await execa("runuser", ["-u", "postgres", "--", ...command], { cwd: "/", stdio: "ignore" });
  }
}
