import { readdirSync, readFileSync } from "node:fs";

import { waitFor } from "./wait-for.ts";

/**
 * The ids of the processes whose command line, its words, matches. A file with an id would outlive its process, and would be
 * missing if its writer was killed right after the start.
 */
export function findProcesses(matches: (words: string[]) => boolean): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .filter((pid) => matches(commandLineOf(pid)));
}

/** The words of a process's command line; none if it has ended. */
export function commandLineOf(pid: number): string[] {
  return read(pid, "cmdline").split("\0").slice(0, -1);
}

/**
 * Ends a process: SIGTERM, and SIGKILL if it still runs after `seconds`. Returns when it has ended, so that its ports and
 * files are free.
 */
export async function endProcess(pid: number, seconds: number): Promise<void> {
  const started = startOf(pid);
  if (started === undefined) return;
  const ended = () => startOf(pid) !== started;
  signal(pid, "SIGTERM");
  try {
    await waitFor(`process ${pid} to end`, seconds, ended);
  } catch {
    signal(pid, "SIGKILL");
    await waitFor(`process ${pid} to be killed`, seconds, ended);
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch (error) {
    // It has just ended by itself.
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

/**
 * When a process started, in ticks after the boot; undefined if it has ended. A process that ends loses its command line
 * before its ports, so it counts as ended when nothing is left of it, or only the zombie of its last thread: proc_pid_stat(5).
 */
function startOf(pid: number): string | undefined {
  // The name, in parentheses, may have spaces.
  const fields = read(pid, "stat").split(") ").at(-1)?.split(" ") ?? [];
  const [state, threads, start] = [fields[0], fields[17], fields[19]];
  return state === "Z" && threads === "1" ? undefined : start;
}

function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "utf8");
  } catch {
    // It has ended.
    return "";
  }
}
