import { createHash } from "node:crypto";

import type { Inside } from "./inside.ts";

/** Gives a fact's JSON; undefined where the command that tells it failed, which is a finding of its own. */
// oxlint-disable-next-line typescript/no-unnecessary-type-parameters -- the caller knows what the command tells
export function json<T>({ facts }: Inside, name: string): T | undefined {
  const fact = facts.get(name);
  if (fact?.exitCode !== 0 || fact.text.trim() === "") return undefined;
  return JSON.parse(fact.text) as T;
}

/** Gives a fact's lines, without empty ones; none where the command that tells it failed. */
export function lines({ facts }: Inside, name: string): string[] {
  const fact = facts.get(name);
  return fact?.exitCode === 0 ? fact.text.split("\n").filter((line) => line.trim() !== "") : [];
}

/** Variables as Docker lists them, `NAME=value` each, by name. */
export function variables(entries: string[]): Map<string, string> {
  return new Map(entries.map((entry) => [entry.split("=", 1)[0] ?? "", entry.slice(entry.indexOf("=") + 1)]));
}

/** As the machine tells of a secret, in hexadecimal. */
export function sha256(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}
