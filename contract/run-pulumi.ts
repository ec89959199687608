import { execFile, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { hostname, userInfo } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { pulumiCommand } from "./commands.ts";

/** What a run of Pulumi has ended with, and what it has printed to stderr, at least the end of it. */
export interface PulumiRun {
  exitCode: number;
  errors: string;
}

/** Where Pulumi runs. */
export interface Place {
  cwd?: string;
  env?: NodeJS.ProcessEnv;
}

/** A lock on a stack whose state is in a folder or a bucket, as the CLI prints it (pulumi/pkg/backend/diy/lock.go). */
interface Lock {
  url: string;
  user: string;
  host: string;
  pid: number;
  /** ISO 8601. */
  since: string;
}

const STDERR_KEPT = 64 * 1024;

/**
 * Runs the Pulumi CLI on this terminal. If the stack is locked by runs of this computer that are dead, it releases the locks, and
 * runs the same words once more; it does so for no other failure. Otherwise it explains whose the lock is.
 *
 * @param cli  the CLI itself: after Ctrl-C, the launcher of the npm package does not wait for it
 */
export async function runPulumi(cli: string, words: string[], place: Place = {}): Promise<PulumiRun> {
  const first = await runOnce(cli, words, place);
  const locks = first.exitCode === 0 ? [] : locksIn(first.errors);
  if (locks.length === 0) return first;
  const others = locks.filter((lock) => !isDead(lock));
  if (others.length > 0) {
    process.stderr.write(others.map(explain).join(""));
    return first;
  }
  for (const lock of locks) {
    await release(cli, lock, place);
    process.stderr.write(
      `stack ${stackOf(lock)}: its lock was released, because the run of ${lock.since} that had it, process ${lock.pid} of this computer, ` +
        "is dead. Starting again.\n",
    );
  }
  return runOnce(cli, words, place);
}

async function runOnce(cli: string, words: string[], place: Place): Promise<PulumiRun> {
  // The CLI takes a terminal for one that can answer by its stdin and stdout.
  const child = spawn(cli, words, { ...place, stdio: ["inherit", "inherit", "pipe"] });
  let errors = "";
  child.stderr.on("data", (chunk: Buffer) => {
    process.stderr.write(chunk);
    errors = (errors + chunk.toString()).slice(-STDERR_KEPT);
  });
  // A terminal sends Ctrl-C to the CLI, too: passed on, it would be the second one, which ends it at once.
  const wait = () => undefined;
  const end = () => child.kill("SIGTERM");
  process.on("SIGINT", wait).on("SIGTERM", end);
  try {
    return await new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (code) => {
        resolve({ exitCode: code ?? 1, errors });
      });
    });
  } finally {
    process.off("SIGINT", wait).off("SIGTERM", end);
  }
}

function locksIn(errors: string): Lock[] {
  return [...errors.matchAll(/^ {2}(\S+): created by (.*)@(\S+) \(pid (\d+)\) at ([\dT:+Z-]+)/gm)].map(
    ([, url = "", user = "", host = "", pid, since = ""]) => ({ url, user, host, pid: Number(pid), since }),
  );
}

function isDead(lock: Lock): boolean {
  return isHere(lock) && !isRunning(lock.pid);
}

/** The user's name, too, because several computers may have the same name. */
function isHere({ user, host }: Lock): boolean {
  return host === hostname() && user === userInfo().username;
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== "ESRCH";
  }
  try {
    // Another program may have the id of a dead process.
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "pulumi";
  } catch {
    return true;
  }
}

async function release(cli: string, lock: Lock, place: Place): Promise<void> {
  // `pulumi cancel` removes all locks, also one that another run has taken since then.
  if (lock.url.startsWith("file:")) await rm(fileURLToPath(lock.url), { force: true });
  else await promisify(execFile)(cli, ["cancel", "--yes", "--stack", stackOf(lock)], place);
}

function explain(lock: Lock): string {
  const { user, host, pid, since } = lock;
  const works = `stack ${stackOf(lock)}: a run of ${user}@${host} has worked on it since ${since}`;
  return isHere(lock)
    ? `${works}, process ${pid} of this computer. Wait for it to end, or interrupt it: kill -INT ${pid}\n`
    : `${works}, process ${pid} of that computer, and only there you can see whether it still runs. If it does, wait. ${cancel(stackOf(lock))}\n`;
}

/** How a person releases the lock of a run that nobody here can see, and what it costs. */
export function cancel(stack: string): string {
  return (
    `If you know that it is over, release its lock, then run the same command again: ${pulumiCommand(stack, "cancel")} ` +
    "Costs: nothing if it is over; otherwise two runs change the stack at the same time, and its state misses what one of them makes."
  );
}

/** The folder that the lock is in has the stack's name. */
function stackOf({ url }: Lock): string {
  return path.basename(path.dirname(new URL(url).pathname));
}

/** The folder with the rules about resources. */
export const POLICY_PACK = path.resolve(import.meta.dirname, "../policy");
