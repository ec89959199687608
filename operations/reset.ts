import { parseArgs } from "node:util";

import { RESOURCES, TYPES } from "../contract/names.ts";
import { requireStack } from "./arguments.ts";
import { declareAgain, wayBack } from "./backups/copy.ts";
import { runOnDroplet } from "./backups/on-droplet.ts";
import { bucketServer, hasBackups, requireOwnServer } from "./findings/expected.ts";
import { Destination, identityOf } from "./move-in/destination.ts";
import { interruptedRestore, interruptedSwap } from "./move-in/refusals.ts";
import { readSetting } from "./setting.ts";
import { State } from "./state.ts";
import { pulumiCommand } from "../contract/commands.ts";
import { npmCommand } from "./typed.ts";

const HELP = `Usage: ${npmCommand("STACK", "reset", "[--yes]")}

Replaces the stack's instance by an empty one with the same name, secret and admin key. What it replaces stays on the volume until
${npmCommand("STACK", "move-in", "--forget")}. Refused while the stack's data is protected. Without --yes it only shows what would be
gone.

If it is interrupted, run it again.

Exit code: 0 done, 1 it failed, 2 it needs --yes.
`;

/** What the droplet notes while it swaps. */
const RESET = "reset";

/**
 * The command `reset`.
 *
 * @returns the process's exit code
 * @throws Error if the data is protected, the stack is not deployed, or its droplet cannot be reached
 */
export async function runReset(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      yes: { type: "boolean", short: "y" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  return reset(await State.read(requireStack("reset", values.stack)), values.yes ?? false);
}

/**
 * Replaces the instance of a stack by an empty one.
 *
 * @returns the process's exit code
 * @throws Error as the command does
 */
export async function reset(state: State, yes: boolean): Promise<number> {
  const { stack } = state;
  requireOwnServer(
    state,
    "reset",
    "To start afresh, empty each table with npx convex import --table TABLE --replace --format jsonLines /dev/null -y, or destroy the stack and deploy it again",
  );
  await requireUnprotected(state);
  await using destination = await Destination.open(state);
  const place = await destination.look();
  const interrupted = interruptedRestore(stack, place);
  if (interrupted !== undefined) throw new Error(interrupted);
  const { swapping, ownDocuments } = place;
  if (swapping !== undefined && swapping !== RESET) {
    throw new Error(interruptedSwap(stack, swapping));
  }
  process.stdout.write(
    `Gone:   ${ownDocuments} documents and stored files, and all functions, variables, cron jobs and scheduled functions, of instance ${identityOf(state).name}\n` +
      `Costs:  the API stops for some seconds. What is replaced stays on the volume${bucketServer(state) === undefined ? "" : ", and its files in the buckets"}.\n`,
  );
  if (!yes) {
    process.stdout.write(`Nothing was changed. Reset with: ${npmCommand(stack, "reset", "--yes")}\n`);
    return 2;
  }
  if (swapping === undefined) {
    // A later one would not contain the files.
    if (hasBackups(state) === true && (await runOnDroplet(state, "point.sh now")).exitCode !== 0) return 1;
    await destination.receiveNothing();
  }
  const point = await destination.swap(RESET);
  process.stdout.write(
    [
      "The instance is empty. The admin key is the same as before.",
      ...declareAgain(state),
      ...wayBack(stack, point),
      `If you do not need what was replaced, remove it with: ${npmCommand(stack, "move-in", "--forget")}`,
      "",
    ].join("\n"),
  );
  return 0;
}

/** @throws Error if the engine would refuse to delete the stack's data, now or after the next `up` */
async function requireUnprotected(state: State): Promise<void> {
  const { stack } = state;
  // Not the volume, which is unprotected while it is adopted or comes from a snapshot.
  const isProtected = state.get(TYPES.database, RESOURCES.database).protect === true;
  if (!isProtected && (await readSetting(stack, "protectData")) === "false") return;
  throw new Error(
    `stack ${stack}: its data is protected, it should not be. If all of it may go: ${pulumiCommand(stack, "config set", "protectData false")}, ` +
      `then: ${pulumiCommand(stack, "up")}`,
  );
}
