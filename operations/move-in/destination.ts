import { once } from "node:events";
import type { Readable } from "node:stream";

import type { Client } from "ssh2";

import { databaseName, RESOURCES, ROLES, TYPES } from "../../contract/names.ts";
import { namedValues, quote, SCRIPTS, valueIn } from "../../contract/scripts.ts";
import { dial } from "../../ssh/connect.ts";
import { collect, type Ended, runRemotely, type Running, startRemotely } from "../../ssh/run.ts";
import { dropletTarget } from "../droplet.ts";
import { bucketServer, requireOwnServer } from "../findings/expected.ts";
import type { Interrupted } from "../findings/backups/interrupted.ts";
import { outputsOf } from "../outputs.ts";
import type { State } from "../state.ts";
import { pulumiCommand } from "../../contract/commands.ts";
import type { Reading } from "./source.ts";

/** The droplet's side of a move. */
export interface Place {
  /** Major version of its PostgreSQL. */
  version: number;
  /** Free bytes on the volume. */
  free: number;
  /** Documents in the instance's own tables, and its stored files. */
  ownDocuments: number;
  /** What was asked for by a run that was interrupted while it swapped; undefined if none was. */
  swapping: string | undefined;
  /** A restore that was interrupted; undefined if none was. */
  restoring: Interrupted | undefined;
}

/** What a copy on the droplet contains. */
export interface Copy {
  /** Whether name and secret in its files are those of the stack; `unknown` if it has none. */
  identity: string;
  versions: number;
  /** Time of the newest version, as the database has it. */
  newest: string;
  /** Stored files with a row, and their bytes. */
  files: number;
  bytes: number;
}

/** What would be copied from another stack's backups. */
export interface CopyPlan {
  /** Volume, point in its log and pgBackRest's backup that it would be made of. */
  stanza: string;
  to: string;
  backup: string;
  /** RFC 3339. */
  moment: string;
  bytes: { needed: number; free: number };
}

/** What would be restored from the backups of a managed database. */
export interface DumpPlan {
  /** The volume that the restore point is of. */
  stanza: string;
  point: string;
  /** RFC 3339. */
  moment: string;
  databases: string[];
  /** What there is, and how much of it is newer; null without an instance. */
  now: { versions: number; newest: string; lost: number } | null;
  bytes: { database: number; files: number; needed: number; free: number };
}

/** A stack's droplet, to which an installation moves. */
export class Destination implements AsyncDisposable {
  readonly identity: { name: string; secret: string };
  /** The server with the buckets that its instance keeps its files in; undefined if they are on the volume. */
  readonly bucketServer: string | undefined;
  readonly #client: Client;
  /** What convex/backend.sh checks a backend with. */
  readonly #acceptance: string;
  readonly #database: string;
  readonly #stack: string;

  private constructor(client: Client, state: State) {
    this.#client = client;
    this.identity = identityOf(state);
    this.bucketServer = bucketServer(state);
    this.#acceptance = String(state.get(TYPES.command, RESOURCES.acceptance).inputs["stdin"]);
    this.#database = databaseName(this.identity.name);
    this.#stack = state.stack;
  }

  /** @throws Error if the stack is not deployed, its database is managed, or its droplet cannot be reached */
  static async open(state: State): Promise<Destination> {
    requireOwnServer(
      state,
      "a move-in, a copy or a reset",
      "Copy the app's data with npx convex export and npx convex import --replace-all",
    );
    return Destination.openAny(state);
  }

  /**
   * The same also with a managed database, for what does not come from elsewhere.
   *
   * @throws Error if the stack is not deployed, or its droplet cannot be reached
   */
  static async openAny(state: State): Promise<Destination> {
    outputsOf(state);
    return new Destination(await dial(dropletTarget(state)), state);
  }

  async look(): Promise<Place> {
    const { stdout } = await this.#run("facts", [this.#database]);
    const value = (name: string) => valueIn(stdout, name);
    return {
      version: Number(value("version")),
      free: Number(value("free")),
      ownDocuments: Number(value("own_rows")),
      swapping: value("swapping") === "yes" ? value("request") : undefined,
      restoring: value("restoring") === "yes" ? { phase: value("phase"), request: value("restore") } : undefined,
    };
  }

  receiveDatabase(from: Reading): Promise<void> {
    return this.#receive("database", [this.#database, ROLES.owner], from);
  }

  /** @param add  whether to keep the files that were received before */
  receiveFiles(from: Reading, add = false): Promise<void> {
    return this.#receive("files", add ? ["add"] : [], from);
  }

  /** @param source  which backups, for machine/move-in/from-backup.sh */
  async planCopy(source: string): Promise<CopyPlan> {
    const { stdout } = await this.#run("from_backup", ["plan", this.#database, ROLES.owner], source);
    return JSON.parse(stdout) as CopyPlan;
  }

  /** Receives database and files from the backups of another stack instead. */
  async receiveBackup(source: string): Promise<void> {
    await this.#run("from_backup", ["copy", this.#database, ROLES.owner], source);
  }

  /** @param source  which restore point, for machine/move-in/from-dump.sh */
  async planDump(source: string): Promise<DumpPlan> {
    return JSON.parse((await this.#run("from_dump", ["plan"], source)).stdout) as DumpPlan;
  }

  /** Loads a restore point of the stack's own managed database instead. */
  async receiveDump(source: string): Promise<void> {
    await this.#run("from_dump", ["copy"], source);
  }

  /** @param source  a moment and databases, for machine/move-in/from-dump.sh */
  async planMoment(source: string): Promise<DumpPlan["now"]> {
    return JSON.parse((await this.#run("from_cluster", ["plan"], source)).stdout) as DumpPlan["now"];
  }

  /** Loads the databases of another cluster instead. */
  async receiveCluster(source: string): Promise<void> {
    await this.#run("from_cluster", ["copy"], source);
  }

  /** Ends a swap that was interrupted, although its backend may not serve. */
  async leave(): Promise<void> {
    await this.#run("leave", []);
  }

  /** Receives nothing, so that the instance starts afresh. */
  async receiveNothing(): Promise<void> {
    await this.#run("empty", [this.#database, ROLES.owner]);
  }

  /** Compares what was received. @throws Error if it is not complete */
  async check(): Promise<Copy> {
    const { stdout } = await this.#run("check", [this.#database], namedValues(this.identity));
    const value = (name: string) => valueIn(stdout, name);
    return {
      identity: value("identity"),
      versions: Number(value("rows")),
      newest: value("newest"),
      files: Number(value("files")),
      bytes: Number(value("bytes")),
    };
  }

  /**
   * Puts what was received in place of the instance's database and files, and waits until its backend accepts the admin key. If a
   * swap was interrupted, finishes only that one.
   *
   * @param request  what was asked for, in words
   * @returns the last restore point before it; empty if there is none
   */
  async swap(request: string): Promise<string> {
    const values = namedValues({ database: this.#database, request }) + this.#acceptance;
    return valueIn((await this.#run("swap", [], values)).stdout, "point");
  }

  async drop(): Promise<void> {
    await this.#run("drop", [this.#database]);
  }

  /**
   * Removes what earlier moves have kept.
   *
   * @param further  names of databases that went with Convex's
   */
  async forget(further: string[] = []): Promise<void> {
    await this.#run("forget", [this.#database, ...further]);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#client.end();
    return Promise.resolve();
  }

  async #run(verb: string, args: string[], stdin = ""): Promise<Ended> {
    const ended = await runRemotely(this.#client, commandOf(verb, args), stdin);
    this.#requireSuccess(verb, ended.exitCode);
    return ended;
  }

  async #receive(verb: string, args: string[], { stream, complete }: Reading): Promise<void> {
    const running = await startRemotely(this.#client, commandOf(verb, args));
    const ended = collect(running);
    // Another error may come first.
    ended.catch(() => undefined);
    const isSent = await send(stream, running);
    await complete;
    this.#requireSuccess(verb, (await ended).exitCode);
    if (!isSent) throw new Error(`the droplet: ${verb} ended before it had received everything`);
  }

  #requireSuccess(verb: string, exitCode: number): void {
    if (exitCode === 127) {
      throw new Error(
        `the droplet: has no script for this yet, it should have. Copy it there with: ${pulumiCommand(this.#stack, "up")}`,
      );
    }
    if (exitCode !== 0) throw new Error(`the droplet: ${verb} failed, see above`);
  }
}

/** Sends a stream to a command's stdin; ends without an error if the command ends before. @returns whether all of it was sent */
async function send(stream: Readable, { channel, ended }: Running): Promise<boolean> {
  const over = new AbortController();
  const stop = () => {
    over.abort();
  };
  ended.then(stop, stop);
  channel.on("error", () => undefined);
  try {
    for await (const chunk of stream) {
      if (over.signal.aborted) return false;
      if (!channel.write(chunk)) await once(channel, "drain", over).catch(() => undefined);
    }
    return true;
  } finally {
    channel.end();
  }
}

function commandOf(verb: string, args: string[]): string {
  return `bash ${[`${SCRIPTS}/move-in/move-in.sh`, verb, ...args].map(quote).join(" ")}`;
}

/** Name and secret that the stack's backend runs with. */
export function identityOf(state: State): { name: string; secret: string } {
  const environment = (state.get(TYPES.container, RESOURCES.backend).inputs["envs"] as string[]).join("\n");
  return { name: valueIn(environment, "INSTANCE_NAME"), secret: valueIn(environment, "INSTANCE_SECRET") };
}
