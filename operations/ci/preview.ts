import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";

import { POLICY_PACK } from "../../contract/run-pulumi.ts";

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

/** A rule of the policy pack that a resource breaks, as Pulumi's log of events has it. */
export interface Violation {
  /** Absent for a rule about the whole stack. */
  resourceUrn?: string;
  policyName: string;
  enforcementLevel: string;
  message: string;
}

/** The result of a preview. */
export interface Preview {
  /** Pulumi's. */
  exitCode: number;
  /** Empty if the output is not JSON. */
  digest: Digest;
  violations: Violation[];
}

/** The operations that are reported. Not the parts of a replacement, reads, and `same`. */
const OPERATIONS = ["delete", "replace", "update", "create", "import", "discard"];

const LOST_DATA =
  /^(digitalocean:index\/(volume:Volume|databaseCluster:DatabaseCluster)|postgresql:index\/database:Database)$/;

/** Previews a stack with the policy pack, without a refresh. Pulumi's stderr is passed on unchanged. */
export async function readPreview(stack: string): Promise<Preview> {
  // Pulumi's JSON has nothing about policies. Its log of events has, and needs this variable.
  const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-preview-"));
  const events = path.join(folder, "events.jsonl");
  try {
    const options = ["--json", "--non-interactive", "--policy-pack", POLICY_PACK, "--event-log", events];
    const pulumi = spawn("pulumi", ["preview", "--stack", stack, ...options], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, PULUMI_DEBUG_COMMANDS: "true" },
    });
    const [output, [code]] = await Promise.all([
      text(pulumi.stdout),
      once(pulumi, "close") as Promise<[number | null]>,
    ]);
    return { exitCode: code ?? 1, digest: parse(output), violations: await readViolations(events) };
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** @returns nothing if the preview ended before there was a log */
async function readViolations(file: string): Promise<Violation[]> {
  const lines = await readFile(file, "utf8").catch(() => "");
  return lines
    .split("\n")
    .filter((line) => line.includes('"policyEvent"'))
    .flatMap((line) => (JSON.parse(line) as { policyEvent?: Violation }).policyEvent ?? []);
}

function parse(output: string): Digest {
  try {
    return JSON.parse(output) as Digest;
  } catch {
    process.stderr.write(output);
    return {};
  }
}

/** A preview for the log: Pulumi's warnings and errors, with secrets masked by Pulumi, the cost, broken rules, and one line for each change. */
export function describePreview({ digest, violations }: Pick<Preview, "digest" | "violations">): string {
  const said = (digest.diagnostics ?? [])
    .filter(({ severity = "", message = "" }) => /^(warning|error)$/.test(severity) || message.startsWith("cost: "))
    .map(({ severity = "", message = "" }) => `${severity}: ${message.trimEnd()}`);
  const broken = violations.map(
    ({ enforcementLevel, policyName, message }) =>
      `${enforcementLevel === "mandatory" ? "error" : "warning"}: ${policyName}: ${message.trimEnd().replaceAll("\n", " ")}`,
  );
  const changes = changesOf(digest).map(({ op, name, properties }) => [op, name, ...properties].join(" "));
  return [...said, ...broken, ...changes].map((line) => `${line}\n`).join("");
}

/**
 * A preview in Markdown, for a comment that anybody may read: broken rules, operations, resources and the names of their properties.
 * It contains no values, so it cannot contain a secret.
 *
 * @param preview  undefined if there was none
 */
export function reportOf(stack: string, preview: Preview | undefined): string {
  const { exitCode = 1, digest = {}, violations = [] } = preview ?? {};
  const title = `### Preview of stack ${code(stack)}\n\n${brokenRules(violations)}`;
  if (exitCode !== 0) return `${title}**The preview failed.** The reason is in the log of the run.\n`;
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

function brokenRules(violations: Violation[]): string {
  if (violations.length === 0) return "";
  const rows = violations.map(({ enforcementLevel, policyName, resourceUrn = "" }) => {
    const name = resourceUrn.split("::").slice(3).join("::");
    return `| ${enforcementLevel} | ${code(policyName)} | ${name === "" ? "the stack" : code(name)} |`;
  });
  return `| | Broken rule | Resource |\n| --- | --- | --- |\n${rows.join("\n")}\n\n`;
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
