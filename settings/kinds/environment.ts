import { refusedBackendVariable } from "./backend-environment.ts";
import { stackFile } from "../reader.ts";
import type { Fault, Reader } from "../reader.ts";
import { onThisStack } from "../on-this-stack.ts";

/** Returns why a variable is refused; undefined if it is accepted. The value is empty if it is not text. */
type Refusal = (name: string, value: string) => Fault | undefined;

/** More variables of the backend. No message shows a value. */
export function readBackendEnvironment(read: Reader, key: string): Record<string, string> {
  return readVariables(read, key, refusedBackendVariable);
}

/** The variables of functions, at most as many as a deployment accepts. No message shows a value. */
export function readFunctionEnvironment(read: Reader, key: string): Record<string, string> {
  const variables = readVariables(read, key, refusedFunctionVariable);
  // The backend's limits. It also counts variables set by hand and generated ones, and reports those itself.
  const count = Object.keys(variables).length;
  const bytes = Buffer.byteLength(Object.entries(variables).flat().join(""));
  const fix = "Keep the rest in a table.";
  if (count > 512) read.refuse(key, { sentence: `has ${count} variables, it should have at most 512.`, fix });
  if (bytes > 512 * 1024) {
    read.refuse(key, { sentence: `is ${bytes} bytes of names and values, it should be at most 524288.`, fix });
  }
  return variables;
}

function readVariables(read: Reader, key: string, refuse: Refusal): Record<string, string> {
  const value = read.json(key);
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    const fix = `Remove it with: ${onThisStack("config rm", key)}, and set each with: ${onThisStack("config set", `--path --secret ${key}.NAME`)}`;
    read.refuse(key, { sentence: "is not a map, it should map variable names to strings.", fix });
    return {};
  }
  return variablesIn(read, key, value as Record<string, unknown>, refuse);
}

/** The variables of a map that is a setting, or a part of one. No message shows a value. */
export function variablesIn(
  read: Reader,
  path: string,
  map: Record<string, unknown>,
  refuse: Refusal,
): Record<string, string> {
  const variables = Object.entries(map).map(([name, content]): [string, string] => {
    const text = typeof content === "string" ? content : "";
    read.refuse(`${path}.${name}`, refusedName(name) ?? lostText(content, `${path}.${name}`) ?? refuse(name, text));
    return [name, text];
  });
  return Object.fromEntries(variables);
}

/** What is wrong with the name of a variable. */
export function refusedName(name: string): Fault | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return { sentence: "is not a variable's name.", fix: "Rename it." };
  return /^(true|false|NaN)$/.test(name)
    ? { sentence: "is a name that YAML has read as a value, such as TRUE, it should be another.", fix: "Rename it." }
    : undefined;
}

/**
 * Whether a value is not the text that was typed. YAML reads +15550100199, 0x1F, 0755, 1_000, 1.10 and True as numbers and
 * booleans. The engine passes on the result, and a number does not show how it was typed, so all numbers are refused, also
 * harmless ones. `pulumi config set --path` converts values too, unless they are secret.
 */
function lostText(content: unknown, path: string): Fault | undefined {
  const kind = kindOf(content);
  if (kind === undefined) return undefined;
  return {
    sentence: `is not text, it should be: YAML has read it as ${kind}, and the typed text is lost.`,
    fix: `Put it in quotes in ${stackFile()}, or set it with: ${onThisStack("config set", `--path --type string ${path} -- VALUE`)}`,
  };
}

function kindOf(content: unknown): string | undefined {
  switch (typeof content) {
    case "string":
      return GO_TIME.test(content) ? "a date" : undefined;
    case "number":
      return "a number";
    case "boolean":
      return "a boolean";
    default:
      return content === null ? "nothing" : Array.isArray(content) ? "a list" : "a map";
  }
}

/** The engine's format of what YAML has read as a date: 2026-07-01 arrives as `2026-07-01 00:00:00 +0000 UTC`. */
const GO_TIME = /^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)? [+-]\d{4} \S+$/;

/** Facts: the backend's source. */
function refusedFunctionVariable(name: string, value: string): Fault | undefined {
  if (name.length > 256) return { sentence: "has a name of more than 256 letters.", fix: "Rename it." };
  if (["CONVEX_CLOUD_URL", "CONVEX_SITE_URL"].includes(name)) {
    return { sentence: "is built in: functions can read it although it is not set.", fix: "Remove it." };
  }
  const bytes = Buffer.byteLength(value);
  return bytes > 8192
    ? { sentence: `is ${bytes} bytes, it should be at most 8192.`, fix: "Keep it in a table or a file instead." }
    : undefined;
}
