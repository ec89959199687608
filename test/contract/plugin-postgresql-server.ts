import { mkdir, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { execa } from "execa";
import pg from "pg";
import { waitFor } from "../../sandbox/wait-for.ts";
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

  /**
   * Lets it serve over TLS, with a certificate for a name, until the result is disposed of. That has the path of a folder with
   * `authority.pem`, which vouches for the certificate, and `other.pem`, which does not.
   */
  async serveTls(name: string): Promise<AsyncDisposable & { path: string }> {
    const folder = path.join(this.#folder, "tls");
    const own = (key: string, ...args: string[]) =>
      execa("openssl", ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-keyout", key, ...args], {
        cwd: folder,
      });
    await mkdir(folder);
    for (const authority of ["authority", "other"]) {
      await own(`${authority}.key`, "-subj", `/CN=${authority}`, "-out", `${authority}.pem`);
    }
    const vouched = ["-CA", "authority.pem", "-CAkey", "authority.key", "-addext", `subjectAltName=DNS:${name}`];
    await own("server.key", "-subj", `/CN=${name}`, ...vouched, "-out", "server.crt");
    await execa("chown", ["-R", "postgres", folder]);
    const [certificate, key] = ["server.crt", "server.key"].map((file) => path.join(folder, file));
    await this.query(`ALTER SYSTEM SET ssl_cert_file = '${certificate}'`);
    await this.query(`ALTER SYSTEM SET ssl_key_file = '${key}'`);
    await this.#setTls("on");
    return {
      path: folder,
      [Symbol.asyncDispose]: async () => {
        await this.#setTls("off");
        await rm(folder, { recursive: true });
      },
    };
  }

  /** Resolves once new connections see it. */
  async #setTls(state: "on" | "off"): Promise<void> {
    await this.query(`ALTER SYSTEM SET ssl = ${state}`);
    await this.query("SELECT pg_reload_conf()");
    await waitFor(
      `TLS to be ${state}`,
      10,
      async () => (await this.query<{ ssl: string }>("SHOW ssl"))[0]?.ssl === state,
    );
  }

  /** PostgreSQL refuses to run as root. */
  async #run(program: string, ...args: string[]): Promise<void> {
    const command = [path.join(this.#binaries, program), "-D", path.join(this.#folder, "data"), ...args];
    await execa("runuser", ["-u", "postgres", "--", ...command], { cwd: "/", stdio: "ignore" });
  }
}
