import { parseArgs } from "node:util";

import { requireStack } from "../arguments.ts";
import { State } from "../state.ts";
import { npmCommand } from "../typed.ts";
import { drillCluster } from "./cluster.ts";
import { runOnDroplet } from "./on-droplet.ts";

const HELP = `Usage: ${npmCommand("STACK", "drill", "[--cluster [--to MOMENT]]")}

Proves that the backups can be restored: restores the newest restore point into a folder of its own on the droplet, reads the whole
database, compares each file with its checksum, checks the bucket, and removes the folder. Does not touch the instance. A timer
does the same every week. Dumps of a managed database are loaded into a server on the droplet, so the cluster is not asked.

  --cluster  proves instead that DigitalOcean can restore the managed database: makes another cluster of a moment, compares its tables and
             rows from the droplet, and removes it. Takes some minutes, and costs as much as one node for that time
  --to       with --cluster: the moment, such as 2026-11-26T14:05:00Z; by default, some minutes ago

Exit code: 0 the backups can be restored, 1 they cannot, or the drill failed.
`;

/**
 * The command `drill`.
 *
 * @returns the process's exit code
 * @throws Error if the stack has no backups, or its droplet cannot be reached
 */
export async function runDrill(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      cluster: { type: "boolean", default: false },
      to: { type: "string", default: "" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const stack = requireStack("drill", values.stack);
  if (values.to !== "" && !values.cluster) {
    throw new Error("--to: needs --cluster, because a drill restores the newest restore point. Leave it out");
  }
  const state = await State.read(stack);
  if (values.cluster) return drillCluster(state, values.to);
  const { exitCode } = await runOnDroplet(state, "drill.sh");
  if (exitCode === 0)
    process.stdout.write(`All restore points are listed by: ${npmCommand(stack, "backup", "list")}\n`);
  return exitCode === 0 ? 0 : 1;
}
