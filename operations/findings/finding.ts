import type { Repair } from "./repair.ts";

/** The part of an instance that a finding is about: an area of `machine/`, or something that it depends on. */
export type Area =
  | "cloud"
  | "host"
  | "network"
  | "volume"
  | "containers"
  | "postgres"
  | "edge"
  | "apps"
  | "backups"
  | "convex"
  | "functions";

/** How bad a finding is. Errors and warnings are drift; a notice only explains. */
export type Severity = "error" | "warning" | "notice";

/** Something that is not as the stack declares it. Text, JSON, annotations and the doctor's checks show it. */
export interface Finding {
  area: Area;
  /** Who found it: a script of `machine/`, a fact of its `facts.sh`, or `DigitalOcean`. */
  source: string;
  /** The thing that it is about, for example `containers.convex-backend`. */
  subject: string;
  /** The subject's property, for example `memory`; absent if it is about the whole subject. */
  property?: string;
  /** Subject and property, for people and for `driftIgnore`: `containers.convex-backend.memory`. */
  path: string;
  severity: Severity;
  /** Both are absent if they are not known; never secrets. */
  expected?: unknown;
  found?: unknown;
  /** Both in a sentence without its subject: the actual and the expected value. */
  message: string;
  repair: Repair;
}

/** What was seen. Without a message it is `is FOUND, it should be EXPECTED`. */
export interface Seen {
  expected?: unknown;
  found?: unknown;
  message?: string;
}

type Find = (where: string | readonly [subject: string, property: string], seen: Seen, repair: Repair) => Finding;

/** Makes the findings of one source about one area, by their severity. */
export function findingsBy(source: string, area: Area): Record<Severity, Find> {
  const find =
    (severity: Severity): Find =>
    (where, { message, ...values }, repair) => {
      const [subject, property] = typeof where === "string" ? [where] : where;
      return {
        ...{ area, source, subject, ...(property === undefined ? {} : { property }) },
        path: property === undefined ? subject : `${subject}.${property}`,
        severity,
        ...values,
        message: message ?? `is ${show(values.found)}, it should be ${show(values.expected)}`,
        repair,
      };
    };
  return { error: find("error"), warning: find("warning"), notice: find("notice") };
}

/** Something declared that does not exist. */
export function missing(message = "is not there, it should be"): Seen {
  return { expected: "present", found: "absent", message };
}

/** Something that exists and that nothing declares. */
export function undeclared(message: string, found: unknown = "present"): Seen {
  return { expected: "absent", found, message };
}

function show(value: unknown): string {
  if (value === undefined || value === null || value === "") return "nothing";
  return typeof value === "string" ? value : JSON.stringify(value);
}

/** Text for a terminal or a log. What strangers wrote into files and names must not act on it. */
export function printable(text: string): string {
  return text.replaceAll(/[\p{Cc}\p{Cf}]/gu, (character) => (/[\n\t]/.test(character) ? character : "\u{FFFD}"));
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

/** The findings whose path matches none of the patterns. */
export function without(findings: Finding[], patterns: string[]): Finding[] {
  return findings.filter(({ path }) => !patterns.some((pattern) => matches(path, pattern)));
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
