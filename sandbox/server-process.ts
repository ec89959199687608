import { type ChildProcess, spawn } from "node:child_process";
import { open } from "node:fs/promises";
import path from "node:path";

import { endProcess, findProcesses } from "./processes.ts";

const STOP_SECONDS = 10;

/** A program that serves something in the background for as long as this process runs. */
export class ServerProcess {
  readonly #log: string;
  #child: ChildProcess | undefined;

  /** @param log  the file for what it prints */
  constructor(log: string) {
    this.#log = log;
  }

  get isRunning(): boolean {
    return this.#child !== undefined;
  }

  /** Starts it; whether it answers is for the caller to find out. */
  async start([program, ...options]: [string, ...string[]], environment: NodeJS.ProcessEnv = {}): Promise<void> {
    const log = await open(this.#log, "a", 0o600);
    const stdio = ["ignore", log.fd, log.fd] as const;
    const child = spawn(program, options, { env: { ...environment, ...process.env }, stdio: [...stdio] });
    await log.close();
    const forget = () => {
      if (this.#child === child) this.#child = undefined;
    };
    child.once("exit", forget).once("error", forget);
    this.#child = child;
  }

  signal(name: NodeJS.Signals): void {
    this.#child?.kill(name);
  }

  /** No longer counts it as running; {@link endServers} ends it. */
  forget(): void {
    this.#child = undefined;
  }
}

/**
 * Ends the processes of a program that have this word on their command line, also those that a killed process left.
 *
 * @param program  the executable's name, without its folder
 */
export async function endServers(program: string, word: string): Promise<void> {
  const pids = findProcesses(
    ([executable = "", ...options]) => path.basename(executable) === program && options.includes(word),
  );
  await Promise.all(pids.map((pid) => endProcess(pid, STOP_SECONDS)));
}
