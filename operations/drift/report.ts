import { quote } from "../../components/scripts.ts";
import { workflowCommand } from "../workflow-command.ts";
import { type Finding, inOrder, isDrift, type Repair } from "./finding.ts";

/** What a look at a stack gave. */
export interface Report {
  stack: string;
  findings: Finding[];
  /** Why a part could not be looked at; with any of these nobody can say that the stack is clean. */
  unknown: string[];
}

export type Status = "clean" | "drift" | "unknown";

/** Exit codes: 0 clean, 2 drift, 1 could not tell. */
export const EXIT_CODES: Record<Status, number> = { clean: 0, unknown: 1, drift: 2 };

/** Drift that was seen is drift, whatever else could not be looked at. */
export function status({ findings, unknown }: Report): Status {
  if (isDrift(findings)) return "drift";
  return unknown.length > 0 ? "unknown" : "clean";
}

/** For a person at a terminal. */
export function asText(report: Report): string {
  const findings = inOrder(report.findings);
  const lines = findings.flatMap(({ path, severity, message, repair }) => [
    `${severity.padEnd(8)} ${path}: ${message}`,
    `         ${advice(report.stack, repair)}`,
  ]);
  lines.push(...report.unknown.map((reason) => `unknown  ${reason}`), headline(report));
  const repairs = upCommand(report.stack, findings);
  if (repairs !== undefined) lines.push(`Repair with: ${repairs}`);
  return `${lines.join("\n")}\n`;
}

/** For programs; the schema is in docs/drift.md. */
export function asJson(report: Report): string {
  const findings = inOrder(report.findings).map(({ repair, ...finding }) => ({
    ...finding,
    repair: repairText(report.stack, repair),
  }));
  return `${JSON.stringify({ stack: report.stack, status: status(report), findings, unknown: report.unknown }, undefined, 2)}\n`;
}

/** Workflow commands of GitHub Actions, one annotation a finding. */
export function asAnnotations(report: Report): string {
  const title = `Drift in ${report.stack}`;
  const lines = inOrder(report.findings).map(({ path, severity, message, repair }) =>
    workflowCommand(severity, `${path}: ${message}\n${advice(report.stack, repair)}`, title),
  );
  lines.push(...report.unknown.map((reason) => workflowCommand("error", reason, title)));
  return `${[...lines, headline(report)].join("\n")}\n`;
}

/** A job's summary, in Markdown. */
export function asSummary(report: Report): string {
  const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll(/\s+/g, " ");
  const rows = inOrder(report.findings).map(
    ({ path, severity, message, repair }) =>
      `| ${severity} | \`${cell(path)}\` | ${cell(message)} | ${cell(repairText(report.stack, repair))} |`,
  );
  const table =
    rows.length === 0 ? [] : ["", "| Severity | Where | What | Repair |", "| --- | --- | --- | --- |", ...rows];
  const unknown = report.unknown.map((reason) => `- could not tell: ${reason}`);
  return `${[`### Drift of stack ${report.stack}`, "", headline(report), ...unknown, ...table].join("\n")}\n`;
}

/** As a sentence of its own. */
function advice(stack: string, repair: Repair): string {
  return `${"up" in repair ? "repair: " : ""}${repairText(stack, repair)}`;
}

function headline(report: Report): string {
  const count = (severity: string) => report.findings.filter((finding) => finding.severity === severity).length;
  const numbers = [
    [count("error"), "error"],
    [count("warning"), "warning"],
    [count("notice"), "notice"],
  ] as const;
  const counted = numbers
    .filter(([number]) => number > 0)
    .map(([number, noun]) => `${number} ${noun}${number > 1 ? "s" : ""}`);
  const sentence = {
    clean: "is as declared, in the cloud and inside the droplet",
    drift: "has drifted",
    unknown: "could not be compared",
  }[status(report)];
  return `Stack ${report.stack} ${sentence}${counted.length > 0 ? `: ${counted.join(", ")}` : ""}.`;
}

/** One command for all that an `up` repairs; undefined where nothing is. */
export function upCommand(stack: string, findings: Finding[]): string | undefined {
  const ups = findings
    .filter(({ severity }) => severity !== "notice")
    .flatMap(({ repair }) => ("up" in repair ? [repair] : []));
  if (ups.length === 0) return undefined;
  const names = new Set(ups.flatMap((repair) => repair.up));
  return up(stack, { up: [...names].toSorted(), withoutPreview: ups.some(({ withoutPreview }) => withoutPreview) });
}

/** A command, or what a person decides and the command for that. */
export function repairText(stack: string, repair: Repair): string {
  if ("up" in repair) return up(stack, repair);
  const command = repair.command === undefined ? "" : `: npm run ssh -- --stack ${stack} ${quote(repair.command)}`;
  return `${repair.why}${command}`;
}

/** Replacing a command resource runs its script again; refreshing lets the engine see what providers can read. */
function up(stack: string, { up: names, withoutPreview = false }: Extract<Repair, { up: string[] }>): string {
  const replacements = names.map((name) => ` --replace '**${name}'`).join("");
  return `pulumi up --stack ${stack} --refresh --run-program${withoutPreview ? " --skip-preview --yes" : ""}${replacements}`;
}
