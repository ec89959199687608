import { namedValues } from "../../contract/scripts.ts";
import { furtherDatabases } from "../databases.ts";
import { bucketServer } from "../findings/expected.ts";
import { Destination, type DumpPlan } from "../move-in/destination.ts";
import type { State } from "../state.ts";
import { npmCommand } from "../typed.ts";
import { databasesIn, withRestored } from "./cluster.ts";
import { declareAgain, wayBack } from "./copy.ts";
import { size } from "./list.ts";
import { requireBackups } from "./on-droplet.ts";

/** What the command was asked for. */
interface Request {
  to: string;
  stanza: string;
  yes: boolean;
}

/** Shows what would be restored, and puts it beside what serves. */
interface Way {
  plan(destination: Destination): Promise<string>;
  receive(destination: Destination): Promise<void>;
}

/**
 * Restores a stack with a managed database: to a restore point, from its own dumps, or to a moment, from another cluster that DigitalOcean
 * makes of it. Loads the databases into the cluster beside those that serve, and then swaps databases and files. What is replaced is kept.
 *
 * @returns the process's exit code
 * @throws Error if there is nothing to restore, the droplet cannot be reached, or the restore fails; with a volume for a moment, because the
 *   cluster keeps moments, and volumes only restore points
 */
export async function restoreManaged(state: State, { to, stanza, yes }: Request): Promise<number> {
  const { stack } = state;
  const isMoment = /^\d{4}-/.test(to);
  if (isMoment && stanza !== "") {
    throw new Error(
      `--stanza: is ${stanza}, but a moment of a managed database is restored from the cluster's own backups, which belong to no volume. ` +
        `Leave it out, or choose a restore point of that volume: ${npmCommand(stack, "backup", "list")}`,
    );
  }
  const way = isMoment ? fromCluster(state, to) : fromDumps(state, to, stanza);
  await using destination = await Destination.openAny(state);
  const { swapping } = await destination.look();
  const request = `restore to ${to}`;
  const again = npmCommand(stack, "restore", "--to", to, ...(stanza === "" ? [] : ["--stanza", stanza]), "--yes");
  if (swapping !== undefined && !yes) {
    const next = swapping === request ? "Finish it with" : "This one takes its place with";
    process.stdout.write(`An earlier ${swapping} was interrupted while it swapped. ${next}: ${again}\n`);
    return 2;
  }
  if (swapping !== request) {
    // Its backend may be why somebody restores.
    if (swapping !== undefined) await destination.leave();
    process.stdout.write(await way.plan(destination));
    if (!yes) {
      process.stdout.write(`Nothing was changed. Restore with: ${again}\n`);
      return 2;
    }
    await way.receive(destination);
    const { versions, files } = await destination.check();
    process.stdout.write(
      `Loaded:  ${versions} versions of documents, ${files} stored files, each as its document says\n`,
    );
  }
  const point = await destination.swap(request);
  process.stdout.write(
    [
      "What was replaced is kept, as databases …_before_… in the cluster and a folder on the volume.",
      ...declareAgain(state),
      ...wayBack(stack, point),
      `Check the whole stack with: ${npmCommand(stack, "doctor")}`,
      `If you do not need what was replaced, remove it with: ${npmCommand(stack, "restore", "--forget")}`,
      "",
    ].join("\n"),
  );
  return 0;
}

function fromDumps(state: State, to: string, stanza: string): Way {
  requireBackups(state);
  const values = namedValues({ to, wanted: stanza });
  return {
    plan: async (destination) => {
      const { point, moment, databases, now, bytes, stanza: volume } = await destination.planDump(values);
      const target = `${point}: ${databases.join(", ")} and the files, of ${moment}, of volume ${volume}`;
      const space = `needs ${size(bytes.needed)} on the volume, which has ${size(bytes.free)} free, and ${size(bytes.database)} and more in the cluster`;
      return describe(target, now, bucketServer(state), space);
    },
    receive: (destination) => destination.receiveDump(values),
  };
}

/** For a moment, the files are those of now, because Convex removes none. */
function fromCluster(state: State, to: string): Way {
  const databases = databasesIn(state);
  const moment = Math.floor(Date.parse(to) / 1000);
  if (Number.isNaN(moment)) {
    throw new Error(
      `--to: "${to}" is not valid, it should be latest, a restore point's name, or a moment such as 2026-11-26T14:05:00Z`,
    );
  }
  return {
    plan: async (destination) => {
      const now = await destination.planMoment(namedValues({ moment, databases }));
      const target = `${to}: ${databases.join(", ")}, from another cluster of that moment, which takes some minutes and costs as much as one node meanwhile`;
      return describe(target, now, bucketServer(state), "needs as much again in the cluster as the databases have now");
    },
    receive: (destination) =>
      withRestored(state, to, ({ server }) =>
        destination.receiveCluster(namedValues({ moment, databases, ...server })),
      ),
  };
}

/**
 * Removes what earlier restores have replaced.
 *
 * @returns the process's exit code
 * @throws Error if the droplet cannot be reached, or a restore was interrupted
 */
export async function forgetReplaced(state: State): Promise<number> {
  await using destination = await Destination.openAny(state);
  const { swapping } = await destination.look();
  if (swapping !== undefined) {
    throw new Error(
      `stack ${state.stack}: an earlier ${swapping} was interrupted while it swapped, it should be completed first. ` +
        `Run the same command again, or restore to another point: ${npmCommand(state.stack, "backup", "list")}`,
    );
  }
  await destination.forget(furtherDatabases(state));
  return 0;
}

function describe(target: string, now: DumpPlan["now"], server: string | undefined, space: string): string {
  return [
    `Target:  ${target}`,
    ...(now === null
      ? ["Now:     there is no instance"]
      : [
          `Now:     ${now.versions} versions of documents, the newest of ${now.newest}`,
          `Lost:    ${now.lost} versions of documents that are newer, and what is newer in other databases`,
        ]),
    ...(server === undefined
      ? []
      : [`Files:   stay in the buckets at ${server}; the database names those of its moment`]),
    `Space:   ${space}`,
    "Costs:   the API stops for some seconds. What is replaced stays, on the volume and in the cluster.",
    "",
  ].join("\n");
}
