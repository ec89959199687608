/** How bad a finding is. Errors and warnings are drift; a notice only explains. */
export type Severity = "error" | "warning" | "notice";

/** What brings back what is declared: resources that `pulumi up` makes anew, or a command for a person on the droplet. */
export type Repair =
  /** Logical names of resources to replace; with none, a refreshing `up` repairs it by itself. */
  | { up: string[]; withoutPreview?: boolean }
  /** Not the program's to repair. `why` says what a person decides, `command` is run on the droplet. */
  | { why: string; command?: string };

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
export const RUN_SCRIPTS: Repair = { up: ["convex-setup", "convex-server"] };

/** What repairs anything that the engine can read: it sees the difference itself. */
export const REFRESH: Repair = { up: [] };

/** What brings back a droplet. A preview that refreshes would look at what is on it, and fail. */
export const REMAKE: Repair = { up: [], withoutPreview: true };

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
