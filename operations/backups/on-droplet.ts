import { namedValues, SCRIPTS, type Values } from "../../contract/scripts.ts";
import { dial } from "../../ssh/connect.ts";
import { type Ended, runRemotely } from "../../ssh/run.ts";
import { dropletTarget } from "../droplet.ts";
import { hasBackups, requireOwnServer } from "../findings/expected.ts";
import type { State } from "../state.ts";
import { pulumiCommand } from "../../contract/commands.ts";

/**
 * Runs a script of `machine/backups/` on a stack's droplet. Its progress appears on stderr. It goes on if the connection breaks.
 *
 * @param more  lines of other scripts' values, for stdin
 * @throws UnreachableError if the droplet cannot be reached
 * @throws Error if the stack has no backups, or the connection breaks
 */
export async function runOnDroplet(state: State, script: string, values: Values = {}, more = ""): Promise<Ended> {
  requireBackups(state);
  const client = await dial(dropletTarget(state));
  try {
    // Otherwise, the first message after the connection broke would end the script.
    return await runRemotely(client, `trap '' PIPE; bash ${SCRIPTS}/backups/${script}`, namedValues(values) + more);
  } finally {
    client.end();
  }
}

/** @throws Error if the stack was deployed without backups, or its database is managed */
export function requireBackups(state: State): void {
  requireOwnServer(
    state,
    "a backup, restore or drill of this program",
    "DigitalOcean keeps every moment of the last 7 days: restore one into another cluster in its control panel",
  );
  // Before the first deployment is complete, the script looks itself.
  if (hasBackups(state) !== false) return;
  throw new Error(
    `stack ${state.stack}: has no backups. Switch them on with: ${pulumiCommand(state.stack, "config set", "backups spaces")}, ` +
      `then: ${pulumiCommand(state.stack, "up")}. It costs about 5 USD a month, and PostgreSQL restarts`,
  );
}
