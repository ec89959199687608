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
