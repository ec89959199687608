import { checkProperties } from "./check.ts";
import type { Failure, Properties, Property } from "./definition.ts";
import { mapValues, Secret } from "./values.ts";
import type { PropertyBag, Value } from "./values.ts";

// Settings that the engine itself adds to a provider's.
const ENGINE_SETTINGS = new Set(["version", "pluginDownloadURL", "pluginChecksums", "__internal"]);

/**
 * Checks a provider's settings. The answer has the same values, with secrets marked. It has no defaults, so that nothing
 * from the environment gets into a state. Settings other than strings stay JSON text, as the SDKs write them.
 */
export function checkConfig(table: Properties, news: PropertyBag, owner: string) {
  const inputs = mapValues(news, (value, key) =>
    table[key]?.secret && !(value instanceof Secret) ? new Secret(value) : value,
  );
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
      failures.push({ property: key, reason: `${key} is not JSON text, it must be` });
    }
  }
  return { config, failures };
}

/** The settings for a provider's configuration, with defaults from the environment or the table. */
export function withDefaults(table: Properties, config: PropertyBag): PropertyBag {
  const defaults = Object.entries(table).flatMap(([key, property]) => {
    const value = config[key] === undefined ? defaultOf(property) : undefined;
    return value === undefined ? [] : [[key, value] as const];
  });
  return { ...config, ...Object.fromEntries(defaults) };
}

function parse(property: Property | undefined, value: Value): Value {
  if (value instanceof Secret) return new Secret(parse(property, value.value));
  if (property === undefined || property.type === "string" || typeof value !== "string") return value;
  return JSON.parse(value) as Value;
}

function defaultOf(property: Property): Value | undefined {
  const set = property.env?.map((name) => process.env[name]).find((value) => value !== undefined && value !== "");
  return set === undefined ? property.default : parse(property, set);
}
