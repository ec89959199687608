import { test } from "vitest";
import { originalPlugin } from "../../sandbox/engine/originals.ts";

/** Whether the tests of this plugin run on the official one: `CONVEX_DROPLET_ORIGINALS` has it. */
export function isOriginal(name: string): boolean {
  return originalPlugin(name) !== undefined;
}

/**
 * A `test` for what can be asked of a stand-in and not of the original. It is skipped on the original:
 * `standInOnly("docker", "the original has them all")("refuses what it does not have", …)`.
 */
export function standInOnly(name: string, reason: string): typeof test {
  if (!isOriginal(name)) return test;
  return ((title: string, ...rest: [never]) => {
    test.skip(`${title} [stand-in only: ${reason}]`, ...rest);
  }) as unknown as typeof test;
}
