import { execFile } from "node:child_process";
import { promisify } from "node:util";

import { error, type Finding, REFRESH, should } from "./finding.ts";

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

/** One finding a property that differs. Pure. */
export function fromStep({ op, urn, oldState, newState, detailedDiff }: Step): Finding[] {
  const path = `cloud.${urn.slice(urn.lastIndexOf("::") + 2)}`;
  if (op === "delete") return [error(path, "is not there, it should be", REFRESH)];
  return Object.keys(detailedDiff ?? {}).map((property) => {
    const [found, expected] = [at(newState?.inputs, property), at(oldState?.inputs, property)];
    const message =
      expected === undefined
        ? `unexpected ${JSON.stringify(found)}`
        : found === undefined
          ? `missing ${JSON.stringify(expected)}`
          : should(found, expected);
    return error(`${path}.${property}`, message, REFRESH);
  });
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
