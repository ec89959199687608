import { isObject, mapValues, Secret } from "../../sandbox/plugins/framework/values.ts";
import type { PropertyBag, Value } from "../../sandbox/plugins/framework/values.ts";

/** What plugins write among properties for nobody but themselves. */
const RESERVED = new Set(["__defaults", "__meta", "__pulumi_raw_state_delta"]);

/**
 * Takes a plugin's own notes out of what it answers, so that a test sees properties and nothing else, and puts them back
 * into what the plugin is given again. A bag that a test has changed goes back without notes, which plugins put up with.
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
