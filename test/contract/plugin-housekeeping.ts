import { isObject, mapValues, Secret } from "../../sandbox/plugins/framework/values.ts";
import type { PropertyBag, Value } from "../../sandbox/plugins/framework/values.ts";

/** Properties that plugins write only for themselves. */
const RESERVED = new Set(["__defaults", "__meta", "__pulumi_raw_state_delta"]);

/**
 * Removes a plugin's notes from its answers, so that a test sees only real properties, and puts them back into later
 * requests. Properties that a test has changed go back without notes, which plugins accept.
 */
export class Housekeeping {
  readonly #whole = new Map<string, PropertyBag>();
  readonly #shown: boolean;

  constructor(shown = false) {
    this.#shown = shown;
  }

  remove(bag: PropertyBag): PropertyBag {
    if (this.#shown) return bag;
    const visible = without(bag) as PropertyBag;
    this.#whole.set(keyOf(visible), bag);
    return visible;
  }

  restore(bag: PropertyBag): PropertyBag {
    return this.#whole.get(keyOf(bag)) ?? bag;
  }
}

function without(value: Value): Value {
  if (value instanceof Secret) return new Secret(without(value.value));
  if (Array.isArray(value)) return value.map(without);
  if (!isObject(value)) return value;
  const visible = Object.entries(value).filter(([key]) => !RESERVED.has(key));
  return mapValues(Object.fromEntries(visible), without);
}

function keyOf(bag: PropertyBag): string {
  return JSON.stringify(bag, (_key, value: unknown) => {
    if (typeof value === "symbol") return value.toString();
    return value instanceof Secret ? { secret: value.value } : value;
  });
}
