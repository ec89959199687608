import { RESOURCES } from "../../contract/names.ts";

/** How bad a finding is. Errors and warnings are drift; a notice only explains. */
export type Severity = "error" | "warning" | "notice";

/** What brings back what is declared: a `pulumi up`, or a command for a person on the droplet. */
export type Repair =
  | Up
  /** Not the program's to repair. `why` says what a person decides, `command` is run on the droplet. */
  | { why: string; command?: string };

/** An `up` that touches what it names, what rests on that, and nothing else. */
export interface Up {
  /** Logical names of resources to make anew: of one that runs a script, that runs again. */
  up: string[];
  /** Logical names of resources to look at, of which the engine itself then sees what differs. */
  refresh?: string[];
  /** Makes a droplet anew, with all that is on it: all is looked at, and a preview of that would fail. */
  remake?: boolean;
  /** What this costs: what stops, and for how long, or what is lost. Where it is not told, what is named tells. */
  costs?: string;
}

/** One property that is not as the stack declares it. */
export interface Finding {
  /** Where, for example `postgres.pg_hba` or `containers.convex-backend.memory`. */
  path: string;
  severity: Severity;
  /** What is, and what it should be. */
  message: string;
  repair: Repair;
}

/** What repairs anything the machine's scripts set up: they run again and change only what differs. */
export const RUN_SCRIPTS: Up = {
  up: [RESOURCES.setup, RESOURCES.server],
  costs: "nothing stops, unless Docker or PostgreSQL has to start again for this: then some seconds without answers",
};

/** What repairs a resource that the engine can read: it sees the difference itself. */
export function refresh(resource: string, costs?: string): Up {
  return { up: [], refresh: [resource], ...(costs === undefined ? {} : { costs }) };
}

/** What makes a container anew, also where somebody made one of that name by hand, which only a look at it shows. */
export function newContainer(...resources: string[]): Up {
  return { up: resources, refresh: resources };
}

/** What brings back a droplet. */
export const REMAKE: Up = {
  up: [],
  remake: true,
  costs: "a new droplet, perhaps with another address, on the same volume with its data: some minutes without answers",
};

export function error(path: string, message: string, repair: Repair): Finding {
  return { path, severity: "error", message, repair };
}

export function warning(path: string, message: string, repair: Repair): Finding {
  return { path, severity: "warning", message, repair };
}

export function notice(path: string, message: string, repair: Repair): Finding {
  return { path, severity: "notice", message, repair };
}

const ORDER: Severity[] = ["error", "warning", "notice"];

/** Worst first, then by path. */
export function inOrder(findings: Finding[]): Finding[] {
  return findings.toSorted(
    (one, other) =>
      ORDER.indexOf(one.severity) - ORDER.indexOf(other.severity) ||
      one.path.localeCompare(other.path) ||
      one.message.localeCompare(other.message),
  );
}

/** Whether a finding's path matches a pattern in which `*` stands for any text. */
export function matches(path: string, pattern: string): boolean {
  const literal = (text: string) => text.replaceAll(/[\\^$.|?+()[\]{}]/g, "\\$&");
  return new RegExp(`^${pattern.split("*").map(literal).join(".*")}$`).test(path);
}

/** Whether anything is not as declared. */
export function isDrift(findings: Finding[]): boolean {
  return findings.some(({ severity }) => severity !== "notice");
}

/** `is A, it should be B`, each as a person reads it. */
export function should(found: unknown, expected: unknown): string {
  return `is ${show(found)}, it should be ${show(expected)}`;
}

function show(value: unknown): string {
  if (value === undefined || value === null || value === "") return "nothing";
  return typeof value === "string" ? value : JSON.stringify(value);
}
