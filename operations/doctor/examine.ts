import { RESOURCES, TYPES } from "../../contract/names.ts";
import { UnreachableError } from "../../ssh/connect.ts";
import { describeBackups } from "../findings/backups/backups.ts";
import { declaredBackend, declaredEdge, hasBackups } from "../findings/expected.ts";
import { type Area, type Finding, inOrder, without } from "../findings/finding.ts";
import type { Inside } from "../findings/inside.ts";
import { compare, inspect } from "../findings/look.ts";
import { combined, costsOf, repairText } from "../findings/repair.ts";
import { readIgnored } from "../setting.ts";
import { State } from "../state.ts";
import { examineAnswers } from "./answers.ts";
import { examineApp } from "./app.ts";
import { examineDroplet } from "./droplet.ts";
import { type Problem, unhealthy, type Check, unknown, healthy } from "./check.ts";
import { pulumiCommand } from "../../contract/commands.ts";

/** What the checks of a stack found. The names are those of the JSON in docs/troubleshooting.md. */
export interface Examination {
  stack: string;
  stations: Check[];
  /** How many more things are not as declared, but do not stop the backend from serving. */
  elsewhere: number;
}

/**
 * Checks a stack from the droplet up to an app, each check before those that depend on it: start with the first that fails.
 * Changes nothing. A stack whose first `up` failed is checked as far as it was deployed.
 *
 * @param app  folder of an app that uses the stack, to check it too
 * @throws Error if the stack's state cannot be read
 */
export async function examine(stack: string, app?: string): Promise<Examination> {
  const state = await State.read(stack);
  const [inside, ignored] = await Promise.all([
    inspect(state).catch((error: unknown) => (error instanceof Error ? error : new Error(String(error)))),
    readIgnored(stack),
  ]);
  const seen = inside instanceof Error ? undefined : inside;
  const answers = await examineAnswers(state, seen);
  const findings = seen === undefined ? [] : without(compare(state, seen), ignored);
  const stations = [
    await examineDroplet(state, inside),
    ...(inside instanceof Error ? notChecked(state, inside) : checkInside(state, inside, findings, answers)),
    answers,
    ...(app === undefined ? [] : [await examineApp(app, state, seen)]),
  ];
  return {
    stack,
    stations,
    elsewhere: findings.filter((finding) => isElsewhere(finding, isServed(finding.area, seen, answers))).length,
  };
}

/** The checks inside the droplet, each with the areas whose findings it shows. */
const INSIDE: { name: string; healthy: string; areas: Area[] }[] = [
  { name: "network", healthy: "forwards packets, and resolves names", areas: ["network"] },
  { name: "volume", healthy: "mounted, with room left", areas: ["volume"] },
  { name: "PostgreSQL", healthy: "answers, and the backend's role can log in", areas: ["postgres"] },
  { name: "containers", healthy: "run as declared, on their network", areas: ["containers"] },
  {
    name: "backend",
    healthy: "serves, with the stack's secret, and accepts its keys",
    areas: ["convex", "functions"],
  },
  { name: "backups", healthy: "are made, and can be restored", areas: ["backups"] },
  { name: "apps", healthy: "run, and answer", areas: ["apps"] },
  { name: "names", healthy: "lead here, with a valid certificate", areas: ["edge"] },
];

/** Most stacks have no apps. */
function insideOf(state: State): typeof INSIDE {
  return INSIDE.filter(({ name }) => name !== "apps" || state.find(TYPES.command, RESOURCES.apps) !== undefined);
}

function notChecked(state: State, error: Error): Check[] {
  const why = error instanceof UnreachableError ? "could not be checked" : error.message;
  return insideOf(state).map(({ name }) => unknown(name, why));
}

/** Whether everything in an area serves, whatever its files are like now. */
function isServed(area: Area, inside: Inside | undefined, answers: Check): boolean {
  return serves(inside) && !(area === "edge" && answers.status === "ill");
}

/** A file, a link or a package has an effect only when a service reads it again. */
function isOnDisk({ subject }: Finding): boolean {
  return /^(files|links|packages)\b/.test(subject);
}

function serves(inside: Inside | undefined): boolean {
  return inside?.facts.get("backend.version")?.exitCode === 0;
}

/**
 * Whether no check shows a finding, so that only drift reports it.
 *
 * @param isServing  whether what depends on the finding's area serves
 */
export function isElsewhere(finding: Finding, isServing: boolean): boolean {
  if (finding.severity === "notice") return false;
  return (isServing && isOnDisk(finding)) || !INSIDE.some(({ areas }) => areas.includes(finding.area));
}

/** Drift's findings that can stop the backend from serving; drift reports the rest. */
function checkInside(state: State, inside: Inside, findings: Finding[], answers: Check): Check[] {
  // A warning can be the cause only if the backend does not serve, or its answers do not reach this computer.
  const isSuspect = ({ source, area }: Finding) =>
    !isServed(area, inside, answers) || source === "disk" || (answers.status === "ill" && area === "network");
  const severe = inOrder(findings).filter(
    (finding) =>
      finding.severity !== "notice" && ((finding.severity === "error" && !isOnDisk(finding)) || isSuspect(finding)),
  );
  return insideOf(state).map(({ name, healthy: said, areas }): Check => {
    const own = severe.filter(({ area }) => areas.includes(area));
    const problems = [...(name === "backend" ? explained(state.stack, inside) : []), ...problemsOf(state.stack, own)];
    if (problems.length > 0) return unhealthy(name, problems);
    if (name === "backend" && declaredBackend(state) === undefined) {
      return unknown(name, notDeployed(state));
    }
    if (name === "apps" && state.find(TYPES.command, RESOURCES.apps) === undefined)
      return healthy(name, "there are none");
    if (name === "names" && declaredEdge(state) === undefined) return healthy(name, "no domain is set");
    if (name === "backups") {
      if (hasBackups(state) === undefined) return unknown(name, notDeployed(state));
      return healthy(name, describeBackups(state, inside));
    }
    return healthy(name, said);
  });
}

function notDeployed({ stack }: State): string {
  return `is not deployed yet: ${pulumiCommand(stack, "up")}`;
}

/** Findings as problems. One `up` fixes all that an `up` fixes. */
function problemsOf(stack: string, findings: Finding[]): Problem[] {
  const up = combined(findings.map(({ repair }) => repair));
  return findings.map(({ path, message, repair }) => ({
    symptom: `${path}: ${message}`,
    ...("up" in repair && up !== undefined
      ? { cure: repairText(stack, up), costs: costsOf(up) }
      : { cure: repairText(stack, repair) }),
  }));
}

/** The causes that the backend's own log shows. */
function explained(stack: string, { facts }: Inside): Problem[] {
  const text = facts.get("backend.symptoms")?.text ?? "";
  return [...text.matchAll(/^cause: (.*)\n +fix: (.*)$/gm)].map(([, cause = "", fix = ""]) => ({
    symptom: "the backend's log shows it",
    cause,
    cure: fix.replaceAll("npx pulumi up", pulumiCommand(stack, "up")),
  }));
}
