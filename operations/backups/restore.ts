import { parseArgs } from "node:util";

import { CONTAINERS, RESOURCES, TYPES } from "../../contract/names.ts";
import { valueIn } from "../../contract/scripts.ts";
import { requireStack } from "../arguments.ts";
import { bucketServer, isManaged } from "../findings/expected.ts";
import { REMAKE, repairText } from "../findings/repair.ts";
import { furtherDatabases } from "../databases.ts";
import { State } from "../state.ts";
import { npmCommand } from "../typed.ts";
import { forgetReplaced, restoreManaged } from "./dumped.ts";
import { copyFrom, declareAgain, sourceOf, wayBack } from "./copy.ts";
import { size } from "./list.ts";
import { runOnDroplet } from "./on-droplet.ts";

const HELP = `Usage: ${npmCommand("STACK", "restore", "--to TARGET [--from STACK] [--stanza VOLUME] [--yes]")}
       ${npmCommand("STACK", "restore", "--files")}
       ${npmCommand("STACK", "restore", "--forget")}

Restores database and files of the stack's instance, in place. It restores beside the running instance and checks the result
before it stops anything. What it replaces stays on the volume. Without --yes it only shows what would be lost.

  --to       latest, a restore point's name, or a moment such as 2026-11-26T14:05:00Z; npm run backup lists them. For a moment of a managed
             database, DigitalOcean makes another cluster, which takes some minutes and costs as much as one node meanwhile
  --from     copies the instance of this stack from its backups, which are only read; the stack keeps its name and its keys. You need the
             state of both stacks, with the same passphrase
  --stanza   the id of the volume whose backups are used; needed only if the bucket has those of several other volumes. Not for a moment of a
             managed database
  --yes      restores
  --files    only puts back files that are missing, and stored files that are not as the database says: in buckets, or on the volume of a
             stack with a managed database. Changes nothing else that is there. It uses all restore points, each for some seconds
  --forget   removes what earlier restores have replaced

If it is interrupted, run it again, with the same target or another one.

Exit code: 0 done, 1 it failed, 2 it needs --yes.
`;

/** What machine/backups/restore.sh plans. */
interface Plan {
  stanza: string;
  target: { to: string; moment: string; point: string; backup: string };
  now: { newest: string | null; versions: number; files: number } | null;
  lost: { versions: number; files: number; seconds: number } | null;
  bytes: { database: number; files: number; needed: number; free: number };
}

/**
 * The command `restore`.
 *
 * @returns the process's exit code
 * @throws Error if the stack has no backups, or its droplet cannot be reached
 */
export async function runRestore(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      to: { type: "string" },
      from: { type: "string" },
      stanza: { type: "string", default: "" },
      yes: { type: "boolean", short: "y" },
      files: { type: "boolean", default: false },
      forget: { type: "boolean" },
      help: { type: "boolean", short: "h" },
    },
  });
  if (values.help === true) {
    process.stdout.write(HELP);
    return 0;
  }
  const stack = requireStack("restore", values.stack);
  const { to = "", from, stanza, yes = false } = values;
  if (values.files) {
    if (to !== "" || from !== undefined || stanza !== "" || values.forget === true) {
      throw new Error(
        "--files: puts back files from all of the stack's own backups, also those of earlier volumes, so it should be alone. Leave out the others",
      );
    }
    return (await runOnDroplet(await State.read(stack), "missing.sh")).exitCode === 0 ? 0 : 1;
  }
  if (values.forget === true && (to !== "" || from !== undefined)) {
    throw new Error(
      "--forget: removes what earlier restores have replaced, so it should be without --to and --from. Leave out the one or the others",
    );
  }
  if (values.forget !== true && !/^[\w:.+-]+$/.test(to)) {
    const is = to === "" ? "is not given" : `"${to}" is not valid`;
    throw new Error(
      `--to: ${is}, it should be latest, a restore point's name, or a moment such as 2026-11-26T14:05:00Z. List them with: ${npmCommand(stack, "backup", "list")}`,
    );
  }
  const state = await State.read(stack);
  if (from !== undefined && values.forget !== true)
    return copyFrom(sourceOf(await State.read(from), state), state, { to, stanza, yes });
  if (isManaged(state))
    return values.forget === true ? forgetReplaced(state) : restoreManaged(state, { to, stanza, yes });
  const run = (mode: string) =>
    runOnDroplet(state, "restore.sh", { to, stanza, mode, container: CONTAINERS.backend }, valuesOfBackend(state));
  if (values.forget === true) return (await run("forget")).exitCode === 0 ? 0 : 1;

  const planned = await run("plan");
  if (planned.exitCode !== 0) return 1;
  const plan = JSON.parse(planned.stdout) as Plan;
  process.stdout.write(describe(plan, furtherDatabases(state), bucketServer(state)));
  if (!yes) {
    const again = ["--to", to, ...(stanza === "" ? [] : ["--stanza", stanza]), "--yes"].join(" ");
    process.stdout.write(`Nothing was changed. Restore with: ${npmCommand(stack, "restore", again)}\n`);
    return 2;
  }
  const { exitCode, stdout } = await run("run");
  if (exitCode !== 0) return 1;
  process.stdout.write(
    plan.now === null
      ? `Start the instance with: ${repairText(stack, REMAKE)}\n`
      : `Check the whole stack with: ${npmCommand(stack, "doctor")}\n` +
          [...declareAgain(state), ...wayBack(stack, valueIn(stdout, "point")), ""].join("\n") +
          `If you do not need what was replaced, remove it with: ${npmCommand(stack, "restore", "--forget")}\n`,
  );
  return 0;
}

/** The values that the backend was last checked with; empty lines before the first time. */
function valuesOfBackend(state: State): string {
  const stdin = (state.find(TYPES.command, RESOURCES.acceptance)?.inputs["stdin"] ?? "") as string;
  return stdin
    .split("\n")
    .filter((line) => !line.startsWith("container="))
    .join("\n");
}

function describe({ stanza, target, now, lost, bytes }: Plan, further: string[], server: string | undefined): string {
  const lines = [
    `Target:  ${target.to}: database and files of ${target.moment}, from backup ${target.backup} of volume ${stanza}`,
    now === null
      ? "Now:     there is no instance"
      : `Now:     ${now.versions} versions of documents${now.newest === null ? "" : `, the newest of ${now.newest}`}, ${now.files} files`,
    ...(lost === null
      ? []
      : [
          `Lost:    ${lost.versions} versions of documents and ${lost.files} files that are newer${lost.seconds > 0 ? `, of ${lost.seconds} s` : ""}`,
        ]),
    ...(server === undefined
      ? []
      : [`Files:   stay in the buckets at ${server}; the database names those of its moment`]),
    ...(further.length === 0 ? [] : [`Also:    what is newer in the databases ${further.join(", ")}`]),
    `Space:   needs ${size(bytes.needed)} on the volume, which has ${size(bytes.free)} free`,
    "Costs:   the API stops while the folders are exchanged, for some seconds. What is replaced stays on the volume.",
  ];
  return `${lines.join("\n")}\n`;
}
