import { checkProperties } from "./check.ts";
import type { Failure, Properties, Property } from "./definition.ts";
import { Secret } from "./values.ts";
import type { PropertyBag, Value } from "./values.ts";

// What the engine itself puts among a provider's settings.
const ENGINE_SETTINGS = new Set(["version", "pluginDownloadURL", "pluginChecksums", "__internal"]);

/**
 * Checks a provider's settings and fills in their defaults from the environment and the table. SDKs write every setting
 * that is not a string as JSON text; so it is kept.
 */
export function checkConfig(table: Properties, news: PropertyBag, owner: string) {
  const inputs = { ...news };
  for (const [key, property] of Object.entries(table)) {
    const value = inputs[key] ?? defaultOf(property);
    if (value === undefined) continue;
    inputs[key] = property.secret && !(value instanceof Secret) ? new Secret(value) : value;
  }
  const { config, failures } = parseConfig(table, inputs);
  const checked = checkProperties(table, config, {}, { owner, bridged: false });
  return { inputs, failures: [...failures, ...checked.failures] };
}

/** The settings with their real types. */
export function parseConfig(table: Properties, settings: PropertyBag): { config: PropertyBag; failures: Failure[] } {
  const config: PropertyBag = {};
  const failures: Failure[] = [];
  for (const [key, value] of Object.entries(settings)) {
    if (ENGINE_SETTINGS.has(key)) continue;
    try {
      config[key] = parse(table[key], value);
    } catch {
      failures.push({ property: key, reason: `${key} is no JSON text, it must be one` });
    }
  }
  return { config, failures };
}

function parse(property: Property | undefined, value: Value): Value {
  if (value instanceof Secret) return new Secret(parse(property, value.value));
  if (property === undefined || property.type === "string" || typeof value !== "string") return value;
  return JSON.parse(value) as Value;
}

function defaultOf(property: Property): string | undefined {
  const set = property.env?.map((name) => process.env[name]).find((value) => value !== undefined && value !== "");
  if (set !== undefined) return set;
  return typeof property.default === "string" || property.default === undefined
    ? property.default
    : JSON.stringify(property.default);
}
