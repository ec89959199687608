import { namedValues, SCRIPTS, type Values } from "../../contract/scripts.ts";
import { dial } from "../../ssh/connect.ts";
import { type Ended, runRemotely } from "../../ssh/run.ts";
import { dropletTarget } from "../droplet.ts";
import { hasBackups, isManaged } from "../findings/expected.ts";
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
  return runScript(state, script, values, more);
}

/** The same for a script that needs no backups of this program. */
export async function runScript(state: State, script: string, values: Values = {}, more = ""): Promise<Ended> {
  const client = await dial(dropletTarget(state));
  try {
    // Otherwise, the first message after the connection broke would end the script.
    return await runRemotely(client, `trap '' PIPE; bash ${SCRIPTS}/backups/${script}`, namedValues(values) + more);
  } finally {
    client.end();
  }
}

/** @throws Error if the stack was deployed without backups */
export function requireBackups(state: State): void {
  // Before the first deployment is complete, the script looks itself.
  if (hasBackups(state) !== false) return;
  throw new Error(
    `stack ${state.stack}: has no backups. Switch them on with: ${pulumiCommand(state.stack, "config set", "backups spaces")}, ` +
      `then: ${pulumiCommand(state.stack, "up")}. It costs about 5 USD a month${isManaged(state) ? "" : ", and PostgreSQL restarts"}`,
  );
}
