import { existsSync } from "node:fs";
import { chmod, mkdir, readFile, rm } from "node:fs/promises";
import path from "node:path";

import Docker from "dockerode";

import { writeFileAtomically } from "../../atomic-file.ts";
import { hasStatus, tolerate } from "../../docker.ts";
import { SANDBOX_LABEL, type SandboxHome } from "../../home.ts";
import { waitFor } from "../../wait-for.ts";
import { containerLimits } from "../container.ts";
import { DATABASE_PORT, type DatabaseSpec } from "../hypervisor.ts";
import { runInside } from "../inside.ts";
import { addAddress, databaseAddress, removeAddress, type SandboxNetwork } from "../network.ts";
import { nodeFolder, PG_HBA_CONF, postgresConf } from "./configuration.ts";
import { ensureDatabaseImage } from "./image.ts";

const SCRIPT = path.join(import.meta.dirname, "node.sh");
const PSQL = "/usr/lib/postgresql/17/bin/psql";
const START_SECONDS = 60;
const STOP_SECONDS = 20;

/**
 * One PostgreSQL server of a cluster: a container in this computer's network, with an address of its own there. Its data is
 * in the cluster's folder, so a container can be replaced at any time.
 */
export class DatabaseNode {
  readonly number: number;
  readonly #home: SandboxHome;
  readonly #network: SandboxNetwork;
  readonly #docker = new Docker();

  constructor(home: SandboxHome, network: SandboxNetwork, node: number) {
    this.number = node;
    this.#home = home;
    this.#network = network;
  }

  /** Writes the configuration. @returns whether it differs from before */
  async configure(cluster: DatabaseSpec): Promise<boolean> {
    const folder = this.folder(cluster);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    const files = {
      "pg_hba.conf": PG_HBA_CONF,
      "postgresql.conf": postgresConf(cluster, this.number, databaseAddress(this.#network, this.number)),
    };
    let differs = false;
    for (const [name, content] of Object.entries(files)) {
      const file = path.join(folder, name);
      if (existsSync(file) && (await readFile(file, "utf8")) === content) continue;
      await writeFileAtomically(file, content);
      // PostgreSQL reads it as another user.
      await chmod(file, 0o644);
      differs = true;
    }
    return differs;
  }

  /** Whether its data is a standby's; undefined if it has none. */
  isStandby(cluster: DatabaseSpec): boolean | undefined {
    const data = path.join(this.folder(cluster), "data");
    if (!existsSync(path.join(data, "PG_VERSION"))) return undefined;
    return existsSync(path.join(data, "standby.signal"));
  }

  async dropData(cluster: DatabaseSpec): Promise<void> {
    await rm(path.join(this.folder(cluster), "data"), { recursive: true, force: true });
  }

  async isRunning(): Promise<boolean> {
    return (await this.#init()) !== undefined;
  }

  /**
   * Starts it, unless it runs, and waits until it accepts connections.
   *
   * @param source  the node whose data it copies if it has none; if absent, it begins an empty cluster
   */
  async start(cluster: DatabaseSpec, source?: number): Promise<void> {
    if (!(await this.isRunning())) {
      const image = await ensureDatabaseImage();
      await addAddress(this.#network, databaseAddress(this.#network, this.number));
      await this.remove();
      await (await this.#docker.createContainer(this.#options(cluster, image, source))).start();
    }
    const { isRunning } = await waitFor(
      `database node ${this.number} to accept connections`,
      START_SECONDS,
      async () => {
        const runs = await this.isRunning();
        if (runs) await this.query("select 1");
        return { isRunning: runs };
      },
    );
    if (!isRunning) throw new Error(`database node ${this.number}: it has ended. ${await this.#lastWords()}`);
  }

  /** Makes a running node use its present configuration and size; restarts it if that is necessary. */
  async apply(cluster: DatabaseSpec): Promise<void> {
    const before = await this.query("select pg_conf_load_time()");
    await this.query("select pg_reload_conf()");
    // The server reads the files a little later.
    await waitFor(`database node ${this.number} to read its configuration`, START_SECONDS, async () => {
      return (await this.query("select pg_conf_load_time()")) !== before;
    });
    const { Memory } = (await this.#container.inspect()).HostConfig;
    const isResized = Memory !== containerLimits(cluster).Memory;
    const isPending = await this.query("select count(*) > 0 from pg_settings where pending_restart");
    if (!isResized && isPending === "f") return;
    await this.#container.stop({ t: STOP_SECONDS }).catch(tolerate(304, 404));
    await this.start(cluster);
  }

  kill(): Promise<void> {
    return this.#container.kill().catch(tolerate(404, 409));
  }

  /** Removes its container; its data stays. */
  async remove(): Promise<void> {
    await this.#container.remove({ force: true }).catch(tolerate(404));
  }

  async removeAddress(): Promise<void> {
    await removeAddress(this.#network, databaseAddress(this.#network, this.number));
  }

  /** Runs SQL with all rights. @returns the rows, without decoration */
  async query(sql: string, database = "postgres"): Promise<string> {
    // A terse error does not repeat the statement, which may have a password.
    const variables = ["ON_ERROR_STOP=1", "VERBOSITY=terse"].flatMap((variable) => ["--set", variable]);
    const options = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", ...variables];
    const server = ["--host", nodeFolder(this.number), "--port", String(DATABASE_PORT), "--username", "_dodb"];
    return this.run([PSQL, ...options, ...server, "--dbname", database], sql);
  }

  /** Runs a program in its container. @returns what it prints */
  async run(command: string[], input = ""): Promise<string> {
    const init = await this.#init();
    if (init === undefined) throw new Error(`database node ${this.number}: it does not run.`);
    return runInside(init, command, input);
  }

  get #container(): Docker.Container {
    return this.#docker.getContainer(this.#name);
  }

  get #name(): string {
    return `database-${this.#home.id}-${this.number}`;
  }

  /** Where its configuration and its data are. */
  folder({ id }: DatabaseSpec): string {
    return path.join(clusterFolder(this.#home, id), "nodes", String(this.number));
  }

  #options(cluster: DatabaseSpec, image: string, source: number | undefined): Docker.ContainerCreateOptions {
    // Only for its first data: later, the other cluster may be gone.
    const restore = source === undefined && this.isStandby(cluster) === undefined ? cluster.restore : undefined;
    const origin = source === undefined ? ["primary"] : ["copy", String(source)];
    return {
      name: this.#name,
      Image: image,
      Cmd: [
        ...["/usr/local/bin/node.sh", String(this.number)],
        ...(restore ? ["restore", restore.backupId, postgresTime(restore.time)] : origin),
      ],
      // Otherwise, its log would be in the engine's own format.
      Tty: true,
      Labels: { [SANDBOX_LABEL]: this.#home.id },
      // PostgreSQL's fast shutdown: it does not wait for its clients.
      StopSignal: "SIGINT",
      HostConfig: {
        NetworkMode: "host",
        Binds: [
          `${clusterFolder(this.#home, cluster.id)}:/cluster`,
          `${SCRIPT}:/usr/local/bin/node.sh:ro`,
          ...(restore ? [`${clusterFolder(this.#home, restore.cluster.id)}:/source:ro`] : []),
        ],
        ...containerLimits(cluster),
      },
    };
  }

  /** This computer's id of the node's first process; undefined if it does not run. */
  async #init(): Promise<number | undefined> {
    try {
      const { State } = await this.#container.inspect();
      return State.Running ? State.Pid : undefined;
    } catch (error) {
      if (hasStatus(error, 404)) return undefined;
      throw error;
    }
  }

  async #lastWords(): Promise<string> {
    const log = await this.#container.logs({ stdout: true, stderr: true, tail: 5 });
    return log.toString("utf8").trim();
  }
}

/** In the form that PostgreSQL's settings need; empty if absent. */
function postgresTime(time = ""): string {
  return time.replace("T", " ").replace("Z", "+00");
}

/** Where a sandbox keeps a cluster's data, WAL and certificates. */
export function clusterFolder(home: SandboxHome, id: string): string {
  return path.join(home.root, "databases", id);
}
