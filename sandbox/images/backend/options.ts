import { parseArgs } from "node:util";

/** The options that the start script puts on the command line. */
export interface Options {
  instanceName: string;
  instanceSecret: string;
  port: number;
  siteProxyPort: number;
  /** The API's public URL; a trailing slash is neither added nor removed. */
  cloudOrigin: string;
  /** The public URL of the HTTP actions. */
  siteOrigin: string;
  requireSsl: boolean;
  database: "postgres-v5" | "mysql-v5" | "sqlite";
  /** The database's URL, or the path of the SQLite file. */
  databaseSpec: string;
  storage: { kind: "local"; directory: string } | { kind: "s3" };
}

/** The environment variables that the program itself reads: the start script does not turn them into flags. */
export interface Environment {
  DISABLE_BEACON?: string | undefined;
}

const BOOLISH = ["y", "yes", "t", "true", "on", "1", "n", "no", "f", "false", "off", "0"];

/** @throws Error for everything that the real program's parser refuses */
export function parseOptions(argv: string[], environment: Environment): Options {
  const { values, positionals } = parseArgs({
    args: argv,
    allowPositionals: true,
    options: {
      "instance-name": { type: "string", default: "" },
      "instance-secret": { type: "string", default: "" },
      port: { type: "string", default: "3210" },
      "site-proxy-port": { type: "string", default: "3211" },
      "convex-origin": { type: "string", default: "" },
      "convex-site": { type: "string", default: "" },
      "beacon-tag": { type: "string" },
      "disable-beacon": { type: "boolean" },
      "redact-logs-to-client": { type: "boolean" },
      "do-not-require-ssl": { type: "boolean", default: false },
      db: { type: "string", default: "sqlite" },
      "local-storage": { type: "string", default: "convex_local_storage" },
      "s3-storage": { type: "boolean", default: false },
    },
  });
  // The beacon is not simulated, but a value that the real parser refuses must be refused here too.
  const beacon = environment.DISABLE_BEACON;
  if (beacon !== undefined && !BOOLISH.includes(beacon.toLowerCase()))
    throw new Error(`invalid value '${beacon}' for '--disable-beacon': value was not a boolean`);
  const database = values.db;
  if (database !== "postgres-v5" && database !== "mysql-v5" && database !== "sqlite")
    throw new Error(`invalid value '${database}' for '--db <DB>' [possible values: sqlite, postgres-v5, mysql-v5]`);
  const [databaseSpec = "convex_local_backend.sqlite3"] = positionals;
  return {
    instanceName: values["instance-name"],
    instanceSecret: values["instance-secret"],
    port: Number(values.port),
    siteProxyPort: Number(values["site-proxy-port"]),
    cloudOrigin: origin("Origin url", values["convex-origin"]) || `http://127.0.0.1:${values.port}`,
    siteOrigin: origin("Site url", values["convex-site"]) || `http://127.0.0.1:${values["site-proxy-port"]}`,
    requireSsl: !values["do-not-require-ssl"],
    database,
    databaseSpec,
    storage: values["s3-storage"] ? { kind: "s3" } : { kind: "local", directory: values["local-storage"] },
  };
}

function origin(what: string, url: string): string {
  if (url !== "" && !/^https?:\/\//.test(url))
    throw new Error(`${what} should start with https:// or http:// but got '${url}'`);
  return url;
}

/**
 * A setting that is `true` or `false`. Any other value is not an error: the program logs it and uses the default, so
 * `DISABLE_METRICS_ENDPOINT=1` does not disable the metrics.
 */
export function booleanKnob(name: string, value: string | undefined, warn: (message: string) => void): boolean {
  if (value !== undefined && value !== "true" && value !== "false")
    warn(`Invalid value ${value} for ${name}, falling back to false`);
  return value === "true";
}
