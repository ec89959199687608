import { expect, test } from "vitest";
import { originalPlugin } from "../../sandbox/engine/originals.ts";
import { Asset, isObject, mapValues, Secret } from "../../sandbox/plugins/framework/values.ts";
import type { Value } from "../../sandbox/plugins/framework/values.ts";
import type { Made } from "./plugin-client.ts";

/** Whether the tests of this plugin run on the official one, because `CONVEX_DROPLET_ORIGINALS` has it. */
export function isOriginal(name: string): boolean {
  return originalPlugin(name) !== undefined;
}

/**
 * A `test` that only makes sense for a stand-in, and is skipped on the original:
 * `standInOnly("docker", "the original has them all")("refuses what it does not have", …)`.
 */
export function standInOnly(name: string, reason: string): typeof test {
  if (!isOriginal(name)) return test;
  return ((title: string, ...rest: [never]) => {
    test.skip(`${title} [stand-in only: ${reason}]`, ...rest);
  }) as unknown as typeof test;
}

/**
 * Asserts that a resource has not changed. An absent value equals an empty text or list, zero or false, because originals
 * write either. The number of items matters, their order does not, because most of these lists are sets.
 */
export function expectSame(found: Made, made: Made): void {
  expect({ ...found, inputs: full(found.inputs), state: full(found.state) }).toEqual({
    ...made,
    inputs: full(made.inputs),
    state: full(made.state),
  });
}

function full(value: Value): Value | undefined {
  if (value instanceof Secret) return new Secret(full(value.value) ?? null);
  if (value instanceof Asset) return filled(value);
  if (Array.isArray(value)) return value.length === 0 ? undefined : inOrder(value.map((item) => full(item) ?? null));
  if (isObject(value)) {
    const members = mapValues(value, full);
    return Object.values(members).some((member) => member !== undefined) ? (members as Value) : undefined;
  }
  return value === null || value === "" || value === 0 || value === false ? undefined : value;
}

function filled({ hash, text = "", path = "", uri = "" }: Asset): Value {
  return { hash, text, path, uri };
}

function inOrder(items: Value[]): Value[] {
  return items.toSorted((one, other) => JSON.stringify(one).localeCompare(JSON.stringify(other)));
}
