import { isDeepStrictEqual } from "node:util";

import { parse } from "dotenv";

import { ASSIGNMENT } from "../../examples/app-repo/scripts/target/environment.ts";

/** What a merge did, by the names of variables; what is in none of the lists was as it should be. */
export interface Merge {
  text: string;
  added: string[];
  changed: string[];
}

/**
 * Sets variables in the text of an environment file. Only the values of variables that differ are touched, wherever they
 * stand; what is missing comes at the end. Everything else stays to the byte: comments, order, line ends, `export`, and
 * whether the last line has an end.
 *
 * @throws Error where the text would then be read otherwise than meant, for example where a value is on another line than its name
 */
export function mergeVariables(text: string, variables: Record<string, string>): Merge {
  const before = parse(text);
  const names = Object.keys(variables);
  const added = names.filter((name) => before[name] === undefined);
  const changed = names.filter((name) => before[name] !== undefined && before[name] !== variables[name]);
  const merged = append(
    replaceValues(text, (name) => (changed.includes(name) ? variables[name] : undefined)),
    added.map((name) => `${name}=${quoted(variables[name] ?? "")}`),
  );
  if (!isDeepStrictEqual({ ...parse(merged) }, { ...before, ...variables })) {
    throw new Error("cannot be changed without doubt, each value should begin on the line of its name");
  }
  return { text: merged, added, changed };
}

/** Every occurrence, because readers differ in which one counts. */
function replaceValues(text: string, valueOf: (name: string) => string | undefined): string {
  return text.replace(ASSIGNMENT, (assignment: string, name: string, sign: string, written: string | undefined) => {
    const value = valueOf(name);
    if (value === undefined) return assignment;
    const old = (written ?? "").trim();
    const start = assignment.indexOf(name) + name.length + sign.length;
    const place = old === "" ? start : assignment.indexOf(old, start);
    return assignment.slice(0, place) + quoted(value) + assignment.slice(place + old.length);
  });
}

/** A file whose last line has no end keeps it so. */
function append(text: string, lines: string[]): string {
  if (lines.length === 0) return text;
  const lineEnd = /\r\n|\n|\r/.exec(text)?.[0] ?? "\n";
  const isEnded = /(^|[\r\n])$/.test(text);
  return isEnded
    ? text + lines.map((line) => line + lineEnd).join("")
    : text + lines.map((line) => lineEnd + line).join("");
}

/** In quotes where a shell that sources the file would stumble, over the `|` of an admin key for one. */
function quoted(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : `"${value}"`;
}
