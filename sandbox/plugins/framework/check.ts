import { createHash, randomBytes } from "node:crypto";
import type { Failure, Properties, Property, Shape } from "./definition.ts";
import { Archive, Asset, isObject, reveal, Secret, UNKNOWN } from "./values.ts";
import type { PropertyBag, Value } from "./values.ts";

/** The hidden input in which bridged plugins list the properties that they filled in. */
export const DEFAULTS = "__defaults";

/** How the engine names resources without a name. */
export interface Naming {
  logicalName: string;
  /** The same seed gives the same name, so a preview shows the name that `up` uses. */
  seed: Uint8Array;
  /** The name to use instead of the plugin's rule. */
  proposed?: string;
  disabled?: boolean;
}

export interface CheckOptions {
  /** The type token of the resource, for messages. */
  owner: string;
  /** Record defaults in `__defaults` and keep those of the last run. */
  bridged: boolean;
  naming?: Naming;
}

/**
 * Checks properties against their table: fills in names and defaults, marks secrets, and collects failures. The text of a
 * failure never contains a value.
 */
export function checkProperties(table: Properties, news: PropertyBag, olds: PropertyBag, options: CheckOptions) {
  const check = new Check(options);
  return { inputs: check.bag(table, news, olds, ""), failures: check.failures };
}

class Check {
  readonly failures: Failure[] = [];
  readonly #options: CheckOptions;

  constructor(options: CheckOptions) {
    this.#options = options;
  }

  bag(table: Properties, news: PropertyBag, olds: PropertyBag, path: string): PropertyBag {
    this.#refuseUndeclared(table, news, path);
    const checked: PropertyBag = {};
    const defaulted: string[] = [];
    for (const [key, property] of Object.entries(table)) {
      let value: Value | undefined = news[key] ?? undefined;
      if (value === undefined) {
        value = this.#default(key, property, olds);
        if (value !== undefined) defaulted.push(key);
      }
      if (value === undefined) {
        if (property.required) this.#fail(join(path, key), "is missing, it is required");
        continue;
      }
      value = this.#value(property, value, olds[key], join(path, key));
      checked[key] = property.secret && !(value instanceof Secret) ? new Secret(value) : value;
    }
    return this.#options.bridged ? { ...checked, [DEFAULTS]: defaulted } : checked;
  }

  #default(key: string, property: Property, olds: PropertyBag): Value | undefined {
    const old = olds[key];
    const oldDefaults = olds[DEFAULTS];
    if (old !== undefined && Array.isArray(oldDefaults) && oldDefaults.includes(key)) return old;
    return property.autoname ? this.#name(property.autoname) : property.default;
  }

  #name(rule: { maxLength: number; lowerCase?: true }): string | undefined {
    const { naming } = this.#options;
    if (!naming || naming.disabled) return undefined;
    if (naming.proposed !== undefined) return naming.proposed;
    const seed = naming.seed.length > 0 ? naming.seed : randomBytes(32);
    const suffix = createHash("sha256").update(seed).digest("hex").slice(0, 7);
    const prefix = rule.lowerCase ? naming.logicalName.toLowerCase() : naming.logicalName;
    return `${prefix.slice(0, rule.maxLength - suffix.length - 1)}-${suffix}`;
  }

  #value(shape: Shape, value: Value, old: Value | undefined, path: string): Value {
    if (value === UNKNOWN) return value;
    if (value instanceof Secret) return new Secret(this.#value(shape, value.value, old, path));
    const before = reveal(old ?? null);
    switch (shape.type) {
      case "list":
      case "set":
        if (!Array.isArray(value)) break;
        return value.map((item, index) =>
          this.#value(shape.items, item, Array.isArray(before) ? before[index] : undefined, `${path}[${index}]`),
        );
      case "map":
        if (!isObject(value)) break;
        return Object.fromEntries(
          Object.entries(value).map(([key, item]) => [key, this.#value(shape.items, item, undefined, join(path, key))]),
        );
      case "object":
        if (!isObject(value)) break;
        return this.bag(shape.properties, value, isObject(before) ? before : {}, path);
      case "unsupported":
        this.#fail(
          path,
          "is not implemented by the sandbox's stand-in plugin, it must be absent here. Leave it out or use the official plugin",
        );
        return value;
      default:
        if (!isScalarOf(shape, value)) break;
        if (shape.type === "string" && shape.values && !shape.values.includes(value as string)) {
          this.#fail(path, `has a value that is not allowed, it must be one of: ${shape.values.join(", ")}`);
        }
        return value;
    }
    this.#fail(path, `is ${nameOf(value)}, it must be ${article(shape.type)}`);
    return value;
  }

  #refuseUndeclared(table: Properties, news: PropertyBag, path: string): void {
    for (const key of Object.keys(news)) {
      if (key in table || key === DEFAULTS) continue;
      const known = Object.keys(table)
        .filter((name) => table[name]?.type !== "unsupported")
        .sort();
      this.#fail(join(path, key), `is unknown, it must be one of: ${known.join(", ")}. Remove it or correct its name`);
    }
  }

  #fail(path: string, reason: string): void {
    this.failures.push({ property: path, reason: `${this.#options.owner}: ${path} ${reason}` });
  }
}

/** The path of a member in the engine's form: `a.b`, or `a["b.c"]` if the name is not an identifier. */
export function join(path: string, key: string): string {
  if (!/^[A-Za-z_$][\w$]*$/.test(key)) return `${path}["${key}"]`;
  return path === "" ? key : `${path}.${key}`;
}

function isScalarOf(shape: Shape, value: Value): boolean {
  switch (shape.type) {
    case "integer":
      return Number.isInteger(value);
    case "asset":
      return value instanceof Asset || value instanceof Archive;
    case "any":
      return true;
    default:
      return typeof value === shape.type;
  }
}

function nameOf(value: Value): string {
  if (value === null) return "null";
  if (Array.isArray(value)) return "a list";
  if (value instanceof Asset) return "an asset";
  if (value instanceof Archive) return "an archive";
  return typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function article(type: string): string {
  return `${/^[aeiou]/.test(type) ? "an" : "a"} ${type}`;
}
