import { databaseName, ID, jobOf, MOUNTPOINT, RESOURCES, TYPES } from "../../contract/names.ts";
import { namedValues, valueIn } from "../../contract/scripts.ts";
import { bucketServer, requireOwnServer } from "../findings/expected.ts";
import { repairText } from "../findings/repair.ts";
import { type CopyPlan, Destination, identityOf } from "../move-in/destination.ts";
import { interruptedRestore } from "../move-in/refusals.ts";
import type { State } from "../state.ts";
import { npmCommand } from "../typed.ts";
import { size } from "./list.ts";
import { requireBackups } from "./on-droplet.ts";

/** The stack whose instance is copied. */
export interface Source {
  stack: string;
  /** Its database, and where its backups are, for machine/move-in/from-backup.sh; contains secrets. */
  values: string;
}

/**
 * Finds out where the backups of a stack are. Its state knows that, so neither its droplet nor its bucket is asked.
 *
 * @param into  the stack that gets the copy
 * @throws Error if it is the same stack, one of them is not deployed or has its files in buckets, or it has no backups
 */
export function sourceOf(state: State, into: State): Source {
  const { stack } = state;
  // A stack can be named with its organization and without.
  if (state.get(TYPES.volume, RESOURCES.volume).id === into.get(TYPES.volume, RESOURCES.volume).id) {
    throw new Error(
      `--from: is the stack itself, it should be another one. To restore ${into.stack} from its own backups, leave it out`,
    );
  }
  requireBackups(state);
  for (const one of [state, into]) {
    requireOwnServer(one, "a copy of another stack", "Copy the instance with npx convex export and npx convex import");
    requireFilesOnVolume(one);
  }
  const database = databaseName(identityOf(state).name);
  return {
    stack,
    values: namedValues({ database }) + String(state.get(TYPES.command, RESOURCES.backups).inputs["stdin"]),
  };
}

/** @throws Error if a stack has its files in buckets: the rows of a copy would name objects that are in those of another stack */
function requireFilesOnVolume(state: State): void {
  const server = bucketServer(state);
  if (server === undefined) return;
  throw new Error(
    `stack ${state.stack}: has its files in buckets at ${server}, so its backups do not contain them, and a copy would be without files. ` +
      'Copy the instance by export and import, see "Move into buckets, or out of them" in docs/file-storage.md',
  );
}

/** What the command was asked for. */
interface Request {
  to: string;
  stanza: string;
  yes: boolean;
}

/**
 * Puts a copy of another stack's instance in place of the stack's own, which is kept beside it. Name, secret and admin key stay.
 *
 * @returns the process's exit code
 * @throws Error if one of the stacks has no backups, the droplet cannot be reached, or the copy fails
 */
export async function copyFrom(source: Source, state: State, { to, stanza, yes }: Request): Promise<number> {
  const { stack } = state;
  requireBackups(state);
  await using destination = await Destination.open(state);
  const place = await destination.look();
  const interrupted = interruptedRestore(stack, place);
  if (interrupted !== undefined) throw new Error(interrupted);
  const options = ["--from", source.stack, "--to", to, ...(stanza === "" ? [] : ["--stanza", stanza]), "--yes"];
  const again = npmCommand(stack, "restore", ...options);
  // The droplet's messages speak of a stack's own backups.
  const fromBackups = <T>(work: Promise<T>) =>
    work.catch((error: unknown) => {
      const reason = error instanceof Error ? error.message : String(error);
      throw new Error(
        `${reason}. These are the backups of stack ${source.stack}, so a bucket, key or secret is repaired there`,
        { cause: error },
      );
    });
  let point = "";
  const request = `copy of stack ${source.stack} to ${to}`;
  if (place.swapping !== undefined) {
    if (!yes) {
      process.stdout.write(`An earlier ${place.swapping} was interrupted while it swapped. Finish it with: ${again}\n`);
      return 2;
    }
    point = await destination.swap(place.swapping);
    process.stdout.write(`The earlier ${place.swapping} is finished.\n`);
  }
  // The latest point may be a newer one by now.
  if (place.swapping !== request || to === "latest") {
    const values = namedValues({ to, wanted: stanza, source: source.stack }) + source.values;
    process.stdout.write(
      describe(await fromBackups(destination.planCopy(values)), source.stack, stack, place.ownDocuments),
    );
    if (!yes) {
      process.stdout.write(`Nothing was changed. Copy with: ${again}\n`);
      return 2;
    }
    await fromBackups(destination.receiveBackup(values));
    const { versions, files } = await destination.check();
    process.stdout.write(
      `Copied:       ${versions} versions of documents, ${files} stored files, each with the content that its document says\n`,
    );
    point = await destination.swap(request);
  }
  process.stdout.write(
    [
      "The admin key is the same as before. What the stack had is kept.",
      ...declareAgain(state),
      ...wayBack(stack, point),
      `Check the whole stack with: ${npmCommand(stack, "doctor")}`,
      `If you do not need what was replaced, remove it with: ${npmCommand(stack, "move-in", "--forget")}`,
      "",
    ].join("\n"),
  );
  return 0;
}

/** How to undo what has replaced the instance; nothing without a restore point before it. */
export function wayBack(stack: string, point: string): string[] {
  if (point === "") return [];
  return [
    `To go back to what was here before, without what was written since then: ${npmCommand(stack, "restore", "--to", point, "--yes")}`,
  ];
}

/** What to do if the stack declares what was in the replaced data: variables and functions of the deployment, and the work of jobs. */
export function declareAgain(state: State): string[] {
  const stdin = state.find(TYPES.command, RESOURCES.functionEnvironment)?.inputs["stdin"] as string | undefined;
  const run = (resource: string) => repairText(state.stack, { up: [resource] });
  return [
    ...(stdin === undefined || valueIn(stdin, "variables") === "{}"
      ? []
      : [`Set the stack's own variables again with: ${run(RESOURCES.functionEnvironment)}`]),
    ...(state.find(TYPES.command, RESOURCES.functions) === undefined
      ? []
      : [`Deploy the stack's own functions again with: ${run(RESOURCES.functions)}`]),
    ...state.all(TYPES.command).flatMap(({ name }) => {
      const job = jobOf(ID, name);
      if (job === undefined) return [];
      const forget = npmCommand(state.stack, "ssh", `rm -f ${MOUNTPOINT}/jobs/${job}`);
      return [`If job ${job} has worked on what was replaced, run it again with: ${forget} && ${run(name)}`];
    }),
  ];
}

function describe(
  { stanza, to, backup, moment, bytes }: CopyPlan,
  from: string,
  stack: string,
  ownDocuments: number,
): string {
  return [
    `Target:       ${to}: database and files of ${moment}, from backup ${backup} of volume ${stanza}, of stack ${from}`,
    `Replaced:     ${ownDocuments} documents and files of stack ${stack}`,
    `Also copied:  functions, variables, cron jobs and scheduled functions of stack ${from}. This stack runs them as soon as it starts`,
    `Space:        needs ${size(bytes.needed)} on the volume, which has ${size(bytes.free)} free`,
    `Costs:        the API of stack ${stack} stops for some seconds. What is replaced stays on the volume. Stack ${from} is only read.`,
    "",
  ].join("\n");
}
