import { DEFAULTS } from "./check.ts";
import type { Resource } from "./definition.ts";
import { equal } from "./diff.ts";
import type { DiffOptions } from "./diff.ts";
import { containsSecret, isObject, mapValues, reveal, Secret, UNKNOWN } from "./values.ts";
import type { PropertyBag, Value } from "./values.ts";

/** What resource functions get: no secret marks, no hidden inputs. */
export function plain(bag: PropertyBag): PropertyBag {
  return withoutDefaults(reveal(bag)) as PropertyBag;
}

/** The state after an operation: inputs, overlaid with what the operation found out, secret wherever an input was. */
export function stateAfter(
  resource: Resource<never>,
  inputs: PropertyBag,
  outputs: Readonly<Record<string, unknown>>,
): PropertyBag {
  const tables = { ...resource.inputs, ...resource.outputs };
  const merged = { ...(withoutDefaults(inputs) as PropertyBag), ...outputs } as Record<string, Value | undefined>;
  const present = Object.entries(merged).filter((entry): entry is [string, Value] => entry[1] !== undefined);
  return Object.fromEntries(
    present.map(([key, value]) => [key, tables[key]?.secret ? conceal(value) : concealLike(inputs[key], value)]),
  );
}

/** The state after an update: outputs that it says nothing of stay as they were. */
export function stateAfterUpdate(
  resource: Resource<never>,
  olds: PropertyBag,
  inputs: PropertyBag,
  outputs: Readonly<Record<string, unknown>>,
): PropertyBag {
  const kept = Object.entries(olds).filter(([key]) => key in resource.outputs || isFilledIn(resource, key, inputs));
  return stateAfter(resource, inputs, { ...Object.fromEntries(kept), ...outputs });
}

/** What a preview cannot know of a resource that is to be created: all that is not an input. */
export function unknownAfterCreate(resource: Resource<never>, inputs: PropertyBag): PropertyBag {
  const outputs = Object.keys(resource.outputs).filter((key) => resource.outputs[key]?.type !== "unsupported");
  const filledIn = Object.keys(resource.inputs).filter((key) => isFilledIn(resource, key, inputs));
  return allUnknown([...outputs, ...filledIn]);
}

/** What a preview cannot know of a resource that is to be updated. */
export function unknownAfterUpdate(resource: Resource<never>): PropertyBag {
  return allUnknown(Object.keys(resource.outputs).filter((key) => resource.outputs[key]?.changesOnUpdate));
}

/**
 * The inputs after a refresh: those there were, with the live values where these differ; such a one is no default any
 * more. Without old inputs (an import) every live input property becomes one.
 */
export function inputsAfterRead(
  resource: Resource<never>,
  oldInputs: PropertyBag,
  live: PropertyBag,
  options: DiffOptions,
): PropertyBag {
  const imported = Object.keys(oldInputs).length === 0;
  const inputs: PropertyBag = imported && options.bridged ? { [DEFAULTS]: [] } : { ...oldInputs };
  const drifted: Value[] = [];
  for (const [key, property] of Object.entries(resource.inputs)) {
    if (!imported && !(key in oldInputs)) continue;
    const value = live[key];
    const old = oldInputs[key];
    if (old !== undefined && equal(property, value, withoutDefaults(reveal(old)), options)) continue;
    drifted.push(key);
    // oxlint-disable-next-line typescript/no-dynamic-delete -- a plain record of properties
    if (value === undefined) delete inputs[key];
    else inputs[key] = property.secret ? conceal(value) : concealLike(old, value);
  }
  // Kept among the defaults, a live value would be taken for what the program wants.
  const defaults = inputs[DEFAULTS];
  return Array.isArray(defaults) ? { ...inputs, [DEFAULTS]: defaults.filter((key) => !drifted.includes(key)) } : inputs;
}

/** Whether the property is an input which the program left for the cloud to fill in. */
function isFilledIn(resource: Resource<never>, key: string, inputs: PropertyBag): boolean {
  return resource.inputs[key]?.computed === true && !(key in inputs);
}

function allUnknown(keys: string[]): PropertyBag {
  return Object.fromEntries(keys.map((key) => [key, UNKNOWN]));
}

function conceal(value: Value): Value {
  return value instanceof Secret ? value : new Secret(value);
}

/** Marks in `value` what is marked at the same place in `original`; in a list one secret item makes the list secret. */
function concealLike(original: Value | undefined, value: Value): Value {
  if (original === undefined || !containsSecret(original) || value instanceof Secret) return value;
  if (!isObject(original) || !isObject(value)) return new Secret(reveal(value));
  return mapValues(value, (member, key) => concealLike(original[key], member));
}

function withoutDefaults(value: Value): Value {
  if (value instanceof Secret) return new Secret(withoutDefaults(value.value));
  if (Array.isArray(value)) return value.map(withoutDefaults);
  if (!isObject(value)) return value;
  const declared = Object.entries(value).filter(([key]) => key !== DEFAULTS);
  return Object.fromEntries(declared.map(([key, member]) => [key, withoutDefaults(member)]));
}
