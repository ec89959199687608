import { spawn } from "node:child_process";
import { open, readFile, rm } from "node:fs/promises";
import path from "node:path";

import type { SandboxHome } from "../home.ts";
import { commandLineOf, endProcess } from "../processes.ts";
import { waitFor } from "../wait-for.ts";
import type { Health } from "./server.ts";
import { HEALTH_PATH } from "./server.ts";
import { pidFile } from "./serve.ts";
import { cloudFolder } from "./state.ts";

const MAIN = path.join(import.meta.dirname, "main.ts");

/** After a restart of the computer, this includes the start of the droplets. */
const START_SECONDS = 300;
/** This includes the work in progress in the machine room. */
const STOP_SECONDS = 60;

/**
 * Starts the cloud of a sandbox in the background, unless it runs already, and waits until it answers. Its log is
 * `<root>/cloud/log`.
 *
 * @param main the daemon's program, given the sandbox's root as its argument
 */
export async function startCloud(home: SandboxHome, main = MAIN): Promise<void> {
  if (await health(home)) return;
  const folder = await cloudFolder(home);
  const logFile = path.join(folder, "log");
  const log = await open(logFile, "a", 0o600);
  const daemon = spawn(process.execPath, [main, home.root], { detached: true, stdio: ["ignore", log.fd, log.fd] });
  await log.close();
  daemon.unref();

  const isReady = async () => (await health(home)) !== undefined;
  const hasEnded = () => daemon.exitCode !== null || daemon.signalCode !== null;
  await waitFor("the cloud", START_SECONDS, async () => (await isReady()) || hasEnded()).catch(() => undefined);
  if (!(await isReady())) {
    const fault = hasEnded() ? "ended before it was ready" : `is not ready after ${START_SECONDS} s`;
    throw new Error(`${logFile}: the cloud ${fault}. Its last lines:\n${await lastLines(logFile)}`);
  }
}

/** Stops the cloud of a sandbox, if it runs; its droplets keep running. */
export async function stopCloud(home: SandboxHome): Promise<void> {
  const folder = await cloudFolder(home);
  const pid = (await health(home))?.pid ?? (await recordedPid(folder));
  if (pid !== undefined && isDaemon(pid, home)) {
    // To kill it loses nothing: its work in progress is in the state, and the next one continues with it.
    await endProcess(pid, STOP_SECONDS);
  }
  await rm(pidFile(folder), { force: true });
}

async function recordedPid(folder: string): Promise<number | undefined> {
  const text = await readFile(pidFile(folder), "utf8").catch(() => "");
  return /^\d+$/.test(text.trim()) ? Number(text) : undefined;
}

/**
 * Another process may have the recorded id by now; only the daemon has the sandbox's folder on its command line. Its program may
 * be that of another checkout.
 */
function isDaemon(pid: number, home: SandboxHome): boolean {
  const [, ...args] = commandLineOf(pid);
  return args.includes(home.root);
}

/** The health of this sandbox's cloud; undefined if none answers, or another sandbox's. */
async function health(home: SandboxHome): Promise<Health | undefined> {
  try {
    const answer = await fetch(`http://127.0.0.1:${home.apiPort}${HEALTH_PATH}`, {
      signal: AbortSignal.timeout(2000),
    });
    const state = (await answer.json()) as Partial<Health>;
    return state.sandbox === home.id && state.pid !== undefined ? { sandbox: home.id, pid: state.pid } : undefined;
  } catch {
    return undefined;
  }
}

async function lastLines(file: string): Promise<string> {
  return (await readFile(file, "utf8")).trimEnd().split("\n").slice(-10).join("\n");
}
