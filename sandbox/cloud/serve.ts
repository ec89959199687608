import { once } from "node:events";
import { createServer } from "node:net";
import path from "node:path";

import type { SandboxHome } from "../home.ts";
import { writeFileAtomically } from "../atomic-file.ts";
import { openCloud } from "./cloud.ts";
import type { Hypervisor } from "../droplet/hypervisor.ts";
import { buildServer } from "./server.ts";
import { cloudFolder } from "./state.ts";
import { cloudToken } from "./token.ts";

/**
 * Serves a sandbox's cloud on its port until SIGTERM or SIGINT; the droplets keep running. Prints one line when it is
 * ready, then one line for each request and each failure.
 */
export async function serveCloud(
  home: SandboxHome,
  openHypervisor: (home: SandboxHome) => Promise<Hypervisor & AsyncDisposable>,
): Promise<void> {
  const ended = Promise.race([once(process, "SIGTERM"), once(process, "SIGINT")]);
  await lock(home);
  await writeFileAtomically(pidFile(await cloudFolder(home)), `${process.pid}\n`);
  const token = await cloudToken(home);
  await using hypervisor = await openHypervisor(home);
  await using cloud = await openCloud(home, hypervisor, log);
  await using api = buildServer(cloud, token);
  await api.listen({ host: "127.0.0.1", port: home.apiPort });
  log(`The cloud of ${home.root} is ready at http://127.0.0.1:${home.apiPort}`);
  await ended;
}

/** The file with the id of the process that serves the cloud. */
export function pidFile(folder: string): string {
  return path.join(folder, "pid");
}

function log(line: string): void {
  console.log(`${new Date().toISOString()} ${line}`);
}

/**
 * Prevents that two processes use the same state and undo each other's changes. The lock is a socket in the kernel's
 * abstract namespace: it ends with the process, in every case, and leaves no file.
 */
async function lock(home: SandboxHome): Promise<void> {
  const held = createServer().unref();
  held.listen({ path: `\0convex-droplet-cloud-${home.id}` });
  await once(held, "listening").catch((error: unknown) => {
    throw new Error(`${home.root}: its cloud runs already. Stop it first.`, { cause: error });
  });
}
