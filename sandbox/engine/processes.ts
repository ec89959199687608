import { readdir, readFile } from "node:fs/promises";

import type { SandboxHome } from "../home.ts";
import { pulumiEnvironment } from "./pulumi-home.ts";

/** Whatever was started with a sandbox's Pulumi environment and still runs: CLI, language host, plugins, programs. */
export async function processesOf(home: SandboxHome): Promise<number[]> {
  const mark = `PULUMI_HOME=${pulumiEnvironment(home)["PULUMI_HOME"] ?? ""}`;
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const environments = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/environ`, "utf8").catch(() => "")));
  return pids.filter((pid, index) => pid !== process.pid && environments[index]?.split("\0").includes(mark));
}

/** Ends them. Plugins outlive a CLI that was killed by up to five minutes, because they ask for it only that often. */
export async function endProcessesOf(home: SandboxHome): Promise<void> {
  for (const pid of await processesOf(home)) {
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // Has ended meanwhile.
    }
  }
}
