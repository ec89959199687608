import { onThisStack } from "../on-this-stack.ts";
import { type Fault, quoted, type Reader } from "../reader.ts";
import { Options } from "./options.ts";

/** What an app has to answer after each new version of it. */
export interface ProbeOptions {
  name: string;
  path: string;
  status: number;
  /** What the answer has to equal, as JSON. */
  json: string | undefined;
  /** How long it may take to get the answer first. */
  withinSeconds: number;
  /** How long the answer has to stay the same from then on. */
  holdSeconds: number;
}

const OPTIONS = ["path", "status", "json", "withinSeconds", "holdSeconds"];

/** A probe, from its options. */
export function readProbe(read: Reader, path: string, name: string, value: unknown): ProbeOptions {
  const options = new Options(read, path, value, OPTIONS, "a probe");
  if (options.isMap && !options.has("path")) {
    options.refuse("path", { sentence: "is missing, it should be the path to ask.", value: "/health" });
  }
  return {
    name,
    path: options.text("path", pathFault) ?? "",
    status: options.integer("status", 200, 599) ?? 200,
    json: jsonOf(options),
    withinSeconds: options.integer("withinSeconds", 1, 900) ?? 60,
    holdSeconds: options.integer("holdSeconds", 0, 3600) ?? 0,
  };
}

/** What is wrong with a path of a URL. */
export function pathFault(text: string): Fault | undefined {
  return /^\/[\w\-./?=&%~:@+,;]*$/.test(text)
    ? undefined
    : { sentence: `"${text}" is not a path, it should be one such as /health.`, value: "/health" };
}

/** The value is JSON already; but a list or a map can also be a text, because that is what `pulumi config set` makes of one. */
function jsonOf(options: Options): string | undefined {
  const value = options.value("json");
  if (typeof value !== "string" || !/^\s*[[{]/.test(value))
    return value === undefined ? undefined : JSON.stringify(value);
  try {
    return JSON.stringify(JSON.parse(value));
  } catch {
    options.refuse("json", {
      sentence: "is not JSON, it should be what the answer has to equal.",
      fix: `Set it with: ${onThisStack("config set", `--path ${quoted(options.at("json"))} '{"ok":true}'`)}`,
    });
    return undefined;
  }
}
