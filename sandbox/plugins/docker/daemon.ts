import Docker from "dockerode";
import type { Clock } from "../framework/state-change.ts";

/** What the resources work with. */
export interface Client {
  daemon: Daemon;
  clock: Clock;
}

/** The Docker engine behind a `host` of the provider; asked whether it is there at the first operation, not before. */
export class Daemon {
  readonly #host: string;
  #client: Promise<Docker> | undefined;

  /** @param host `unix:///path/to/docker.sock` */
  constructor(host: string) {
    if (!host.startsWith("unix://")) {
      throw new Error(
        `host: ${host} is not in the sandbox's stand-in, it should be unix:///path/to/docker.sock. ` +
          "Forward the remote engine's socket with `ssh -L /path/to/docker.sock:/var/run/docker.sock`.",
      );
    }
    this.#host = host;
  }

  client(): Promise<Docker> {
    this.#client ??= this.#connect().catch((error: unknown) => {
      this.#client = undefined;
      throw error;
    });
    return this.#client;
  }

  async #connect(): Promise<Docker> {
    const docker = new Docker({ socketPath: this.#host.slice("unix://".length) });
    try {
      await docker.ping();
    } catch (error) {
      throw new Error(
        `error pinging Docker server: Cannot connect to the Docker daemon at ${this.#host}. Is the docker daemon running?`,
        { cause: error },
      );
    }
    return docker;
  }
}

/** Whether the engine answered that what was asked about is not there. */
export function isNotFound(error: unknown): boolean {
  return error instanceof Error && (error as { statusCode?: number }).statusCode === 404;
}
