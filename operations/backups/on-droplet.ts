import type { ClientChannel } from "ssh2";

import { namedValues, SCRIPTS, type Values } from "../../contract/scripts.ts";
import { dial } from "../../ssh/connect.ts";
import { dropletTarget } from "../droplet.ts";
import { hasBackups } from "../findings/expected.ts";
import type { State } from "../state.ts";
import { pulumiCommand } from "../typed.ts";

/** How a script on the droplet ended. */
export interface Ended {
  exitCode: number;
  stdout: string;
}

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
    const channel = await new Promise<ClientChannel>((resolve, reject) => {
      client.exec(`bash ${SCRIPTS}/backups/${script}`, (error, opened) => {
        if (error) reject(error);
        else resolve(opened);
      });
    });
    const chunks: Buffer[] = [];
    channel.on("data", (chunk: Buffer) => chunks.push(chunk));
    channel.stderr.pipe(process.stderr, { end: false });
    const ended = new Promise<number>((resolve, reject) => {
      let exitCode: number | null = null;
      channel.once("exit", (code: number | null) => (exitCode = code));
      channel.once("close", () => {
        if (exitCode !== null) resolve(exitCode);
        else
          reject(
            new Error(
              "the connection to the droplet broke. What was started there goes on; run the command again to see it.",
            ),
          );
      });
    });
    channel.end(namedValues(values) + more);
    return { exitCode: await ended, stdout: Buffer.concat(chunks).toString() };
  } finally {
    client.end();
  }
}

/** @throws Error if the stack was deployed without backups */
function requireBackups(state: State): void {
  // Before the first deployment is complete, the script looks itself.
  if (hasBackups(state) !== false) return;
  throw new Error(
    `stack ${state.stack}: has no backups. Switch them on with: ${pulumiCommand(state.stack, "config set", "backups spaces")}, ` +
      `then: ${pulumiCommand(state.stack, "up")}. It costs about 5 USD a month, and PostgreSQL restarts`,
  );
}
