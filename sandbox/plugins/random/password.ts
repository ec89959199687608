import { randomInt } from "node:crypto";
import { resource, unsupported } from "../framework/definition.ts";
import type { Failure } from "../framework/definition.ts";
import type { PropertyBag } from "../framework/values.ts";

const LOWER = "abcdefghijklmnopqrstuvwxyz";
const UPPER = LOWER.toUpperCase();
const NUMERIC = "0123456789";
const SPECIAL = "!@#$%&*()-_=+[]{}<>:?";

const flag = { type: "boolean", default: true, replaces: true } as const;
const minimum = { type: "integer", default: 0, replaces: true } as const;

/** A random password, made with the resource; every change of an input makes a new one. */
export const randomPassword = resource<undefined>()({
  inputs: {
    length: { type: "integer", required: true, replaces: true },
    lower: flag,
    upper: flag,
    numeric: flag,
    special: flag,
    minLower: minimum,
    minUpper: minimum,
    minNumeric: minimum,
    minSpecial: minimum,
    overrideSpecial: { type: "string", replaces: true },
    keepers: { type: "map", items: { type: "string" }, replaces: true },
    // Deprecated in the official plugin; replaced by `numeric`.
    ...unsupported("number"),
  },
  outputs: {
    result: { type: "string", secret: true },
    ...unsupported("bcryptHash"),
  },
  check: checkSatisfiable,
  create: (_context, inputs) => {
    const kinds = [
      { use: inputs.lower, alphabet: LOWER, minimum: inputs.minLower },
      { use: inputs.upper, alphabet: UPPER, minimum: inputs.minUpper },
      { use: inputs.numeric, alphabet: NUMERIC, minimum: inputs.minNumeric },
      { use: inputs.special, alphabet: inputs.overrideSpecial ?? SPECIAL, minimum: inputs.minSpecial },
    ];
    const all = kinds.flatMap(({ use, alphabet }) => (use ? [alphabet] : [])).join("");
    const required = kinds.flatMap(({ alphabet, minimum }) => draw(alphabet, minimum));
    const password = shuffle([...required, ...draw(all, inputs.length - required.length)]).join("");
    return Promise.resolve({ id: "none", outputs: { result: password } });
  },
});

function checkSatisfiable(inputs: PropertyBag): Failure[] {
  const { length, minLower, minUpper, minNumeric, minSpecial } = inputs;
  if (["lower", "upper", "numeric", "special"].every((kind) => inputs[kind] === false)) {
    return [
      { property: "special", reason: "special is false like lower, upper and numeric, one of them must be true" },
    ];
  }
  if (typeof length !== "number") return [];
  const minima = [minLower, minUpper, minNumeric, minSpecial].filter((value) => typeof value === "number");
  const least = minima.reduce((sum, value) => sum + value, 0);
  if (length < 1) return [{ property: "length", reason: `length is ${length}, it must be at least 1` }];
  if (length >= least) return [];
  return [{ property: "length", reason: `length is ${length}, it must be at least ${least}, the sum of the minima` }];
}

function draw(alphabet: string, count: number): string[] {
  return Array.from({ length: count }, () => alphabet.charAt(randomInt(alphabet.length)));
}

function shuffle<Item>(items: Item[]): Item[] {
  const pool = [...items];
  return items.map(() => pool.splice(randomInt(pool.length), 1)[0] as Item);
}
