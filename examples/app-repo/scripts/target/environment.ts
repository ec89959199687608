import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { parse } from "dotenv";
import { expand } from "dotenv-expand";

// Finds the value that wins if a variable is set in several places.

/** A process's variables. */
export type Shell = Record<string, string | undefined>;

/** A variable's value, and the place that it comes from. */
export interface Found {
  value: string;
  /** The file's path; if absent, the variable is the shell's. */
  file?: string;
  /** For messages: a file's path and line, or the shell. */
  place: string;
}

/**
 * One assignment of an environment file as dotenv reads it, including values over several lines, so that a line inside a value
 * does not count as an assignment. Groups: the name, the sign, the value with the blanks around it.
 */
export const ASSIGNMENT =
  /^\s*(?:export\s+)?([\w.-]+)(\s*=\s*?|:\s+?)(\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|\s*`(?:\\`|[^`])*`|[^#\r\n]+)?\s*(?:#.*)?$/gm;

/** A reader of variables. The process's own variables win over all files; then the first file with the variable wins. */
export interface Reader {
  files: string[];
  /** Which other variables values may refer to: none, those of this file and of earlier files, or those of all files. */
  expands: "nothing" | "so far" | "all";
}

export const CONVEX_CLI: Reader = { files: [".env.local", ".env"], expands: "nothing" };
const NEXT: Reader = { files: [".env.MODE.local", ".env.local", ".env.MODE", ".env"], expands: "so far" };
const VITE: Reader = { files: [".env.MODE.local", ".env.MODE", ".env.local", ".env"], expands: "all" };

/** The reader of variables, by the prefix of their names; MODE is `development` or `production`. */
const READERS: [prefix: string, reader: Reader][] = [
  ["CONVEX_", CONVEX_CLI],
  ["NEXT_PUBLIC_", NEXT],
  ["EXPO_PUBLIC_", NEXT],
  ["REACT_APP_", NEXT],
  ["BUN_PUBLIC_", NEXT],
  ["NUXT_PUBLIC_", { files: [".env"], expands: "all" }],
  ["GATSBY_", { files: [".env.MODE"], expands: "nothing" }],
  // Frameworks on Vite, or with its order: VITE_, PUBLIC_, VUE_APP_.
  ["", VITE],
];

/** Frameworks run an app for development, and build it for production. */
export const MODES = ["development", "production"] as const;

/** The reader of a variable with this name. */
export function readerOf(name: string, mode: (typeof MODES)[number]): Reader {
  const [, { files, expands }] = READERS.find(([prefix]) => name.startsWith(prefix)) ?? ["", VITE];
  return { files: files.map((file) => file.replace("MODE", mode)), expands };
}

/** The value that wins, even if it is empty; undefined if the variable is set nowhere. */
export function find(folder: string, name: string, { files, expands }: Reader, shell: Shell): Found | undefined {
  if (shell[name] !== undefined) return { value: shell[name], place: "the shell's environment" };
  const read = files.map((file) => readVariables(path.join(folder, file)));
  const index = read.findIndex((variables) => name in variables);
  const found = read[index]?.[name];
  if (found === undefined || expands === "nothing" || !found.value.includes("$")) return found;
  const known = expands === "all" ? read : read.slice(0, index + 1);
  const others = Object.fromEntries(
    known.toReversed().flatMap((variables) => Object.entries(variables).map(([key, { value }]) => [key, value])),
  );
  const processEnv = { ...others, ...shell } as Record<string, string>;
  return { ...found, value: expand({ parsed: { [name]: found.value }, processEnv }).parsed?.[name] ?? "" };
}

/** The environment files of a folder, of all readers; without templates, which nothing reads. */
export function environmentFiles(folder: string): string[] {
  return readdirSync(folder).filter(
    (name) => /^\.env(\.|$)/.test(name) && !/\.(example|sample|template|dist)$/.test(name),
  );
}

/** The variables that a file sets; none if it cannot be read, because readers ignore such a file, too. */
export function readVariables(file: string): Record<string, Found> {
  const text = readText(file);
  const lines: Record<string, number> = {};
  for (const { 0: assignment, 1: name = "", index } of text.matchAll(ASSIGNMENT)) {
    // If a variable is set twice, the last one wins.
    lines[name] = text.slice(0, index + assignment.indexOf(name)).split("\n").length;
  }
  return Object.fromEntries(
    Object.entries(parse(text)).map(([name, value]) => [name, { value, file, place: `${file}:${lines[name] ?? 1}` }]),
  );
}

function readText(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return "";
  }
}
