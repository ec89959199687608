import { readdirSync, readFileSync } from "node:fs";
import path from "node:path";

import { parse } from "dotenv";
import { expand } from "dotenv-expand";

// Which value wins where one variable is set in several places.

/** A process's variables. */
export type Shell = Record<string, string | undefined>;

/** A variable's value, and the place that it comes from. */
export interface Found {
  value: string;
  /** The file's path; without it, the variable is the shell's. */
  file?: string;
  /** For messages: a file's path and line, or the shell. */
  place: string;
}

/**
 * One assignment of an environment file as dotenv reads it, values over several lines included, so that a line inside of
 * somebody's value is not taken for one. Groups: the name, the sign, the value with the blanks around it.
 */
export const ASSIGNMENT =
  /^\s*(?:export\s+)?([\w.-]+)(\s*=\s*?|:\s+?)(\s*'(?:\\'|[^'])*'|\s*"(?:\\"|[^"])*"|\s*`(?:\\`|[^`])*`|[^#\r\n]+)?\s*(?:#.*)?$/gm;

/** Who reads variables. A process's own win over those of all files, and of these the first that has one. */
export interface Reader {
  files: string[];
  /** Whether other variables are put into values: none, those of this file and the ones before it, or those of all. */
  expands: "nothing" | "so far" | "all";
}

export const CONVEX_CLI: Reader = { files: [".env.local", ".env"], expands: "nothing" };
const NEXT: Reader = { files: [".env.MODE.local", ".env.local", ".env.MODE", ".env"], expands: "so far" };
const VITE: Reader = { files: [".env.MODE.local", ".env.MODE", ".env.local", ".env"], expands: "all" };

/** What reads variables whose names start so; MODE is `development` or `production`. */
const READERS: [prefix: string, reader: Reader][] = [
  ["CONVEX_", CONVEX_CLI],
  ["NEXT_PUBLIC_", NEXT],
  ["EXPO_PUBLIC_", NEXT],
  ["REACT_APP_", NEXT],
  ["BUN_PUBLIC_", NEXT],
  ["NUXT_PUBLIC_", { files: [".env"], expands: "all" }],
  ["GATSBY_", { files: [".env.MODE"], expands: "nothing" }],
  // Whatever is built on Vite or has its order: VITE_, PUBLIC_, VUE_APP_.
  ["", VITE],
];

/** An app is run for development, and built for production. */
export const MODES = ["development", "production"] as const;

/** Who reads a variable of this name. */
export function readerOf(name: string, mode: (typeof MODES)[number]): Reader {
  const [, { files, expands }] = READERS.find(([prefix]) => name.startsWith(prefix)) ?? ["", VITE];
  return { files: files.map((file) => file.replace("MODE", mode)), expands };
}

/** The value of a variable that wins, an empty one too; undefined where it is set nowhere. */
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

/** The environment files of a folder, whoever may read them; templates are nobody's. */
export function environmentFiles(folder: string): string[] {
  return readdirSync(folder).filter(
    (name) => /^\.env(\.|$)/.test(name) && !/\.(example|sample|template|dist)$/.test(name),
  );
}

/** What a file sets. One that cannot be read sets nothing, as for those that read it. */
export function readVariables(file: string): Record<string, Found> {
  const text = readText(file);
  const lines: Record<string, number> = {};
  for (const { 0: assignment, 1: name = "", index } of text.matchAll(ASSIGNMENT)) {
    // Where one is set twice, the last one wins.
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
