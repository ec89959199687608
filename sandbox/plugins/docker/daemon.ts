import { request } from "node:http";
import { homedir } from "node:os";
import path from "node:path";
import Docker from "dockerode";
import { messageOf } from "../framework/errors.ts";
import type { Clock } from "../framework/state-change.ts";

/** For a registry. */
export interface Credentials {
  address: string;
  username?: string;
  password?: string;
}

/** What the resources use. */
export interface Client {
  daemon: Daemon;
  credentials: Credentials[];
  clock: Clock;
}

const SCHEME = "unix://";
const DEFAULT_HOST = "unix:///var/run/docker.sock";

/** The version for a server that does not report one. */
const OLDEST_VERSION = "1.24";

/** The Docker engine behind a `host` of the provider. */
export class Daemon {
  readonly #host: string;
  #client: Promise<Docker> | undefined;

  private constructor(host: string) {
    this.#host = host;
  }

  /**
   * Finds the engine as the official plugin does in its configuration: it asks once, waits without limit for the answer,
   * and does not report why it failed. Only without a host does it try a second and a third place.
   *
   * @param host `unix:///path/to/docker.sock`
   */
  static async find(host: string | undefined): Promise<Daemon> {
    const sockets = [".docker/run/docker.sock", ".docker/desktop/docker.sock"];
    const others = host === undefined ? sockets.map((file) => `${SCHEME}${path.join(homedir(), file)}`) : [];
    for (const candidate of [host ?? DEFAULT_HOST, ...others]) {
      checkScheme(candidate);
      if (await ping(candidate).then(Boolean, () => false)) return new Daemon(candidate);
    }
    throw new Error(
      "docker native provider returned an unexpected error from Configure: failed to connect to any docker daemon",
    );
  }

  /** The client; its first use finds the engine again, and negotiates the API's version. */
  client(): Promise<Docker> {
    this.#client ??= this.#connect().catch((error: unknown) => {
      this.#client = undefined;
      throw error;
    });
    return this.#client;
  }

  async #connect(): Promise<Docker> {
    try {
      await ping(this.#host);
    } catch (error) {
      throw new Error(
        `failed to create Docker client: Error pinging Docker server, please make sure that ${this.#host} is reachable ` +
          `and has a  '_ping' endpoint. Error: ${messageOf(error)}`,
        { cause: error },
      );
    }
    // The official plugin asks again, because its client negotiates the version with its first real request.
    const version = await ping(this.#host).catch(() => OLDEST_VERSION);
    const docker = new Docker({ socketPath: socketOf(this.#host), version: `v${version}` });
    await docker.version().catch(() => undefined);
    return docker;
  }
}

/** Whether the engine answered that the object does not exist. */
export function isNotFound(error: unknown): boolean {
  return error instanceof Error && (error as { statusCode?: number }).statusCode === 404;
}

/** Adds what failed before the engine's message. */
export function failed(doing: string): (error: unknown) => never {
  return (error) => {
    const { json, code, address } = error as { json?: { message?: string }; code?: string; address?: string };
    const said = json?.message;
    const reason =
      said === undefined
        ? code !== undefined && address !== undefined
          ? unreachable(`${SCHEME}${address}`)
          : messageOf(error)
        : `Error response from daemon: ${said.trim()}`;
    throw new Error(`${doing}: ${reason}`, { cause: error });
  };
}

function unreachable(host: string): string {
  return `Cannot connect to the Docker daemon at ${host}. Is the docker daemon running?`;
}

/** The version of the engine's API. If the engine does not know HEAD, this asks with GET. */
async function ping(host: string): Promise<string> {
  const head = await askPing(host, "HEAD");
  const { status, version } = head.status === 200 || head.status === 500 ? head : await askPing(host, "GET");
  if (status >= 400) throw new Error(`request returned ${status} for /_ping`);
  return version;
}

function askPing(host: string, method: "HEAD" | "GET"): Promise<{ status: number; version: string }> {
  return new Promise((resolve, reject) => {
    const asking = request({ socketPath: socketOf(host), method, path: "/_ping" }, (answer) => {
      answer.resume();
      const version = answer.headers["api-version"];
      resolve({ status: answer.statusCode ?? 0, version: typeof version === "string" ? version : OLDEST_VERSION });
    });
    asking.on("error", () => {
      reject(new Error(unreachable(host)));
    });
    asking.end();
  });
}

function socketOf(host: string): string {
  return host.slice(SCHEME.length);
}

function checkScheme(host: string): void {
  if (host.startsWith(SCHEME)) return;
  throw new Error(
    `host: ${host} is not in the sandbox's stand-in, it should be unix:///path/to/docker.sock. ` +
      "Forward the remote engine's socket with `ssh -L /path/to/docker.sock:/var/run/docker.sock`.",
  );
}
