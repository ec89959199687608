import { readdir, readFile } from "node:fs/promises";
import { createInterface } from "node:readline";

import { execa } from "execa";

import type { EngineEvent, TimedEvent } from "./phases.ts";

/** The measurement of one `pulumi` command. */
export interface Measured {
  seconds: number;
  /** Peak memory of the engine, its plugins and the program together. */
  peakMegabytes: number;
  /** Empty if the command has no `--json`. */
  events: TimedEvent[];
}

const SAMPLE_MILLISECONDS = 250;

/**
 * Runs `pulumi` and measures it from outside.
 *
 * @throws Error with Pulumi's errors, if the command fails
 */
export async function measure(args: string[], cwd: string, env: Record<string, string | undefined>): Promise<Measured> {
  const started = performance.now();
  const child = execa("pulumi", [...args, "--non-interactive"], { cwd, env, stdin: "ignore", reject: false });
  const events: TimedEvent[] = [];
  createInterface({ input: child.stdout }).on("line", (line) => {
    if (line.startsWith("{")) events.push({ at: performance.now() - started, event: JSON.parse(line) as EngineEvent });
  });
  let peakMegabytes = 0;
  const sampler = setInterval(() => {
    void treeMegabytes(child.pid ?? 0).then((megabytes) => (peakMegabytes = Math.max(peakMegabytes, megabytes)));
  }, SAMPLE_MILLISECONDS);
  try {
    const { exitCode, stderr } = await child;
    if (exitCode !== 0) {
      // Never all of stdout, because the SDK's debug messages among the events contain decrypted secrets.
      const complaints = events.flatMap(({ event }) =>
        event.diagnosticEvent?.severity === "error" ? [event.diagnosticEvent.message] : [],
      );
      throw new Error(`pulumi ${args.join(" ")}: failed.\n${complaints.join("")}${stderr}`);
    }
    return { seconds: (performance.now() - started) / 1000, peakMegabytes, events };
  } finally {
    clearInterval(sampler);
  }
}

/** The memory of a process and its descendants; shared pages are counted once. */
async function treeMegabytes(root: number): Promise<number> {
  const parents = new Map<number, number>();
  for (const name of (await readdir("/proc")).filter((entry) => /^\d+$/.test(entry))) {
    const stat = await readFile(`/proc/${name}/stat`, "utf8").catch(() => "");
    parents.set(Number(name), Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]));
  }
  const belongs = (pid: number | undefined): boolean =>
    pid !== undefined && pid > 1 && (pid === root || belongs(parents.get(pid)));
  const sizes = await Promise.all([...parents.keys()].filter(belongs).map(kilobytes));
  return sizes.reduce((sum, size) => sum + size, 0) / 1024;
}

async function kilobytes(pid: number): Promise<number> {
  const rollup = await readFile(`/proc/${pid}/smaps_rollup`, "utf8").catch(() => "");
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0);
}
