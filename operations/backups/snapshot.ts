import { label, RESOURCES, TYPES } from "../../contract/names.ts";
import { quote } from "../../contract/scripts.ts";
import { type Account, RefusedError } from "../../digitalocean/account.ts";
import {
  INTERVAL_MINUTES,
  isBeforeChange,
  isOwn,
  listSnapshots,
  makeSnapshot,
  type Snapshot,
} from "../../digitalocean/snapshots.ts";
import { readListing, UsageError } from "../arguments.ts";
import { accountOf, NO_TOKEN } from "../droplet.ts";
import { printable } from "../findings/finding.ts";
import { State } from "../state.ts";
import { pulumiCommand } from "../../contract/commands.ts";
import { npmCommand } from "../typed.ts";
import { table } from "./list.ts";

const HELP = `Usage: ${npmCommand("STACK", "snapshot", "[list|now|delete NAME] [--format FORMAT]")}

  list          shows the snapshots of the stack's volume (the default)
  now           makes one now, which stays until you delete it
  delete NAME   deletes one that the stack made, by name or id

  --format   for list: text (default) or json

It calls only DigitalOcean, not the droplet. Exit code: 0 done, 1 it failed.
`;

/** The snapshots of a stack's volumes, the newest first. */
interface Listed {
  /** The id of the present volume. */
  volume: string;
  snapshots: (Snapshot & { madeBy: string })[];
}

const FORMATS: Record<string, (listed: Listed, stack: string) => string> = {
  text: asText,
  json: (listed) => `${JSON.stringify(listed, undefined, 2)}\n`,
};

/**
 * The command `snapshot`.
 *
 * @returns the process's exit code
 * @throws Error if the stack has no volume, or DigitalOcean refuses
 */
export async function runSnapshot(args: string[]): Promise<number> {
  const request = readListing("snapshot", HELP, FORMATS, args);
  if (request === undefined) return 0;
  const { stack, format, words } = request;
  const [verb = "list", ...rest] = words;
  if (verb === "delete" && rest.length === 0) {
    throw new Error(
      `delete: names no snapshot, it should name one. See them with: ${npmCommand(stack, "snapshot", "list")}`,
    );
  }
  if (!["list", "now", "delete"].includes(verb) || rest.length !== (verb === "delete" ? 1 : 0)) {
    throw new UsageError(`${[verb, ...rest].join(" ")}: is not known, it should be list, now or delete NAME.`);
  }
  const state = await State.read(stack);
  const account = accountOf(state);
  if (account === undefined) throw new Error(NO_TOKEN);
  const volume = state.get(TYPES.volume, RESOURCES.volume).id;
  const own = label(stack.slice(stack.lastIndexOf("/") + 1));
  if (verb === "now") await make(account, stack, own, volume);
  else if (verb === "delete") await remove(account, stack, own, rest[0] ?? "");
  else process.stdout.write(printable(format(await list(account, own, volume), stack)));
  return 0;
}

/** The stack's own snapshots, and those that others made of its present volume. */
async function list(account: Account, own: string, volume: string): Promise<Listed> {
  const snapshots = (await listSnapshots(account))
    .filter((snapshot) => isOwn(snapshot, own) || snapshot.resource_id === volume)
    .map((snapshot) => ({ ...snapshot, madeBy: maker(snapshot, own) }));
  return { volume, snapshots };
}

function maker(snapshot: Snapshot, own: string): string {
  if (!isOwn(snapshot, own)) return "others";
  return isBeforeChange(snapshot) ? "up" : "npm run snapshot";
}

function asText({ volume, snapshots }: Listed, stack: string): string {
  const rows = snapshots.map((snapshot) => [
    snapshot.name,
    snapshot.created_at,
    `${snapshot.size_gigabytes} GiB`,
    `${snapshot.madeBy}${snapshot.resource_id === volume ? "" : `  of volume ${snapshot.resource_id}`}`,
  ]);
  const [newest] = snapshots;
  const next =
    newest === undefined
      ? `Make one with: ${npmCommand(stack, "snapshot", "now")}`
      : `Go back to one with: ${goBack(stack, snapshots.filter(({ name }) => name === newest.name).length > 1 ? newest.id : newest.name)}`;
  return `${table(["snapshot", "made", "data", "made by"], rows).join("\n")}\n${next}\n`;
}

/** The commands that put a volume from a snapshot in the place of the present one, and what they cost. */
function goBack(stack: string, name: string): string {
  return (
    `${pulumiCommand(stack, "config set", `volumeSnapshot ${quote(name)}`)} && ${pulumiCommand(stack, "up")}\n` +
    'That replaces the present volume, which is deleted without protectData. See "Go back to a snapshot" in docs/backups.md'
  );
}

async function make(account: Account, stack: string, own: string, volume: string): Promise<void> {
  const { name } = await makeSnapshot(account, own, volume).catch((error: unknown) => {
    if (!(error instanceof RefusedError) || error.status !== 429) throw error;
    throw new Error(
      `${error.message}. It makes only one snapshot of a volume in ${INTERVAL_MINUTES} minutes, so wait. ` +
        `See the last one with: ${npmCommand(stack, "snapshot", "list")}`,
      { cause: error },
    );
  });
  process.stdout.write(`Made ${name}. Go back to it with: ${goBack(stack, name)}\n`);
}

/** @throws Error if the stack did not make it */
async function remove(account: Account, stack: string, own: string, wanted: string): Promise<void> {
  const [found, ...others] = (await listSnapshots(account)).filter(
    (snapshot) => isOwn(snapshot, own) && (snapshot.name === wanted || snapshot.id === wanted),
  );
  if (found === undefined || others.length > 0) {
    const is = found === undefined ? "is no snapshot that this stack made" : "is the name of several snapshots";
    throw new Error(`${wanted}: ${is}, it should be one. See them with: ${npmCommand(stack, "snapshot", "list")}`);
  }
  await account.ask("DELETE", `/v2/snapshots/${found.id}`);
  process.stdout.write(`Deleted ${found.name}.\n`);
}
