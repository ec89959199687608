import { mkdtemp, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { buffer } from "node:stream/consumers";
import Docker from "dockerode";
import { execa } from "execa";
import pg from "pg";
import { instanceSecret, mintAdminKey } from "../../sandbox/images/backend/admin-key.ts";
import { ensureNetwork, type SandboxNetwork } from "../../sandbox/droplet/network.ts";
import { SANDBOX_LABEL, sandboxHome, type SandboxHome } from "../../sandbox/home.ts";
import { waitFor } from "../../sandbox/wait-for.ts";

const docker = new Docker();

/** The name of the tests' backend, and the database that belongs to it. */
export const NAME = "convex-self-hosted";
export const SECRET = "4361726e697461732c206c69746572616c6c79206d65616e696e6720226c6974";
export const DATABASE = "convex_self_hosted";
/** The password of the database's role, as in a URL. */
export const PASSWORD = "p%40ss%2Fword";

/** An admin key, by default for that backend. */
export function adminKey(claims: { isReadOnly?: boolean; system?: boolean } = {}, secret = SECRET): string {
  return mintAdminKey(NAME, instanceSecret(secret), {
    issuedSeconds: 1_700_000_000,
    identity: claims.system ? { kind: "system" } : { kind: "member", memberId: 0 },
    isReadOnly: claims.isReadOnly ?? false,
  });
}

/** The environment of a backend that starts. */
export function backendEnvironment(postgres: TestPostgres): Record<string, string> {
  return {
    INSTANCE_NAME: NAME,
    INSTANCE_SECRET: SECRET,
    POSTGRES_URL: postgres.url(),
    DO_NOT_REQUIRE_SSL: "1",
    POSTGRES_MAX_CONNECTIONS: "8",
    CONVEX_CLOUD_ORIGIN: "http://127.0.0.1:3210",
    CONVEX_SITE_ORIGIN: "http://127.0.0.1:3211",
  };
}

/** A sandbox's empty folder and network. */
export class TestSandbox implements AsyncDisposable {
  readonly home: SandboxHome;
  readonly network: SandboxNetwork;

  private constructor(home: SandboxHome, network: SandboxNetwork) {
    this.home = home;
    this.network = network;
  }

  static async create(): Promise<TestSandbox> {
    const home = sandboxHome(await mkdtemp(path.join(os.tmpdir(), "images-test-")));
    return new TestSandbox(home, await ensureNetwork(home));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const label = `${SANDBOX_LABEL}=${this.home.id}`;
    for (const { Id } of await docker.listContainers({ all: true, filters: { label: [label] } }))
      await docker.getContainer(Id).remove({ force: true, v: true });
    const { Volumes } = await docker.listVolumes({ filters: { label: [label] } });
    for (const { Name } of Volumes) await docker.getVolume(Name).remove();
    await docker.getNetwork(this.network.name).remove();
    await rm(this.home.root, { recursive: true });
  }

  /** A volume for a container's data, removed with the sandbox. */
  async volume(name: string): Promise<string> {
    const fullName = `${this.home.id}-${name}`;
    await docker.createVolume({ Name: fullName, Labels: { [SANDBOX_LABEL]: this.home.id } });
    return fullName;
  }

  async run(image: string, settings: ContainerSettings = {}): Promise<TestContainer> {
    const container = await docker.createContainer({
      Image: image,
      Env: variables(settings.env ?? {}),
      Labels: { [SANDBOX_LABEL]: this.home.id },
      ...(settings.entrypoint && { Entrypoint: settings.entrypoint }),
      ...(settings.command && { Cmd: settings.command }),
      HostConfig: {
        NetworkMode: this.network.name,
        Binds: settings.binds ?? [],
        ExtraHosts: ["database.test", ...(settings.hosts ?? [])].map((host) => `${host}:${this.network.gateway}`),
      },
    });
    await container.start();
    return new TestContainer(container, this.network.name);
  }
}

export interface ContainerSettings {
  /** Names that lead to this computer. */
  hosts?: string[];
  env?: Record<string, string>;
  binds?: string[];
  entrypoint?: string[];
  command?: string[];
}

export class TestContainer implements AsyncDisposable {
  readonly #container: Docker.Container;
  readonly #network: string;

  constructor(container: Docker.Container, network: string) {
    this.#container = container;
    this.#network = network;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#container.remove({ force: true, v: true });
  }

  /** Both output streams. */
  async logs(): Promise<string> {
    const multiplexed = await this.#container.logs({ stdout: true, stderr: true });
    return demultiplex(multiplexed);
  }

  /** Resolves with the exit code. */
  async ended(): Promise<number> {
    return this.#waitFor("the container to end", async () => {
      const { State } = await this.#container.inspect();
      return State.Running ? false : State.ExitCode;
    });
  }

  async isRunning(): Promise<boolean> {
    return (await this.#container.inspect()).State.Running;
  }

  async url(port: number): Promise<string> {
    const { NetworkSettings } = await this.#container.inspect();
    return `http://${NetworkSettings.Networks[this.#network]?.IPAddress ?? ""}:${port}`;
  }

  /** Resolves with the port's URL when it answers. */
  async answers(port: number): Promise<string> {
    const url = await this.#waitFor(`port ${port} to answer`, async () => {
      if (!(await this.isRunning())) return undefined;
      const url = await this.url(port);
      await fetch(`${url}/version`);
      return url;
    });
    if (url === undefined) throw new Error(`the container ended:\n${await this.logs()}`);
    return url;
  }

  /** Adds the container's logs to the error. */
  #waitFor<T>(what: string, probe: () => Promise<T>) {
    return waitFor(what, 20, probe).catch(async (error: unknown) => {
      throw new Error(`${String(error)}\n${await this.logs()}`, { cause: error });
    });
  }

  async signal(signal: "SIGINT" | "SIGTERM" | "SIGKILL"): Promise<void> {
    await this.#container.kill({ signal });
  }

  async start(): Promise<void> {
    await this.#container.start();
  }

  /** Resolves with standard output. @throws Error if the command fails */
  async exec(command: string[]): Promise<string> {
    const { code, output } = await this.tryExec(command);
    if (code !== 0)
      throw new Error(`${command.join(" ")}: exit code ${code}
${output}`);
    return output;
  }

  /** `env` is added to the container's. `output` contains standard error only if requested. */
  async tryExec(
    command: string[],
    { env = {}, withErrors = false }: { env?: Record<string, string>; withErrors?: boolean } = {},
  ): Promise<{ code: number; output: string }> {
    const exec = await this.#container.exec({
      Cmd: command,
      Env: variables(env),
      AttachStdout: true,
      AttachStderr: withErrors,
    });
    const output = demultiplex(await buffer(await exec.start({})));
    const { ExitCode } = await exec.inspect();
    return { code: ExitCode ?? -1, output };
  }
}

function variables(env: Record<string, string>): string[] {
  return Object.entries(env).map(([name, value]) => `${name}=${value}`);
}

/** Docker puts eight bytes before each piece of output; the last four are its length. */
function demultiplex(bytes: Buffer): string {
  const pieces: Buffer[] = [];
  for (let start = 0; start < bytes.length;) {
    const end = start + 8 + bytes.readUInt32BE(start + 4);
    pieces.push(bytes.subarray(start + 8, end));
    start = end;
  }
  return Buffer.concat(pieces).toString();
}

/** A PostgreSQL server from Debian's package, with a cluster in a temporary folder, for the containers of a sandbox. */
export class TestPostgres implements AsyncDisposable {
  readonly port: number;
  readonly #folder: string;
  readonly #binaries: string;

  private constructor(folder: string, binaries: string, port: number) {
    this.#folder = folder;
    this.#binaries = binaries;
    this.port = port;
  }

  /** Has the role `convex` with the password `PASSWORD`, and no database for it. */
  static async start({ home, network }: TestSandbox): Promise<TestPostgres> {
    const folder = await mkdtemp(path.join(os.tmpdir(), "images-postgres-"));
    const [newest] = (await execa("ls", ["-rv", "/usr/lib/postgresql"])).stdout.split("\n");
    const server = new TestPostgres(folder, `/usr/lib/postgresql/${newest ?? ""}/bin`, home.apiPort);
    await execa("chown", ["postgres", folder]);
    await server.#asPostgres("initdb", [
      "-D",
      server.#data,
      "--no-sync",
      "--auth-local=trust",
      "--auth-host=scram-sha-256",
    ]);
    await execa("tee", ["-a", path.join(server.#data, "pg_hba.conf")], {
      input: `host all all ${network.subnet} scram-sha-256\n`,
    });
    const settings = `-c listen_addresses=${network.gateway} -p ${server.port} -k ${folder} -c fsync=off`;
    await server.#asPostgres("pg_ctl", [
      "start",
      "-w",
      "-D",
      server.#data,
      "-o",
      settings,
      "-l",
      path.join(folder, "log"),
    ]);
    await server.query("postgres", `CREATE ROLE convex LOGIN PASSWORD '${decodeURIComponent(PASSWORD)}'`);
    return server;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#asPostgres("pg_ctl", ["stop", "-w", "-m", "immediate", "-D", this.#data]);
    await rm(this.#folder, { recursive: true });
  }

  /** The server's URL for containers, without a database's name. */
  url(query = "", host = "database.test"): string {
    return `postgresql://convex:${PASSWORD}@${host}:${this.port}${query}`;
  }

  get #data(): string {
    return path.join(this.#folder, "data");
  }

  /** Disconnects all clients. */
  async restart(): Promise<void> {
    await this.#asPostgres("pg_ctl", ["restart", "-w", "-m", "immediate", "-D", this.#data]);
  }

  async createDatabase(name: string): Promise<void> {
    await this.query("postgres", `CREATE DATABASE "${name}" OWNER convex`);
  }

  /** As the superuser, over the socket. */
  async query<Row extends pg.QueryResultRow>(database: string, sql: string): Promise<Row[]> {
    const client = new pg.Client({ host: this.#folder, port: this.port, user: "postgres", database });
    await client.connect();
    try {
      return (await client.query<Row>(sql)).rows;
    } finally {
      await client.end();
    }
  }

  /** Enables TLS with a self-signed certificate for `names`. @returns the certificate */
  async enableTls(names: string): Promise<string> {
    const certificate = path.join(this.#data, "server.crt");
    const keyFile = path.join(this.#data, "server.key");
    const newKey = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    const subject = ["-subj", "/CN=test", "-addext", `subjectAltName=${names}`];
    await execa("openssl", [...newKey, ...subject, "-keyout", keyFile, "-out", certificate]);
    await execa("chown", ["postgres", certificate, keyFile]);
    await this.#setTls("on");
    return (await execa("cat", [certificate])).stdout;
  }

  async disableTls(): Promise<void> {
    await this.#setTls("off");
  }

  async #setTls(value: "on" | "off"): Promise<void> {
    await this.query("postgres", `ALTER SYSTEM SET ssl = ${value}`);
    await this.query("postgres", "SELECT pg_reload_conf()");
    await waitFor(`Postgres to have ssl ${value}`, 20, async () => {
      const [row] = await this.query<{ ssl: string }>("postgres", "SHOW ssl");
      return row?.ssl === value;
    });
  }

  async #asPostgres(program: string, args: string[]): Promise<void> {
    await execa("runuser", ["-u", "postgres", "--", path.join(this.#binaries, program), ...args], {
      cwd: "/",
      stdio: "ignore",
    });
  }
}
