import { isDeepStrictEqual } from "node:util";

import { parse } from "dotenv";

import { ASSIGNMENT } from "../../examples/app-repo/scripts/target/environment.ts";

/** The result of a merge, by the names of variables. Variables in neither list already had their values. */
export interface Merge {
  text: string;
  added: string[];
  changed: string[];
}

/**
 * Sets variables in the text of an environment file. It replaces only the values that differ, and adds missing variables at
 * the end. Everything else stays the same to the byte: comments, order, line ends, `export`, and whether the last line has a
 * line end.
 *
 * @throws Error if a parser would not read the changed text as intended, for example if a value is on another line than its
 *   name
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
    throw new Error("cannot be changed safely, each value should begin on the line of its name");
  }
  return { text: merged, added, changed };
}

/** Replaces every occurrence, because readers differ in which one they use. */
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

/** If the last line has no line end, the new last line has none either. */
function append(text: string, lines: string[]): string {
  if (lines.length === 0) return text;
  const lineEnd = /\r\n|\n|\r/.exec(text)?.[0] ?? "\n";
  const isEnded = /(^|[\r\n])$/.test(text);
  return isEnded
    ? text + lines.map((line) => line + lineEnd).join("")
    : text + lines.map((line) => lineEnd + line).join("");
}

/** With quotes if a shell that sources the file would need them, for example for the `|` of an admin key. */
function quoted(value: string): string {
  return /^[\w@%+=:,./-]+$/.test(value) ? value : `"${value}"`;
}
