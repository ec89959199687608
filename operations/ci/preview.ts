import { spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";

/** The parts of the output of `pulumi preview --json` that this program reads. */
export interface Digest {
  steps?: Step[];
  diagnostics?: { message?: string; severity?: string }[];
  changeSummary?: Record<string, number>;
}

interface Step {
  op: string;
  urn: string;
  /** By path of the property. */
  detailedDiff?: Record<string, { kind?: string }> | null;
  replaceReasons?: string[] | null;
}

/** The operations that are reported. Not the parts of a replacement, reads, and `same`. */
const OPERATIONS = ["delete", "replace", "update", "create", "import", "discard"];

const LOST_DATA =
  /^(digitalocean:index\/(volume:Volume|databaseCluster:DatabaseCluster)|postgresql:index\/database:Database)$/;

/**
 * Previews a stack, without a refresh. Pulumi's stderr is passed on unchanged.
 *
 * @returns Pulumi's exit code and its output; an empty digest if the output is not JSON
 */
export async function readPreview(stack: string): Promise<{ exitCode: number; digest: Digest }> {
  const pulumi = spawn("pulumi", ["preview", "--json", "--non-interactive", "--stack", stack], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const [output, [code]] = await Promise.all([text(pulumi.stdout), once(pulumi, "close") as Promise<[number | null]>]);
  return { exitCode: code ?? 1, digest: parse(output) };
}

function parse(output: string): Digest {
  try {
    return JSON.parse(output) as Digest;
  } catch {
    process.stderr.write(output);
    return {};
  }
}

/** A preview for the log: Pulumi's warnings and errors, with secrets masked by Pulumi, the cost, and one line for each change. */
export function describePreview(digest: Digest): string {
  const said = (digest.diagnostics ?? [])
    .filter(({ severity = "", message = "" }) => /^(warning|error)$/.test(severity) || message.startsWith("cost: "))
    .map(({ severity = "", message = "" }) => `${severity}: ${message.trimEnd()}`);
  const changes = changesOf(digest).map(({ op, name, properties }) => [op, name, ...properties].join(" "));
  return [...said, ...changes].map((line) => `${line}\n`).join("");
}

/**
 * A preview in Markdown, for a comment that anybody may read: operations, resources and the names of their properties. It
 * contains no values, so it cannot contain a secret.
 *
 * @param digest  undefined if the preview failed
 */
export function reportOf(stack: string, digest: Digest | undefined): string {
  const title = `### Preview of stack ${code(stack)}\n\n`;
  if (digest === undefined) return `${title}**The preview failed.** The reason is in the log of the run.\n`;
  const changes = changesOf(digest);
  const unchanged = `${digest.changeSummary?.["same"] ?? 0} unchanged`;
  if (changes.length === 0) return `${title}**Nothing to change**, ${unchanged}.\n`;

  const counts = OPERATIONS.map((op) => ({ op, count: changes.filter((change) => change.op === op).length }))
    .filter(({ count }) => count > 0)
    .map(({ op, count }) => `${count} to ${op}`);
  const rows = changes.map(
    ({ op, name, type, properties }) =>
      `| ${op} | ${code(name)} | ${code(type)} | ${properties.map(code).join(", ")} |`,
  );
  const warning = changes.some(({ op, type }) => ["delete", "replace"].includes(op) && LOST_DATA.test(type))
    ? "> [!CAUTION]\n> A resource that contains data would be deleted or replaced.\n\n"
    : "";
  return (
    `${title}${warning}**${counts.join(", ")}**, ${unchanged}.\n\n` +
    `| | Resource | Type | Properties |\n| --- | --- | --- | --- |\n${rows.join("\n")}\n\n` +
    `Values are left out; ${code(`npx pulumi preview --diff --stack ${stack}`)} shows them.\n`
  );
}

interface Change {
  op: string;
  name: string;
  type: string;
  /** Paths of the properties that differ. */
  properties: string[];
}

/** The changes, the most severe first. */
function changesOf({ steps = [] }: Digest): Change[] {
  return steps
    .filter(({ op }) => OPERATIONS.includes(op))
    .toSorted((one, other) => OPERATIONS.indexOf(one.op) - OPERATIONS.indexOf(other.op))
    .map(({ op, urn, detailedDiff, replaceReasons }) => {
      // urn:pulumi:STACK::PROJECT::PARENT$TYPE::NAME
      const [, , types = "", ...name] = urn.split("::");
      return {
        op,
        name: name.join("::"),
        type: types.split("$").at(-1) ?? "",
        properties: [...new Set([...Object.keys(detailedDiff ?? {}), ...(replaceReasons ?? [])])],
      };
    });
}

/** Text that Markdown does not interpret, in a table too. */
function code(text: string): string {
  return `\`${text.replaceAll("`", "'").replaceAll("|", "\\|")}\``;
}
