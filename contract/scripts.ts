import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";

/** The folder of `machine/`'s scripts on every droplet. */
export const SCRIPTS = "/usr/local/lib/convex-droplet";

/** Their folder in this checkout. */
export const SOURCE = path.join(import.meta.dirname, "..", "machine");

/** Quotes one word for a POSIX shell. */
export function quote(word: string | number): string {
  return /^[\w@%+=:,./-]+$/.test(String(word)) ? String(word) : `'${String(word).replaceAll("'", `'\\''`)}'`;
}

/** A script's values, by name. */
export type Values = Record<string, string | number | string[]>;

/**
 * The stdin of a script of `machine/`: a line `name=value` for each value; for a list, a line for each item.
 *
 * @throws Error if a value contains a line break, because the rest would be another value
 */
export function namedValues(values: Values): string {
  const lines = Object.entries(values).flatMap(([name, value]) => {
    const items = Array.isArray(value) ? (value.length === 0 ? [""] : value) : [String(value)];
    if (items.some((item) => item.includes("\n")))
      throw new Error(`${name}: contains a line break, it should be one line`);
    return items.map((item) => `${name}=${item}\n`);
  });
  return lines.join("");
}

/** One value from a script's stdin; empty if it does not contain this name. */
export function valueIn(stdin: string, name: string): string {
  return itemsIn(stdin, name)[0] ?? "";
}

/** The items of a list that a script was given. */
export function itemsIn(stdin: string, name: string): string[] {
  return stdin.split("\n").flatMap((line) => (line.startsWith(`${name}=`) ? line.slice(name.length + 1) : []));
}

/** Identifies the current scripts: a change in any of them gives another fingerprint. */
export function fingerprint(): string {
  const hash = createHash("sha256");
  for (const file of scriptFiles()) {
    hash
      .update(`${file}\0`)
      .update(readFileSync(path.join(SOURCE, file)))
      .update("\0");
  }
  return hash.digest("hex").slice(0, 12);
}

/** All files of `machine/`, by their path below it, sorted. */
export function scriptFiles(): string[] {
  return readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
    .filter((name) => statSync(path.join(SOURCE, name)).isFile())
    .toSorted();
}
