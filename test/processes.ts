import { readdir, readFile } from "node:fs/promises";

import { pulumiEnvironment } from "../sandbox/engine/pulumi-home.ts";
import type { SandboxHome } from "../sandbox/home.ts";

/** Whatever was started with a sandbox's Pulumi environment and still runs: CLI, language host, plugins, programs. */
export async function processesOf(home: SandboxHome): Promise<number[]> {
  const mark = `PULUMI_HOME=${pulumiEnvironment(home)["PULUMI_HOME"] ?? ""}`;
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name)).map(Number);
  const environments = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/environ`, "utf8").catch(() => "")));
  return pids.filter((_, index) => environments[index]?.split("\0").includes(mark));
}
