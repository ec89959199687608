import { wayBack } from "../backups/copy.ts";
import { size } from "../backups/list.ts";
import { State } from "../state.ts";
import { npmCommand } from "../typed.ts";
import { type Copy, Destination, type Place } from "./destination.ts";
import { OldFiles } from "./old-files.ts";
import { OldMachine } from "./old-machine.ts";
import { HELP, readRequest, type Request } from "./options.ts";
import { otherIdentity, refusal } from "./refusals.ts";
import type { Installation, Source } from "./source.ts";

/**
 * The command `move-in`.
 *
 * @returns the process's exit code
 * @throws Error if the arguments are wrong, or the installation cannot move into the stack
 */
export async function runMoveIn(args: string[]): Promise<number> {
  const request = readRequest(args);
  if (request === undefined) {
    process.stdout.write(HELP);
    return 0;
  }
  await using destination = await Destination.open(await State.read(request.stack));
  if (request.from === undefined) {
    await destination.forget();
    return 0;
  }
  const place = await destination.look();
  if (place.swapping !== undefined) return await finishSwap(request, place.swapping, destination);
  await using source = await openSource(request.from);
  return await new Move(request, source, destination).run(place);
}

/** What the droplet notes while it swaps. */
const CUT_OVER = "cut-over";

function openSource(from: NonNullable<Request["from"]>): Promise<Source> {
  return "machine" in from ? OldMachine.open(from.machine, from.container) : OldFiles.open(from.dump, from.files);
}

/** Goes on with a cut-over, or a copy, that was interrupted after it had begun to change the stack. */
async function finishSwap(
  { stack, verb, yes, again }: Request,
  swapping: string,
  destination: Destination,
): Promise<number> {
  const command = again("--cut-over", "--yes");
  if (verb !== "cut-over" || !yes) {
    process.stdout.write(
      `An earlier ${swapping} was interrupted while it swapped, so this stack may not serve. Finish it with: ${command}\n`,
    );
    return 2;
  }
  await destination.swap(CUT_OVER);
  if (swapping !== CUT_OVER) {
    process.stdout.write(`The earlier ${swapping} is finished. Nothing was moved in yet. Cut over with: ${command}\n`);
    return 2;
  }
  process.stdout.write(
    `The earlier cut-over is finished; the old backend must stay stopped. Check the whole stack with: ${npmCommand(stack, "doctor")}\n`,
  );
  return 0;
}

class Move {
  readonly #request: Request;
  readonly #source: Source;
  /** The same, if its backend may run. */
  readonly #live: OldMachine | undefined;
  readonly #destination: Destination;

  constructor(request: Request, source: Source, destination: Destination) {
    this.#request = request;
    this.#source = source;
    this.#live = source instanceof OldMachine ? source : undefined;
    this.#destination = destination;
  }

  async run(place: Place): Promise<number> {
    const { verb, yes, again } = this.#request;
    const old = await this.#source.look();
    const refused = refusal(old, place, this.#wanted());
    if (refused !== undefined) throw new Error(refused);
    if (verb === "cut-over" && !yes) {
      process.stdout.write(`Nothing was changed. Cut over with: ${again("--cut-over", "--yes")}\n`);
      return 2;
    }
    process.stdout.write(`Old:   ${old.description}\n`);
    return verb === "rehearse" ? this.#rehearse(old) : this.#cutOver(old);
  }

  async #rehearse(old: Installation): Promise<number> {
    const timer = new Timer();
    await this.#copyDatabase();
    const database = timer.lap();
    await this.#copyFiles();
    const files = timer.lap();
    const copy = await this.#check(old);
    const check = timer.lap();
    await this.#destination.drop();
    process.stdout.write(
      [
        `Moves: ${contents(copy)}`,
        `Time:  ${seconds(database)} for the database, ${seconds(files)} for the files, ${seconds(check)} for the check`,
        // What is copied after the old backend has stopped, and some restarts.
        `Down:  about ${seconds(database + check + RESTARTS_MS)} during the cut-over, which copies the files before it stops the old backend`,
        `Nothing was changed. Cut over with: ${this.#request.again("--cut-over", "--yes")}`,
        "",
      ].join("\n"),
    );
    return 0;
  }

  async #cutOver(old: Installation): Promise<number> {
    await this.#copyFiles();
    const timer = new Timer();
    let copy: Copy | undefined, point: string;
    try {
      copy = await orInterrupted(this.#lastCopy(old));
      point = await this.#destination.swap(CUT_OVER);
    } catch (error) {
      if (copy !== undefined && (await this.#hasBegunToSwap())) {
        throw new Error(
          `${messageOf(error)}\nThe stack may not serve. Go on with: ${this.#request.again("--cut-over", "--yes")}${this.#howToStart()}`,
          { cause: error },
        );
      }
      await this.#goBack();
      throw error;
    }
    process.stdout.write(
      [
        `Moved: ${contents(copy)}`,
        `Down:  ${seconds(timer.lap())}`,
        `The stack's backend accepts the same admin key. Change the addresses in your apps, then check the whole stack with: ${npmCommand(this.#request.stack, "doctor")}`,
        ...wayBack(this.#request.stack, point),
        `What the stack had before is kept. Remove it with: ${npmCommand(this.#request.stack, "move-in", "--forget")}`,
      ].join("\n") + `${this.#howToStart()}\n`,
    );
    return 0;
  }

  /** Stops the old backend and copies what it has written since the copy of the files began. */
  async #lastCopy(old: Installation): Promise<Copy> {
    if (this.#live !== undefined) {
      tell("stopping the old backend");
      await this.#live.stop();
    }
    await this.#copyDatabase();
    // Clocks of file systems are not exact.
    if (this.#live !== undefined) await this.#copyFiles(old.now - 60);
    const copy = await this.#check(old);
    const rows = await this.#live?.rows();
    if (rows !== undefined && rows !== `${copy.versions} ${copy.newest}`) {
      throw new Error(
        `the old database: has versions of documents that are not in the copy (${rows} instead of ${copy.versions} ${copy.newest}), so something still writes to it. Stop it, then run the command again`,
      );
    }
    return copy;
  }

  /** Also if nobody can tell: then the old backend must not serve beside the new one. */
  async #hasBegunToSwap(): Promise<boolean> {
    return this.#destination.look().then(
      ({ swapping }) => swapping !== undefined,
      () => true,
    );
  }

  async #goBack(): Promise<void> {
    if (this.#live?.startCommand === undefined) return;
    tell("starting the old backend again");
    await this.#live.start().catch((error: unknown) => {
      process.stderr.write(`error: ${messageOf(error)}${this.#howToStart()}\n`);
    });
  }

  #howToStart(): string {
    const command = this.#live?.startCommand;
    return command === undefined
      ? ""
      : `\nThe old backend is stopped. Never let both serve. To go back, start it with: ${command}`;
  }

  async #copyDatabase(): Promise<void> {
    tell("copying the database");
    await this.#destination.receiveDatabase(await this.#source.dump());
  }

  /** @param since  copies only what was changed since, in seconds since 1970 */
  async #copyFiles(since?: number): Promise<void> {
    tell(since === undefined ? "copying the files" : "copying the files that are new");
    await this.#destination.receiveFiles(await this.#source.files(since), since !== undefined);
  }

  async #check(old: Installation): Promise<Copy> {
    tell("checking the copy");
    const copy = await this.#destination.check();
    // An installation on a machine has told it, and the environment of its container counts.
    if (old.identity === undefined && copy.identity !== "same") {
      const { name } = this.#destination.identity;
      if (copy.identity === "unknown") {
        tell("the files have no credentials, so nobody can tell whether the old keys stay valid");
      } else {
        throw new Error(
          otherIdentity(/^name (.*)$/.exec(copy.identity)?.[1] ?? name, old.secretCommand, this.#wanted()),
        );
      }
    }
    return copy;
  }

  #wanted() {
    const { stack, replace } = this.#request;
    const { identity, bucketServer } = this.#destination;
    return { stack, replace, identity, bucketServer };
  }
}

/** Time for stopping and starting backends, and for renaming. */
const RESTARTS_MS = 10_000;

class Timer {
  #since = Date.now();

  /** Milliseconds since the last call. */
  lap(): number {
    const now = Date.now();
    const passed = now - this.#since;
    this.#since = now;
    return passed;
  }
}

/** Rejects at Ctrl-C instead of ending the process, so that the caller can go back. */
async function orInterrupted<T>(work: Promise<T>): Promise<T> {
  let interrupt: () => void = () => undefined;
  const interrupted = new Promise<never>((_, reject) => {
    interrupt = () => {
      reject(new Error("interrupted"));
    };
  });
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.once(signal, interrupt);
  try {
    return await Promise.race([work, interrupted]);
  } finally {
    for (const signal of signals) process.off(signal, interrupt);
  }
}

function contents({ versions, files, bytes }: Copy): string {
  return `${versions} versions of documents, ${files} stored files (${size(bytes)}), each with the content that its document says`;
}

function seconds(milliseconds: number): string {
  return `${(milliseconds / 1000).toFixed(1)} s`;
}

function tell(text: string): void {
  process.stderr.write(`move-in: ${text}\n`);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
