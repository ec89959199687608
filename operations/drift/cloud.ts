import { execFile } from "node:child_process";
import { isDeepStrictEqual, promisify } from "node:util";

import { error, type Finding, refresh, REMAKE, should } from "./finding.ts";
import { NOTHING_STOPS } from "./repairs.ts";

/** A step of the engine's preview, as `--json` prints it. */
export interface Step {
  op: string;
  urn: string;
  /** What the stack's state has: what is declared. */
  oldState?: Found;
  /** What the provider has just read. */
  newState?: Found;
  detailedDiff?: Record<string, { kind: string }> | null;
}

interface Found {
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
}

/** All that DigitalOcean keeps for the stack, asked of the engine's own provider; Docker and PostgreSQL are seen inside. */
const RESOURCES = "**digitalocean:**";

/**
 * Compares the cloud with the stack's state by a refresh that is only previewed, so nothing is written.
 *
 * @throws Error with the engine's last words when the cloud cannot be asked
 */
export async function compareCloud(stack: string): Promise<Finding[]> {
  const args = ["refresh", "--preview-only", "--json", "--non-interactive", "--target", RESOURCES, "--stack", stack];
  const { stdout } = await promisify(execFile)("pulumi", args, { maxBuffer: 64 * 1024 * 1024 }).catch(
    (failure: unknown) => {
      throw new Error(`the cloud cannot be asked: ${reasonOf(failure)}`);
    },
  );
  return (JSON.parse(stdout) as { steps: Step[] }).steps.flatMap(fromStep);
}

/** What it costs to bring a resource back, by its type; a droplet is a case of its own. */
const GONE: Record<string, string> = {
  Volume: "a new and empty volume, and a new droplet for it: what was on it is gone, restore it from a backup",
  SshKey: "nothing stops; the droplet keeps the key that it has",
  Firewall: "nothing stops, and the droplet is closed again to what is not declared",
};

/** The same of a change that takes another resource of the kind. */
const REPLACED: Record<string, string> = {
  ...GONE,
  Droplet: REMAKE.costs ?? "",
};

/** The same of a change that is taken back in place. */
const CHANGED: Record<string, string> = {
  "Droplet.size": "the droplet is switched off and resized: some minutes without answers",
  "Firewall.inboundRules": "nothing stops but what uses the rules that nothing declares",
};

/** One finding a property that differs. Pure. */
export function fromStep({ op, urn, oldState, newState, detailedDiff }: Step): Finding[] {
  const name = urn.slice(urn.lastIndexOf("::") + 2);
  const path = `cloud.${name}`;
  const type = /([^$:]+)::[^:]+$/.exec(urn)?.[1] ?? "";
  if (op === "delete") {
    return [error(path, "is not there, it should be", type === "Droplet" ? REMAKE : refresh(name, GONE[type]))];
  }
  return Object.entries(detailedDiff ?? {}).map(([property, { kind }]) => {
    const message = kind.startsWith("add")
      ? `unexpected ${JSON.stringify(only(property, newState, oldState))}`
      : kind.startsWith("delete")
        ? `missing ${JSON.stringify(only(property, oldState, newState))}`
        : should(valueAt(property, newState), valueAt(property, oldState));
    const costs = kind.endsWith("-replace") ? REPLACED[type] : CHANGED[`${type}.${property.replace(/\[.*/, "")}`];
    return error(`${path}.${property}`, message, refresh(name, costs ?? NOTHING_STOPS));
  });
}

/** The value at a path that one state has and the other has not. In a list that is a set the places do not tell which. */
function only(property: string, one: Found | undefined, other: Found | undefined): unknown {
  const value = valueAt(property, one);
  const list = property.replace(/\[\d+\]$/, "");
  const [items, others] = [at(one?.outputs, list), at(other?.outputs, list)];
  if (list === property || !Array.isArray(items) || !Array.isArray(others)) return value;
  const known = new Set(others.map((item) => JSON.stringify(item)));
  const alone = items.filter((item) => !known.has(JSON.stringify(item))).map(bare);
  return alone.find((item) => isDeepStrictEqual(item, value)) ?? alone[0] ?? value;
}

/**
 * The value at a path as a program would declare it. A provider keeps a list of inputs as long as it was, so what somebody
 * has added is among the outputs only.
 */
function valueAt(property: string, state: Found | undefined): unknown {
  return at(state?.inputs, property) ?? bare(at(state?.outputs, property));
}

/** Without the lists and texts that are empty, which a program leaves out. */
function bare(value: unknown): unknown {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).filter(([, member]) => member !== "" && !(Array.isArray(member) && member.length === 0)),
  );
}

/** The value at a path such as `inboundRules[3].portRange`. */
function at(value: unknown, path: string): unknown {
  let current = value;
  for (const step of path.split(/[.[\]]+/).filter((part) => part !== "")) {
    current = typeof current === "object" && current !== null ? (current as Record<string, unknown>)[step] : undefined;
  }
  return current;
}

/** With `--json` the engine tells its mistakes on stdout. */
function reasonOf(failure: unknown): string {
  if (!(failure instanceof Error)) return String(failure);
  const { stdout = "", stderr = "" } = failure as Error & { stdout?: string; stderr?: string };
  const lines = [...stderr.split("\n"), ...stdout.split("\n")].map((line) => line.trim()).filter((line) => line !== "");
  return lines.find((line) => /error/i.test(line)) ?? lines.at(-1) ?? failure.message;
}
