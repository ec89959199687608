import type { Failure } from "../framework/definition.ts";
import type { PropertyBag } from "../framework/values.ts";

/** The npm SDK calls the input optional because of its write-only twin, which this stand-in does not have. */
export function checkPresent(inputs: PropertyBag, property: string): Failure[] {
  return property in inputs ? [] : [{ property, reason: `${property} is missing, it is required` }];
}

/** Fails for known numbers below their minimum. */
export function checkMinima(inputs: PropertyBag, minima: Readonly<Record<string, number>>): Failure[] {
  return Object.entries(minima).flatMap(([property, least]) => {
    const value = inputs[property];
    if (typeof value !== "number" || value >= least) return [];
    return [{ property, reason: `${property} is ${value}, it must be at least ${least}` }];
  });
}

/** Fails for empty texts in these lists. */
export function checkNoneEmpty(inputs: PropertyBag, ...lists: string[]): Failure[] {
  return lists.flatMap((list) => {
    const items = inputs[list];
    const index = Array.isArray(items) ? items.indexOf("") : -1;
    const property = `${list}[${index}]`;
    return index < 0 ? [] : [{ property, reason: `${property} is empty, it must be a text` }];
  });
}
