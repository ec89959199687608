import { existsSync, readFileSync } from "node:fs";
import path from "node:path";

import { Ajv } from "ajv";
import type { AnySchema, ValidateFunction } from "ajv";
import formats from "ajv-formats";

/** One request to the API, and its answer. */
export interface Exchange {
  method: string;
  /** With its query. */
  path: string;
  /** The body that was sent, if one was. */
  sent: string | undefined;
  status: number;
  headers: Headers;
  text: string;
}

/** The parts of an OpenAPI description, with its references, that this file reads. */
export interface Description {
  paths: Record<string, Record<string, Operation>>;
  components?: Record<string, Record<string, unknown>>;
}

interface Operation {
  requestBody?: Reference | Body;
  responses: Record<string, Reference | Response>;
}

/** The part of a property's schema that this file reads. */
interface Described {
  writeOnly?: boolean;
}

interface Reference {
  $ref: string;
}

interface Body {
  content?: { "application/json"?: { schema: AnySchema } };
}

interface Response extends Body {
  headers?: Record<string, { schema?: { type?: string } }>;
}

/** Values that a list of the description leaves out, by a value that the list contains. */
const MISSING_FROM_LISTS: Record<string, string> = {
  nyc3: "atl1",
  Fedora: "AlmaLinux",
  // The official Go client tags database clusters, too.
  volume_snapshot: "database",
  // The same operation's `discriminator` maps this kind.
  enable_backups: "change_backup_policy",
  // A project without an environment: the official provider's own tests send this value and get it back.
  Staging: "",
};

/** Documented properties that an answer may lack, each with its part of the description. */
const MAY_LACK = new Set([
  // Only sizes with a graphics processor have it; the simulator has no such sizes.
  ...["droplet.gpu_info", "size.gpu_info"],
  // The same information as in `disk`.
  "size.disk_info",
  // A policy for each day has no day of the week, and a droplet without backups no policy.
  ...["droplet_backup_policy.weekday", "droplet_backup_policy_record.backup_policy"],
  // Only if a list has several pages.
  "pages_page_links.pages",
  // Only if something was tagged.
  "tags_metadata.last_tagged_uri",
  // The official Go client reads one `key` here.
  "key_get.keys",
  // Of other engines of databases.
  ...["ui_connection", "schema_registry_connection"].map((connection) => `database_cluster_read.${connection}`),
  ...["access_cert", "access_key", "mysql_settings"].map((setting) => `database_user.${setting}`),
  ...["acl", "opensearch_acl", "mongo_user_settings"].map((setting) => `user_settings.${setting}`),
  ...["advanced_mysql", "advanced_pg", "kafka", "mongodb", "mysql", "opensearch", "redis", "valkey"].map(
    (engine) => `options.${engine}`,
  ),
  // Of extensions, of the connection pool, or not simulated.
  ...[
    ...["autovacuum_freeze_max_age", "backup_hour", "backup_minute", "bgwriter_delay", "bgwriter_flush_after"],
    ...[
      "bgwriter_lru_maxpages",
      "bgwriter_lru_multiplier",
      "jit",
      "log_line_prefix",
      "max_failover_replication_time_lag",
    ],
    ...["max_files_per_process", "max_logical_replication_workers", "max_pred_locks_per_transaction"],
    ...["max_stack_depth", "max_standby_archive_delay", "pg_partman_bgw.interval", "pg_partman_bgw.role"],
    ...["pg_stat_statements.track", "pgbouncer", "shared_buffers_percentage", "stat_monitor_enable"],
    ...["synchronous_replication", "timescaledb", "timezone", "track_activity_query_size", "track_commit_timestamp"],
    ...["track_functions", "wal_writer_delay"],
  ].map((setting) => `postgres_advanced_config.${setting}`),
  // Only of clusters with a standby.
  ...["standby_connection", "standby_private_connection"].map((connection) => `database_cluster_read.${connection}`),
  // Only while a backup is made.
  "database_backups.backup_progress",
  // Misspelt.
  "tags.imgages",
  // One of them is enough, and a rule is returned as it was sent.
  ...["addresses", "droplet_ids", "kubernetes_ids", "load_balancer_uids", "tags"].map(
    (peers) => `firewall_rule_firewall_rule_target.${peers}`,
  ),
]);

/**
 * What the official Go client sends and the API accepts, although it is not described: no ports for ICMP, ids in objects,
 * a reserved address by its present name.
 */
const MAY_OMIT = new Set(["firewall_rule_firewall_rule_base.ports"]);
const ALSO_SENT: Record<string, object> = {
  "droplet_create.volumes": { type: "array", items: { type: "object", required: ["id"] } },
  "project_assignment.resources": { type: "array", items: { type: "string", pattern: "^do:reservedip:" } },
};

/** Described headers that are not checked: an answer without a body has no type. */
const IGNORED_HEADERS = ["content-type", "x-request-id"];

/** Throws if an exchange does not match the description. A refused request need not match it. */
export type Check = (exchange: Exchange) => void;

/**
 * Compares exchanges with DigitalOcean's published description of its API, which is not part of this repository: it is
 * read from `digitalocean-openapi.json` in the folder that CONVEX_DROPLET_ORIGINALS names. Without this file, every exchange
 * passes.
 */
export const checkExchange: Check = publishedCheck(process.env["CONVEX_DROPLET_ORIGINALS"]);

function publishedCheck(folder: string | undefined): Check {
  const file = path.join(folder ?? "", "digitalocean-openapi.json");
  if (folder === undefined || !existsSync(file)) return () => undefined;
  return checkAgainst(JSON.parse(readFileSync(file, "utf8")) as Description);
}

/**
 * A check against one description. The description rarely marks properties as required, so an answer must have every property
 * that it names. This finds properties that the simulator lacks.
 */
export function checkAgainst(description: Description): Check {
  const requests = validators(description, false);
  const answers = validators(description, true);
  const find = operations(description);

  return ({ method, path: target, sent, status, headers, text }) => {
    const [pathname = ""] = target.split("?", 1);
    if (!pathname.startsWith("/v2/")) return;
    const fail = (what: string): never => {
      throw new Error(`${method} ${target}: ${what}`);
    };

    const operation = find(method, pathname);
    if (!operation) {
      if (status !== 501) fail(`is not described, and is answered ${status}.`);
      return;
    }
    const [pointer, { requestBody, responses }] = operation;
    const code = status in responses || status < 400 ? String(status) : "default";
    const response = responses[code];
    if (!response) return fail(`has no answer ${status}.`);
    const answer = resolve<Response>(description, response, `${pointer}/responses/${code}`);

    for (const [name, { schema }] of Object.entries(answer.value.headers ?? {})) {
      if (IGNORED_HEADERS.includes(name)) continue;
      const value = headers.get(name);
      if (value === null) fail(`${status} lacks the header ${name}.`);
      else if (schema?.type === "integer" && !/^\d+$/.test(value)) fail(`${name} is ${value}, not an integer.`);
    }
    if (answer.value.content === undefined) {
      if (text !== "") fail(`${status} has no body, and got one: ${text}`);
    } else {
      if (!/^application\/json\b/.test(headers.get("content-type") ?? "")) fail("the answer is not JSON.");
      const wrong = answers(`${answer.pointer}/content/application~1json/schema`, JSON.parse(text));
      if (wrong !== undefined) fail(`answers ${status}, but not as described: ${wrong}\n${text}`);
    }
    if (status < 300 && sent !== undefined) {
      if (!requestBody) return fail("takes no body, and accepted one.");
      const body = resolve<Body>(description, requestBody, `${pointer}/requestBody`);
      // Go clients send null for omitted values.
      const given: unknown = JSON.parse(sent, (_key, value: unknown) => value ?? undefined);
      const wrong = requests(`${body.pointer}/content/application~1json/schema`, given);
      if (wrong !== undefined) fail(`accepted a body that is not as described: ${wrong}\n${sent}`);
    }
  };
}

/** Finds the operation of a request: a literal path wins over a template. */
function operations({ paths }: Description) {
  const known = Object.entries(paths)
    .map(([template, methods]) => ({
      template,
      methods,
      pattern: new RegExp(`^${template.replaceAll(/\{\w+\}/g, "[^/]+")}$`),
      templates: template.split("{").length,
    }))
    .toSorted((one, other) => one.templates - other.templates);
  return (method: string, pathname: string): [string, Operation] | undefined => {
    const verb = method.toLowerCase();
    const found = known.find(({ methods, pattern }) => methods[verb] !== undefined && pattern.test(pathname));
    const operation = found?.methods[verb];
    return found && operation && [`#/paths/${found.template.replaceAll("/", "~1")}/${verb}`, operation];
  };
}

/** A value of the description and its pointer; a reference is followed. */
function resolve<T extends object>(description: Description, value: Reference | T, pointer: string) {
  if (!("$ref" in value)) return { value, pointer };
  const [, , kind = "", name = ""] = value.$ref.split("/");
  return { value: description.components?.[kind]?.[name] as T, pointer: value.$ref };
}

/** Gives a function that checks a value with the schema at a pointer: the errors, or undefined if there are none. */
function validators(description: Description, complete: boolean) {
  // The description as a whole is not a JSON Schema, and one of its patterns is not valid with the `u` flag.
  const ajv = new Ajv({ strict: false, validateSchema: false, unicodeRegExp: false, allErrors: true, logger: false });
  formats.default(ajv);
  ajv.addSchema(jsonSchema(description, complete) as AnySchema, "description");
  const compiled = new Map<string, ValidateFunction>();
  return (pointer: string, value: unknown): string | undefined => {
    const validate = compiled.get(pointer) ?? ajv.compile({ $ref: `description${encodeURI(pointer)}` });
    compiled.set(pointer, validate);
    return validate(value) ? undefined : ajv.errorsText(validate.errors, { dataVar: "" });
  };
}

/** The description with its schemas converted to JSON Schema; `complete` makes every property required. */
function jsonSchema(node: unknown, complete: boolean, place: readonly string[] = []): unknown {
  if (Array.isArray(node)) return node.map((item) => jsonSchema(item, complete, place));
  if (typeof node !== "object" || node === null) return node;
  const schema: Record<string, unknown> = Object.fromEntries(
    Object.entries(node).map(([key, value]) => [key, jsonSchema(value, complete, [...place, key])]),
  );
  // The keys below `properties` are names, not keywords.
  if (place.at(-1) === "properties") return schema;
  if (Array.isArray(schema["enum"])) {
    const listed = schema["enum"] as string[];
    schema["enum"] = [...listed, ...listed.flatMap((value) => MISSING_FROM_LISTS[value] ?? [])];
  }
  // Its alternatives overlap: an action without fields matches several kinds.
  if (Array.isArray(schema["oneOf"])) {
    schema["anyOf"] = schema["oneOf"];
    delete schema["oneOf"];
  }
  const component = place[2] ?? "";
  const properties = (schema["properties"] ?? {}) as Record<string, unknown>;
  const required = Array.isArray(schema["required"]) ? (schema["required"] as string[]) : [];
  const answered = Object.keys(properties).filter((name) => (properties[name] as Described).writeOnly !== true);
  const wanted = complete ? [...new Set([...required, ...answered])] : required;
  schema["required"] = wanted.filter((name) => !(complete ? MAY_LACK : MAY_OMIT).has(`${component}.${name}`));
  for (const [name, described] of Object.entries(properties)) {
    const also = complete ? undefined : ALSO_SENT[`${component}.${name}`];
    if (also) properties[name] = { anyOf: [described, also] };
  }
  if (schema["nullable"] !== true) return schema;
  delete schema["nullable"];
  return { anyOf: [{ type: "null" }, schema] };
}
