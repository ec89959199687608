import { readFileSync } from "node:fs";
import path from "node:path";

import type { Client } from "ssh2";

import { quote, valueIn } from "../../contract/scripts.ts";
import { dialPinned, type Stranger, UnconfirmedError } from "../../ssh/pinned.ts";
import { runRemotely, startRemotely } from "../../ssh/run.ts";
import type { Installation, Reading, Source } from "./source.ts";

const SCRIPT = readFileSync(path.join(import.meta.dirname, "old.sh"), "utf8");

/** An installation on a machine that is reached over SSH. Only `stop` and `start` change it. */
export class OldMachine implements Source {
  /** The command that starts the backend again, for people; undefined if nothing was stopped. */
  startCommand: string | undefined;
  readonly #client: Client;
  readonly #at: Stranger;
  #container: string;
  #isRunning = false;
  #stopped: Promise<unknown> | undefined;

  private constructor(client: Client, at: Stranger, container: string) {
    this.#client = client;
    this.#at = at;
    this.#container = container;
  }

  /**
   * @param container  the backend's; may be empty if only one can be it
   * @throws Error if the machine cannot be reached, or its host key is not confirmed
   */
  static async open(at: Stranger, container: string): Promise<OldMachine> {
    try {
      return new OldMachine(await dialPinned(at), at, container);
    } catch (error) {
      if (!(error instanceof UnconfirmedError)) throw error;
      throw new Error(
        at.fingerprint === undefined
          ? `--host-key: is not given, it should be the fingerprint of ${at.host}, which now presents ${error.fingerprint}. ` +
              "Compare it with what this command prints on that machine: ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub; " +
              `if both are the same, add: --host-key ${error.fingerprint}`
          : `--host-key: is ${at.fingerprint}, but ${at.host} presents ${error.fingerprint}. Nothing was sent to it. ` +
              "Somebody may be between you and that machine",
        { cause: error },
      );
    }
  }

  async look(): Promise<Installation> {
    const found = await this.#ask("look");
    const value = (name: string) => valueIn(found, name);
    this.#container = value("container");
    this.#isRunning = value("running") === "true";
    const server = value("server");
    return {
      description: `container ${this.#container} on ${this.#at.host}, files in ${value("folder")}${server === "" ? "" : `, database in ${server}`}`,
      identity: { name: value("name"), secret: value("secret") },
      secretCommand: this.#typed(`cat ${quote(`${value("folder")}/credentials/instance_secret`)}`),
      database: value("database") as Installation["database"],
      storage: value("storage") as Installation["storage"],
      version: Number(value("version")) || undefined,
      bytes: { database: Number(value("bytes")), files: Number(value("files_bytes")) },
      now: Number(value("now")),
    };
  }

  dump(): Promise<Reading> {
    return this.#read("dump");
  }

  files(since?: number): Promise<Reading> {
    return this.#read("files", ...(since === undefined ? [] : [since]));
  }

  /** Number of rows and the newest one's time. */
  async rows(): Promise<string> {
    return (await this.#ask("rows")).trim();
  }

  /** Stops its backend, so that nothing changes any more. */
  async stop(): Promise<void> {
    this.startCommand = this.#typed(`docker start ${quote(this.#container)}`);
    this.#stopped = this.#ask("stop");
    await this.#stopped;
  }

  /** Starts its backend again, if it ran before. */
  async start(): Promise<void> {
    if (!this.#isRunning) return;
    // Docker would stop a container that was started while it stops.
    await this.#stopped?.catch(() => undefined);
    await this.#ask("start");
    this.startCommand = undefined;
  }

  /** Ends the connection. */
  [Symbol.asyncDispose](): Promise<void> {
    this.#client.end();
    return Promise.resolve();
  }

  /** A command on the machine, as a person types it here. */
  #typed(command: string): string {
    const { user, host, port } = this.#at;
    return `ssh ${port === undefined ? "" : `-p ${port} `}${user}@${host} ${user === "root" ? "" : "sudo "}${command}`;
  }

  #command(verb: string, ...more: number[]): string {
    return `${this.#at.user === "root" ? "" : "sudo -n "}bash -s -- ${[verb, this.#container, ...more].map(quote).join(" ")}`;
  }

  async #ask(verb: string): Promise<string> {
    const { exitCode, stdout } = await runRemotely(this.#client, this.#command(verb), SCRIPT);
    if (exitCode !== 0) throw new Error(`${this.#at.host}: ${verb} failed, see above`);
    return stdout;
  }

  async #read(verb: string, ...more: number[]): Promise<Reading> {
    const { channel, ended } = await startRemotely(this.#client, this.#command(verb, ...more));
    channel.end(SCRIPT);
    const complete = ended.then((exitCode) => {
      if (exitCode !== 0) throw new Error(`${this.#at.host}: ${verb} failed, see above`);
    });
    complete.catch(() => undefined);
    return { stream: channel, complete };
  }
}
