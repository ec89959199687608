import { isDeepStrictEqual } from "node:util";
import { DEFAULTS, join } from "./check.ts";
import type { Resource, Change, Properties, Property, Shape } from "./definition.ts";
import { Archive, Asset, containsUnknown, isObject, mapValues, UNKNOWN } from "./values.ts";
import type { PropertyBag, Value } from "./values.ts";

export interface DiffOptions {
  /** Bridged plugins take an absent value for the type's zero value, and leave computed inputs alone. */
  bridged: boolean;
}

/** The differences between two bags of a table, neither with secret marks. */
export function diffProperties(
  table: Properties,
  olds: PropertyBag,
  news: PropertyBag,
  options: DiffOptions,
  path = "",
  replaces = false,
): Change[] {
  return Object.entries(table).flatMap(([key, property]) =>
    diffProperty(property, olds[key], news[key], options, join(path, key), replaces || property.replaces === true),
  );
}

/** Whether two values of a property mean the same. */
export function equal(property: Property, old: Value | undefined, value: Value | undefined, options: DiffOptions) {
  return diffProperty(property, old, value, options, "", false).length === 0;
}

/** Drops the differences the user ignores; a path covers what is below it, `*` any one step. */
export function withoutIgnored(changes: Change[], ignored: readonly string[]): Change[] {
  const patterns = ignored.map(steps);
  return changes.filter(({ path }) => !patterns.some((pattern) => covers(pattern, steps(path))));
}

/**
 * Whether a replacement deletes the old resource first. A bridged resource that the program named itself does: its
 * successor could not have the same name.
 */
export function deletesFirst(resource: Resource<never>, news: PropertyBag): boolean {
  if (resource.deleteBeforeReplace) return true;
  const defaults = news[DEFAULTS];
  return (
    Array.isArray(defaults) &&
    Object.entries(resource.inputs).some(([key, property]) => property.autoname && !defaults.includes(key))
  );
}

/** The first step of a path, the name of a property of the resource. */
export function topLevel(path: string): string {
  return steps(path)[0] ?? path;
}

function diffProperty(
  property: Property,
  old: Value | undefined,
  value: Value | undefined,
  options: DiffOptions,
  path: string,
  replaces: boolean,
): Change[] {
  if (options.bridged) {
    if (value === undefined && property.computed) return [];
    if (isZero(old) && isZero(value)) return [];
  }
  if (old !== undefined && value !== undefined && !containsUnknown(value) && property.same?.(old, value)) return [];
  return diffValue(property, old, value, options, path, replaces);
}

function diffValue(
  shape: Shape,
  old: Value | undefined,
  value: Value | undefined,
  options: DiffOptions,
  path: string,
  replaces: boolean,
): Change[] {
  if (old === undefined && value === undefined) return [];
  if (old === undefined) return [{ path, kind: "add", replaces }];
  if (value === undefined) return [{ path, kind: "delete", replaces }];
  if (value === UNKNOWN) return [{ path, kind: "update", replaces }];
  switch (shape.type) {
    case "list":
      if (!Array.isArray(old) || !Array.isArray(value)) break;
      return Array.from({ length: Math.max(old.length, value.length) }).flatMap((_, index) =>
        diffValue(shape.items, old[index], value[index], options, `${path}[${index}]`, replaces),
      );
    case "set":
      if (!Array.isArray(old) || !Array.isArray(value)) break;
      return diffSets(shape.items, old, value, options, path, replaces);
    case "map":
      if (!isObject(old) || !isObject(value)) break;
      return [...new Set([...Object.keys(old), ...Object.keys(value)])].flatMap((key) =>
        diffValue(shape.items, old[key], value[key], options, join(path, key), replaces),
      );
    case "object":
      if (!isObject(old) || !isObject(value)) break;
      return diffProperties(shape.properties, old, value, options, path, replaces);
    default:
      break;
  }
  return isSame(old, value) ? [] : [{ path, kind: "update", replaces }];
}

function diffSets(shape: Shape, old: Value[], value: Value[], options: DiffOptions, path: string, replaces: boolean) {
  const left = [...old.entries()];
  const changes = new Map<string, Change>();
  value.forEach((item, index) => {
    const twin = left.findIndex(([, candidate]) => diffValue(shape, candidate, item, options, "", false).length === 0);
    if (twin >= 0) left.splice(twin, 1);
    else changes.set(`${path}[${index}]`, { path: `${path}[${index}]`, kind: "add", replaces });
  });
  for (const [index] of left) {
    const place = `${path}[${index}]`;
    changes.set(place, { path: place, kind: changes.has(place) ? "update" : "delete", replaces });
  }
  return [...changes.values()];
}

function isSame(old: Value, value: Value): boolean {
  return isDeepStrictEqual(byContent(old), byContent(value));
}

/** Files become their hashes, all that the state keeps of them. */
function byContent(value: Value): unknown {
  if (value instanceof Asset || value instanceof Archive) return { hash: value.hash };
  if (Array.isArray(value)) return value.map(byContent);
  return isObject(value) ? mapValues(value, byContent) : value;
}

function isZero(value: Value | undefined): boolean {
  if (value === undefined || value === null || value === "" || value === 0 || value === false) return true;
  if (Array.isArray(value)) return value.length === 0;
  return isObject(value) && Object.keys(value).length === 0;
}

function steps(path: string): string[] {
  return Array.from(path.matchAll(/\["((?:[^"\\]|\\.)*)"\]|[^.[\]]+/g), ([step, quoted]) => quoted ?? step);
}

function covers(pattern: string[], path: string[]): boolean {
  return pattern.length <= path.length && pattern.every((step, index) => step === "*" || step === path[index]);
}
