import { isDeepStrictEqual } from "node:util";
import { diffArrays } from "diff";
import { DEFAULTS, join } from "./check.ts";
import type { Resource, Change, Properties, Property, Shape } from "./definition.ts";
import { Archive, Asset, containsUnknown, isObject, mapValues, reveal, Secret, UNKNOWN } from "./values.ts";
import type { PropertyBag, Value } from "./values.ts";

export interface DiffOptions {
  /** In bridged plugins, an absent value means the type's zero value, and absent computed inputs are not compared. */
  bridged: boolean;
}

/** The differences between two sets of a table's values, without secret marks. */
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

/** Removes the differences that the user ignores. A path includes everything below it; `*` is any one step. */
export function withoutIgnored(changes: Change[], ignored: readonly string[]): Change[] {
  const patterns = ignored.map(steps);
  return changes.filter(({ path }) => !patterns.some((pattern) => covers(pattern, steps(path))));
}

/**
 * Whether a replacement deletes the old resource first. It does for a bridged resource with a name from the program,
 * because two cannot have the same name.
 */
export function deletesFirst(resource: Resource<never>, news: PropertyBag): boolean {
  if (resource.deleteBeforeReplace) return true;
  const defaults = news[DEFAULTS];
  return (
    Array.isArray(defaults) &&
    Object.entries(resource.inputs).some(
      ([key, property]) => property.autoname && key in news && !defaults.includes(key),
    )
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
    if (property.computed && (value === undefined || isEmpty(value))) return [];
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
  // For a bridged plugin, an empty collection is the same as none.
  if (options.bridged && isEmpty(old)) old = undefined;
  if (options.bridged && isEmpty(value)) value = undefined;
  if (old === undefined && value === undefined) return [];
  if (old === undefined) return [{ path, kind: "add", replaces }];
  if (value === undefined) return [{ path, kind: "delete", replaces }];
  if (value === UNKNOWN) return [{ path, kind: "update", replaces }];
  if (old instanceof Secret || value instanceof Secret) {
    return isSame(reveal(old), reveal(value)) ? [] : [{ path, kind: "update", replaces }];
  }
  switch (shape.type) {
    case "list":
      if (!Array.isArray(old) || !Array.isArray(value)) break;
      if (options.bridged && shape.items.type !== "object") return diffScalars(old, value, path, replaces);
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

/** The smallest set of added and removed items. */
function diffScalars(old: Value[], value: Value[], path: string, replaces: boolean): Change[] {
  const [gone, come] = [new Set<number>(), new Set<number>()];
  let [from, to] = [0, 0];
  for (const { added, removed, count } of diffArrays(old, value, { comparator: isSame })) {
    for (let item = 0; item < count; item++) {
      if (removed) gone.add(from);
      if (added) come.add(to);
      if (!added) from++;
      if (!removed) to++;
    }
  }
  return changedItems(gone, come).map(({ index, kind }) => ({ path: `${path}[${index}]`, kind, replaces }));
}

/** The items removed from a set and added to it; if one of each has the same index, the differences between them. */
function diffSets(
  shape: Shape,
  old: Value[],
  value: Value[],
  options: DiffOptions,
  path: string,
  replaces: boolean,
): Change[] {
  const gone = new Set(old.keys());
  const come = new Set<number>();
  value.forEach((item, index) => {
    const twin = [...gone].find((other) => diffValue(shape, old[other], item, options, "", false).length === 0);
    if (twin === undefined) come.add(index);
    else gone.delete(twin);
  });
  return changedItems(gone, come).flatMap(({ index, kind }) => {
    const place = `${path}[${index}]`;
    if (kind !== "update") return [{ path: place, kind, replaces }];
    return diffValue(shape, old[index], value[index], options, place, replaces);
  });
}

function changedItems(gone: ReadonlySet<number>, come: ReadonlySet<number>): { index: number; kind: Change["kind"] }[] {
  return [...new Set([...gone, ...come])]
    .toSorted((one, other) => one - other)
    .map((index) => ({ index, kind: !gone.has(index) ? "add" : come.has(index) ? "update" : "delete" }));
}

function isSame(old: Value, value: Value): boolean {
  return isDeepStrictEqual(byContent(old), byContent(value));
}

/** Replaces files by their hashes, because the state has nothing else of them. */
function byContent(value: Value): unknown {
  if (value instanceof Asset || value instanceof Archive) return { hash: value.hash };
  if (Array.isArray(value)) return value.map(byContent);
  return isObject(value) ? mapValues(value, byContent) : value;
}

function isZero(value: Value | undefined): boolean {
  return value === undefined || value === null || value === "" || value === 0 || value === false || isEmpty(value);
}

function isEmpty(value: Value | undefined): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return isObject(value) && Object.keys(value).length === 0;
}

function steps(path: string): string[] {
  return Array.from(path.matchAll(/\["((?:[^"\\]|\\.)*)"\]|[^.[\]]+/g), ([step, quoted]) => quoted ?? step);
}

function covers(pattern: string[], path: string[]): boolean {
  return pattern.length <= path.length && pattern.every((step, index) => step === "*" || step === path[index]);
}
