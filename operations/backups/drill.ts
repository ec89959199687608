import { parseArgs } from "node:util";

import { requireStack } from "../arguments.ts";
import { State } from "../state.ts";
import { npmCommand } from "../typed.ts";
import { runOnDroplet } from "./on-droplet.ts";

const HELP = `Usage: ${npmCommand("STACK", "drill")}

Proves that the backups can be restored: restores the newest restore point into a folder of its own on the droplet, reads the whole
database, compares each file with its checksum, checks the bucket, and removes the folder. Does not touch the instance. A timer
does the same every week.

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
    options: { stack: { type: "string", short: "s" }, help: { type: "boolean", short: "h" } },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const stack = requireStack("drill", values.stack);
  const { exitCode } = await runOnDroplet(await State.read(stack), "drill.sh");
  if (exitCode === 0)
    process.stdout.write(`All restore points are listed by: ${npmCommand(stack, "backup", "list")}\n`);
  return exitCode === 0 ? 0 : 1;
}
