import { expect } from "vitest";

import type { Run } from "./harness.ts";

/** Checks that a command has succeeded. Returns its output. */
export function succeeded({ exitCode, all }: Run): string {
  expect(exitCode, all).toBe(0);
  return all;
}
