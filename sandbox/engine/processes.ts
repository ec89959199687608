import { readdir, readFile } from "node:fs/promises";

import type { SandboxHome } from "../home.ts";
import { pulumiEnvironment } from "./pulumi-home.ts";

/** Running processes with a sandbox's Pulumi environment: CLI, language host, plugins, programs. */
export async function processesOf(home: SandboxHome): Promise<number[]> {
  const mark = `PULUMI_HOME=${pulumiEnvironment(home)["PULUMI_HOME"] ?? ""}`;
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const environments = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/environ`, "utf8").catch(() => "")));
  return pids.filter((pid, index) => pid !== process.pid && environments[index]?.split("\0").includes(mark));
}

/** Kills them. Plugins check for their CLI every five minutes only, so they outlive one that was killed. */
export async function endProcessesOf(home: SandboxHome): Promise<void> {
  for (const pid of await processesOf(home)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended.
    }
  }
}
