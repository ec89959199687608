import { inOrder, isDrift } from "../findings/finding.ts";
import type { Report } from "../findings/look.ts";
import { combined, costsOf, type Repair, repairText } from "../findings/repair.ts";
import { workflowCommand } from "../workflow-command.ts";

export type Status = "clean" | "drift" | "unknown";

/** Exit codes: 0 clean, 2 drift, 1 not everything could be checked. */
export const EXIT_CODES: Record<Status, number> = { clean: 0, unknown: 1, drift: 2 };

/** Drift that was found is drift, even if something else could not be checked. */
export function status({ findings, unknown }: Report): Status {
  if (isDrift(findings)) return "drift";
  return unknown.length > 0 ? "unknown" : "clean";
}

/** For a person at a terminal. */
export function asText(report: Report): string {
  const findings = inOrder(report.findings);
  const lines = findings.flatMap(({ path, severity, message, repair }) => [
    `${severity.padEnd(8)} ${path}: ${message}`,
    ...advice(report.stack, repair).map((line) => `         ${line}`),
  ]);
  lines.push(...report.unknown.map((reason) => `unknown  ${reason}`), headline(report));
  const repairs = combined(findings.filter(({ severity }) => severity !== "notice").map(({ repair }) => repair));
  if (repairs !== undefined) lines.push(`Repair with: ${repairText(report.stack, repairs)}`);
  return `${lines.join("\n")}\n`;
}

/** For programs; the schema is in docs/drift.md. */
export function asJson(report: Report): string {
  const findings = inOrder(report.findings).map(({ repair, ...finding }) => ({
    ...finding,
    repair: repairText(report.stack, repair),
    ...("up" in repair ? { costs: costsOf(repair) } : {}),
  }));
  return `${JSON.stringify({ stack: report.stack, status: status(report), findings, unknown: report.unknown }, undefined, 2)}\n`;
}

/** Workflow commands of GitHub Actions, one annotation for each finding. */
export function asAnnotations(report: Report): string {
  const title = `Drift in ${report.stack}`;
  const lines = inOrder(report.findings).map(({ path, severity, message, repair }) =>
    workflowCommand(severity, [`${path}: ${message}`, ...advice(report.stack, repair)].join("\n"), title),
  );
  lines.push(...report.unknown.map((reason) => workflowCommand("error", reason, title)));
  return `${[...lines, headline(report)].join("\n")}\n`;
}

/** A job's summary, in Markdown. */
export function asSummary(report: Report): string {
  const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll(/\s+/g, " ");
  const rows = inOrder(report.findings).map(
    ({ path, severity, message, repair }) =>
      `| ${severity} | \`${cell(path)}\` | ${cell(message)} | ${cell(advice(report.stack, repair).join(" "))} |`,
  );
  const table =
    rows.length === 0 ? [] : ["", "| Severity | Where | What | Repair |", "| --- | --- | --- | --- |", ...rows];
  const unknown = report.unknown.map((reason) => `- could not be checked: ${reason}`);
  return `${[`### Drift of stack ${report.stack}`, "", headline(report), ...unknown, ...table].join("\n")}\n`;
}

/** The repair and its costs, one line each. */
function advice(stack: string, repair: Repair): string[] {
  if (!("up" in repair)) return [repairText(stack, repair)];
  return [`repair: ${repairText(stack, repair)}`, `costs:  ${costsOf(repair)}`];
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
