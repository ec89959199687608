import { readListing, UsageError } from "../arguments.ts";
import { printable } from "../findings/finding.ts";
import { bucketServer, isManaged } from "../findings/expected.ts";
import { State } from "../state.ts";
import { npmCommand } from "../typed.ts";
import { asJson, asText, type Listed, parseList } from "./list.ts";
import { runOnDroplet } from "./on-droplet.ts";

const HELP = `Usage: ${npmCommand("STACK", "backup", "[now|list|verify] [--format FORMAT]")}

  list     shows what can be restored (the default)
  now      makes a backup of the database and a restore point now, in addition to the timers' ones; of a managed database, a restore point
           with dumps
  verify   a drill that also reads everything in the bucket; takes long, and costs its traffic

  --format   for list: text (default) or json

Exit code: 0 done, 1 it failed.
`;

const FORMATS: Record<string, (listed: Listed, stack: string) => string> = { text: asText, json: asJson };

/** The scripts of each verb, one after the other. */
const SCRIPTS: Record<string, string[]> = { now: ["base.sh now", "point.sh now"], verify: ["drill.sh all"] };
const OF_MANAGED: typeof SCRIPTS = { ...SCRIPTS, now: ["dump.sh now"] };

/**
 * The command `backup`.
 *
 * @returns the process's exit code
 * @throws Error if the stack has no backups, or its droplet cannot be reached
 */
export async function runBackup(args: string[]): Promise<number> {
  const request = readListing("backup", HELP, FORMATS, args);
  if (request === undefined) return 0;
  const { stack, format, words } = request;
  const [verb = "list", ...rest] = words;
  if (verb !== "list" && SCRIPTS[verb] === undefined) {
    throw new UsageError(`${verb}: is not known, it should be now, list or verify.`);
  }
  if (rest.length > 0) throw new UsageError(`${rest.join(" ")}: is not known, nothing should follow ${verb}.`);
  const state = await State.read(stack);
  const scripts = isManaged(state)
    ? OF_MANAGED[verb]
    : SCRIPTS[verb]?.concat(verb === "now" && bucketServer(state) !== undefined ? ["objects.sh copy now"] : []);
  for (const script of scripts ?? []) {
    const { exitCode } = await runOnDroplet(state, script);
    if (exitCode !== 0) return 1;
  }
  if (scripts !== undefined) {
    process.stderr.write(`See what can be restored with: ${npmCommand(stack, "backup", "list")}\n`);
    return 0;
  }
  const { exitCode, stdout } = await runOnDroplet(state, "list.sh");
  if (exitCode !== 0) return 1;
  process.stdout.write(printable(format(parseList(stdout), stack)));
  return 0;
}
