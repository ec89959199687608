import { isIPv4 } from "node:net";
import type { Failure } from "../framework/definition.ts";
import type { PropertyBag, Value } from "../framework/values.ts";

type Check = (inputs: PropertyBag) => Failure[];

/** All failures of several checks. */
export function checks(...all: Check[]): Check {
  return (inputs) => all.flatMap((check) => check(inputs));
}

/** Refuses an empty text. */
export const notEmpty = (...names: string[]): Check =>
  each(names, (name, value) => (value === "" ? `${name} must not be empty` : undefined));

/** Refuses a number outside a range. */
export const within = (least: number, most: number, ...names: string[]): Check =>
  each(names, (name, value) =>
    typeof value === "number" && (value < least || value > most)
      ? `expected ${name} to be in the range (${least} - ${most}), got ${value}`
      : undefined,
  );

/** Refuses a number that is too small. */
export const atLeast = (least: number, ...names: string[]): Check =>
  each(names, (name, value) =>
    typeof value === "number" && value < least ? `expected ${name} to be at least (${least}), got ${value}` : undefined,
  );

/** Refuses a text that is not an IPv4 address. */
export const ipv4 = (...names: string[]): Check =>
  each(names, (name, value) =>
    typeof value === "string" && !isIPv4(value)
      ? `expected ${name} to contain a valid IPv4 address, got: ${value}`
      : undefined,
  );

function each(names: string[], reasonFor: (name: string, value: Value | undefined) => string | undefined): Check {
  return (inputs) =>
    names.flatMap((property) => {
      const reason = reasonFor(property, inputs[property]);
      return reason === undefined ? [] : [{ property, reason }];
    });
}
