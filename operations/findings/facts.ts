import { createHash } from "node:crypto";

import type { Inside } from "./inside.ts";

/** A fact's JSON; undefined if its command failed, which is a separate finding. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller knows what the command prints
export function json<T>({ facts }: Inside, name: string): T | undefined {
  const fact = facts.get(name);
  if (fact?.exitCode !== 0 || fact.text.trim() === "") return undefined;
  return JSON.parse(fact.text) as T;
}

/** A fact's lines, without empty ones; none if its command failed. */
export function lines({ facts }: Inside, name: string): string[] {
  const fact = facts.get(name);
  return fact?.exitCode === 0 ? fact.text.split("\n").filter((line) => line.trim() !== "") : [];
}

/** Variables by name, from Docker's list of `NAME=value`. */
export function variables(entries: string[]): Map<string, string> {
  return new Map(entries.map((entry) => [entry.split("=", 1)[0] ?? "", entry.slice(entry.indexOf("=") + 1)]));
}

/** The hash that the machine prints instead of a secret, in hexadecimal. */
export function sha256(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}
