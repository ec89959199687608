import { isDeepStrictEqual } from "node:util";
import { DEFAULTS } from "./check.ts";
import type { Properties, Resource, Shape } from "./definition.ts";
import { containsSecret, isObject, mapValues, reveal, Secret, UNKNOWN } from "./values.ts";
import type { PropertyBag, Value } from "./values.ts";

/** Values for resource functions: without secret marks and hidden inputs. */
export function plain(bag: PropertyBag): PropertyBag {
  return withoutDefaults(reveal(bag) as PropertyBag);
}

/** The state after an operation: the inputs, with the operation's outputs over them; what was secret as an input is secret. */
export function stateAfter(
  resource: Resource<never>,
  inputs: PropertyBag,
  outputs: Readonly<Record<string, unknown>>,
): PropertyBag {
  const tables = { ...resource.inputs, ...resource.outputs };
  const merged = { ...withoutDefaults(inputs), ...outputs } as Record<string, Value | undefined>;
  const present = Object.entries(merged).filter((entry): entry is [string, Value] => entry[1] !== undefined);
  return Object.fromEntries(
    present.map(([key, value]) => [key, tables[key]?.secret ? conceal(value) : concealLike(inputs[key], value)]),
  );
}

/** The state after an update: outputs that the update does not return stay as they were. */
export function stateAfterUpdate(
  resource: Resource<never>,
  olds: PropertyBag,
  inputs: PropertyBag,
  outputs: Readonly<Record<string, unknown>>,
): PropertyBag {
  const kept = Object.entries(olds).filter(([key]) => key in resource.outputs || isFilledIn(resource, key, inputs));
  return stateAfter(resource, inputs, { ...Object.fromEntries(kept), ...outputs });
}

/** The values that the preview of a create cannot know: all that are not inputs. */
export function unknownAfterCreate(resource: Resource<never>, inputs: PropertyBag): PropertyBag {
  const outputs = Object.keys(resource.outputs).filter((key) => resource.outputs[key]?.type !== "unsupported");
  const filledIn = Object.keys(resource.inputs).filter((key) => isFilledIn(resource, key, inputs));
  return allUnknown([...outputs, ...filledIn]);
}

/** The values that the preview of an update cannot know. */
export function unknownAfterUpdate(resource: Resource<never>): PropertyBag {
  return allUnknown(Object.keys(resource.outputs).filter((key) => resource.outputs[key]?.changesOnUpdate));
}

/**
 * The inputs after a refresh: the old inputs, with the live values. A list keeps its length, and a map gets no new keys,
 * so outside additions are only in the state. If the live value differs from a default, it is no longer a default. Without
 * old inputs (an import), every live input property becomes an input.
 */
export function inputsAfterRead(resource: Resource<never>, oldInputs: PropertyBag, live: PropertyBag): PropertyBag {
  if (Object.keys(oldInputs).length > 0) return extractBag(resource.inputs, oldInputs, live);
  const found = Object.keys(resource.inputs).flatMap((key) => {
    const value = live[key];
    if (value === undefined) return [];
    return [[key, resource.inputs[key]?.secret ? conceal(value) : value] as [string, Value]];
  });
  return { [DEFAULTS]: [], ...Object.fromEntries(found) };
}

function extractBag(table: Properties, olds: PropertyBag, live: PropertyBag): PropertyBag {
  const inputs: PropertyBag = {};
  const changed = new Set<Value>();
  for (const [key, old] of Object.entries(olds)) {
    const value = live[key];
    const extracted = key === DEFAULTS || value === undefined ? undefined : extract(table[key], old, value);
    if (extracted !== undefined) inputs[key] = extracted;
    if (!isDeepStrictEqual(extracted, old)) changed.add(key);
  }
  const defaults = olds[DEFAULTS];
  if (!Array.isArray(defaults)) return inputs;
  return { ...inputs, [DEFAULTS]: defaults.filter((key) => !changed.has(key)) };
}

function extract(shape: (Shape & { rewritten?: true }) | undefined, old: Value, live: Value): Value {
  if (old instanceof Secret || live instanceof Secret) {
    return new Secret(extract(shape, revealOnce(old), revealOnce(live)));
  }
  if (Array.isArray(old) && Array.isArray(live)) {
    const items = shape && "items" in shape ? shape.items : undefined;
    const byContent = shape?.type === "set" && [...old, ...live].every(isObject);
    const twins = byContent ? matched(old, live) : old.map((_, index) => index);
    return old.flatMap((item, index) => {
      const twin = live[twins[index] ?? -1];
      return twin === undefined ? [] : [extract(items, item, twin)];
    });
  }
  if (isObject(old) && isObject(live)) {
    if (shape?.type === "object") return extractBag(shape.properties, old, live);
    const items = shape && "items" in shape ? shape.items : undefined;
    const kept = Object.entries(old).flatMap(([key, value]) => {
      const found = live[key];
      return found === undefined ? [] : [[key, extract(items, value, found)] as [string, Value]];
    });
    return Object.fromEntries(kept);
  }
  return shape?.rewritten && typeof old === "string" ? old : live;
}

/** For each old item of a set, the index of the most similar live item; the most similar pairs are matched first. */
function matched(olds: Value[], lives: Value[]): (number | undefined)[] {
  const pairs = olds.flatMap((old, from) => lives.map((live, to) => ({ from, to, score: likeness(old, live) })));
  const twins = new Map<number, number>();
  for (const { from, to } of pairs.toSorted((one, other) => other.score - one.score)) {
    if (!twins.has(from) && ![...twins.values()].includes(to)) twins.set(from, to);
  }
  return olds.map((_, index) => twins.get(index));
}

function likeness(old: Value, live: Value): number {
  if (!isObject(old) || !isObject(live)) return 0;
  const shared = Object.keys(old).filter((key) => key in live);
  return shared.reduce((score, key) => score + (isDeepStrictEqual(old[key], live[key]) ? 3 : 1), 0);
}

function revealOnce(value: Value): Value {
  return value instanceof Secret ? value.value : value;
}

/** Whether the property is an input that the cloud fills in, and the program does not set. */
function isFilledIn(resource: Resource<never>, key: string, inputs: PropertyBag): boolean {
  return resource.inputs[key]?.computed === true && !(key in inputs);
}

function allUnknown(keys: string[]): PropertyBag {
  return Object.fromEntries(keys.map((key) => [key, UNKNOWN]));
}

function conceal(value: Value): Value {
  return value instanceof Secret ? value : new Secret(value);
}

/** Marks in `value` what is marked at the same place in `original`. In a list, one secret item makes the list secret. */
function concealLike(original: Value | undefined, value: Value): Value {
  if (original === undefined || !containsSecret(original) || value instanceof Secret) return value;
  if (!isObject(original) || !isObject(value)) return new Secret(reveal(value));
  return mapValues(value, (member, key) => concealLike(original[key], member));
}

/** Without `__defaults`, at any depth. */
export function withoutDefaults(bag: PropertyBag): PropertyBag {
  return Object.fromEntries(
    Object.entries(bag).flatMap(([key, member]) => (key === DEFAULTS ? [] : [[key, withoutNested(member)]])),
  );
}

function withoutNested(value: Value): Value {
  if (value instanceof Secret) return new Secret(withoutNested(value.value));
  if (Array.isArray(value)) return value.map(withoutNested);
  return isObject(value) ? withoutDefaults(value) : value;
}
