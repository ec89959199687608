import { isIPv4, isIPv6 } from "node:net";

import * as pulumi from "@pulumi/pulumi";

/**
 * Everything a stack may configure, checked. Types, meanings and defaults are in Pulumi.yaml and nowhere else; the
 * names are the same here, there and in the components' arguments.
 */
export interface Settings {
  region: string;
  size: string;
  image: string;
  volumeSizeGb: number;
  protectData: boolean;
  operatorKeys: string[];
  adminCidrs: string[];
  allowedCidrs: string[];
  bootTimeoutSeconds: number;
  instanceName: string;
  /** Undefined: derived from the droplet's address. */
  cloudOrigin: string | undefined;
  /** Undefined: derived from the droplet's address. */
  siteOrigin: string | undefined;
  backendImage: string;
  dashboardImage: string;
  apiPort: number;
  sitePort: number;
  dashboardPort: number;
  logLevel: string;
  documentRetentionSeconds: number;
  telemetry: boolean;
  redactClientLogs: boolean;
  postgresPoolSize: number;
  backendEnvironment: Record<string, string>;
  /** Values secret, whether or not they were given as secrets. */
  functionEnvironment: Record<string, pulumi.Output<string>>;
  authKeys: boolean;
  tunnelPort: number;
}

/**
 * Reads and checks the stack's configuration.
 *
 * @throws pulumi.RunError naming every mistake at once, each with what it should be and how to set it.
 */
export function loadSettings(): Settings {
  const mistakes: string[] = [];
  const read = new Reader(new pulumi.Config(), mistakes);
  const functionEnvironment = read.environment("functionEnvironment", refusedFunctionVariable);

  const settings: Settings = {
    region: read.text("region", /^[a-z]{3}\d$/, "a region slug such as nyc3", "nyc3"),
    size: read.text("size", /^[a-z0-9-]+$/, "a droplet size slug such as s-2vcpu-4gb", "s-2vcpu-4gb"),
    image: read.text("image", /^(debian|ubuntu)-[a-z0-9-]+$/, "a Debian or Ubuntu image slug", "debian-13-x64"),
    volumeSizeGb: read.integer("volumeSizeGb", 100, 16384),
    protectData: read.flag("protectData"),
    operatorKeys: read.list("operatorKeys", isPublicKey, "OpenSSH public keys such as 'ssh-ed25519 AAAA… me@laptop'"),
    adminCidrs: read.list("adminCidrs", isCidr, "networks such as 203.0.113.0/24"),
    allowedCidrs: read.list("allowedCidrs", isCidr, "networks such as 203.0.113.0/24"),
    bootTimeoutSeconds: read.integer("bootTimeoutSeconds", 30, 3600),
    instanceName: read.text(
      "instanceName",
      // Convex splits keys at | and :, Postgres cuts names at 63 bytes.
      /^[a-z][a-z0-9_-]{0,62}$/,
      "up to 63 lower-case letters, digits, - and _, a letter first (Convex splits keys at | and :)",
      "convex-self-hosted",
    ),
    cloudOrigin: read.origin("cloudOrigin", "https://api.example.com"),
    siteOrigin: read.origin("siteOrigin", "https://site.example.com"),
    backendImage: read.image("backendImage"),
    dashboardImage: read.image("dashboardImage"),
    apiPort: read.integer("apiPort", 1024, 65535),
    sitePort: read.integer("sitePort", 1024, 65535),
    dashboardPort: read.integer("dashboardPort", 1024, 65535),
    logLevel: read.text("logLevel", /^[a-z0-9_:=,-]+$/, "a RUST_LOG filter such as info or debug", "info"),
    documentRetentionSeconds: read.integer("documentRetentionSeconds", 3600, 31_536_000),
    telemetry: read.flag("telemetry"),
    redactClientLogs: read.flag("redactClientLogs"),
    postgresPoolSize: read.integer("postgresPoolSize", 8, 500),
    backendEnvironment: read.environment("backendEnvironment", refusedVariable),
    functionEnvironment: mapValues(functionEnvironment, (value) => pulumi.secret(value)),
    authKeys: read.flag("authKeys"),
    tunnelPort: read.integer("tunnelPort", 0, 65535),
  };

  if (["postgres", "template0", "template1"].includes(databaseName(settings.instanceName))) {
    mistakes.push(
      `convex-droplet:instanceName: "${settings.instanceName}" names one of PostgreSQL's own databases, it should name the instance. ` +
        setWith("instanceName", "convex-self-hosted"),
    );
  }
  if (settings.adminCidrs.length === 0) {
    mistakes.push(
      "convex-droplet:adminCidrs: is empty, it should hold the network you run pulumi from, or no run could reach the droplet. " +
        setWith("--path 'adminCidrs[0]'", "203.0.113.7/32"),
    );
  }
  if (settings.cloudOrigin !== undefined && settings.cloudOrigin === settings.siteOrigin) {
    mistakes.push(
      `convex-droplet:siteOrigin: ${settings.siteOrigin} equals cloudOrigin, it should be a host or port of its own, or HTTP actions and sign-in break. ` +
        setWith("siteOrigin", "https://site.example.com"),
    );
  }
  mistakes.push(
    ...sharedPorts(settings),
    ...unpairedImages(settings),
    ...generatedTwice(settings),
    ...tooManyVariables(functionEnvironment),
    ...missingToken(),
  );

  if (mistakes.length > 0) {
    const count = mistakes.length === 1 ? "one mistake" : `${mistakes.length} mistakes`;
    throw new pulumi.RunError(
      `the configuration of stack ${pulumi.getStack()} has ${count}:\n${mistakes.map((mistake) => `  ${mistake}`).join("\n")}`,
    );
  }
  return settings;
}

/** The database a Convex backend of this name opens: dashes become underscores, nothing else changes. */
export function databaseName(instanceName: string): string {
  return instanceName.replaceAll("-", "_");
}

/** The API token, from where the provider takes it; empty where there is none. */
export function apiToken(): string {
  return (
    new pulumi.Config("digitalocean").get("token") ??
    process.env["DIGITALOCEAN_TOKEN"] ??
    process.env["DIGITALOCEAN_ACCESS_TOKEN"] ??
    ""
  );
}

/** What droplet, volume and firewall of a stack are called: DigitalOcean takes lower-case letters, digits and dashes. */
export function label(stack: string): string {
  const name = `convex-${stack}`.toLowerCase().replaceAll(/[^a-z0-9-]+/g, "-");
  return name.slice(0, 50).replace(/-+$/, "");
}

/** The containers' own network. Fixed, because PostgreSQL listens in it and admits it by name. */
export const containerNetwork = { subnet: "172.30.0.0/24", gateway: "172.30.0.1" };

/**
 * Where clients find the backend. With nobody allowed in from outside, the ports stay on the droplet's loopback and the
 * URLs are those at the near end of `npm run tunnel`; what is printed is always what can be reached.
 */
export function endpoints(
  settings: Settings,
  publicIp: pulumi.Output<string>,
): { bindAddress: string; cloudOrigin: pulumi.Output<string>; siteOrigin: pulumi.Output<string> } {
  const isPublic = settings.allowedCidrs.length > 0;
  const at = (origin: string | undefined, port: number) =>
    origin !== undefined
      ? pulumi.output(origin)
      : isPublic
        ? pulumi.interpolate`http://${publicIp}:${port}`
        : pulumi.output(`http://127.0.0.1:${port}`);
  return {
    bindAddress: isPublic ? "0.0.0.0" : "127.0.0.1",
    cloudOrigin: at(settings.cloudOrigin, settings.apiPort),
    siteOrigin: at(settings.siteOrigin, settings.sitePort),
  };
}

/** One typed look at one key, each adding to the mistakes instead of throwing, so that all of them come at once. */
class Reader {
  readonly #config: pulumi.Config;
  readonly #mistakes: string[];

  constructor(config: pulumi.Config, mistakes: string[]) {
    this.#config = config;
    this.#mistakes = mistakes;
  }

  text(key: string, pattern: RegExp, should: string, example: string): string {
    const value = this.#config.get(key) ?? "";
    if (!pattern.test(value)) this.#refuse(key, `"${value}" is not valid, it should be ${should}.`, example);
    return value;
  }

  integer(key: string, min: number, max: number): number {
    const text = this.#config.get(key) ?? "";
    const value = Number(text);
    if (text === "" || !Number.isInteger(value)) {
      this.#refuse(key, `"${text}" is not a whole number, it should be one from ${min} to ${max}.`, String(min));
    } else if (value < min) {
      this.#refuse(key, `${value} is below ${min}.`, String(min));
    } else if (value > max) {
      this.#refuse(key, `${value} is above ${max}.`, String(max));
    }
    return value;
  }

  flag(key: string): boolean {
    const text = this.#config.get(key) ?? "";
    if (text !== "true" && text !== "false") {
      this.#refuse(key, `"${text}" is not a boolean, it should be true or false.`, "true");
    }
    return text === "true";
  }

  list(key: string, isValid: (item: string) => boolean, should: string): string[] {
    const value = this.#json(key);
    if (!Array.isArray(value)) {
      this.#refuse(key, `is not a list, it should be a list of ${should}.`);
      return [];
    }
    const items = value.map(String);
    items.forEach((item, index) => {
      if (!isValid(item)) this.#refuse(`${key}[${index}]`, `"${item}" is not valid, it should be one of ${should}.`);
    });
    return items;
  }

  /** An origin: scheme and host, nothing behind. Convex joins paths to it, so a slash at the end doubles. */
  origin(key: string, example: string): string | undefined {
    const value = this.#config.get(key) ?? "";
    if (value === "") return undefined;
    const url = URL.parse(value);
    if (url === null || !/^https?:$/.test(url.protocol)) {
      this.#refuse(key, `"${value}" is not a URL, it should start with https:// or http://.`, example);
    } else if (value.endsWith("/")) {
      this.#refuse(key, `${value} ends with a slash, it should end with the host or port.`, value.replace(/\/+$/, ""));
    } else if (value !== url.origin) {
      this.#refuse(key, `${value} is more than scheme, host and port, it should be ${url.origin}.`, url.origin);
    }
    return value;
  }

  image(key: string): string {
    const value = this.#config.get(key) ?? "";
    if (!IMAGE.test(value)) {
      const moving = value.endsWith(":latest") || !value.includes("@");
      const reason = moving ? "may be another image tomorrow" : "is not an image reference";
      this.#refuse(key, `"${value}" ${reason}, it should be pinned as repository@sha256:<64 hexadecimal digits>.`);
    }
    return value;
  }

  /** A map of variables; `refuse` says why one may not be set, or nothing. No message shows a value. */
  environment(key: string, refuse: (name: string, value: string) => string | undefined): Record<string, string> {
    const value = this.#json(key);
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      this.#refuse(key, "is not a map, it should map variable names to strings.");
      return {};
    }
    return mapValues(value as Record<string, unknown>, (content, name) => {
      // Other numbers are not what was typed any more: 1.10 has become 1.1, and long ones have lost their last digits.
      const isText = typeof content === "string" || typeof content === "boolean" || Number.isSafeInteger(content);
      const reason = isText
        ? refuse(name, String(content))
        : `is not text, it should be. Put it in quotes in Pulumi.${pulumi.getStack()}.yaml.`;
      if (reason !== undefined) this.#mistakes.push(`convex-droplet:${key}.${name}: ${reason}`);
      return String(content);
    });
  }

  #json(key: string): unknown {
    try {
      return JSON.parse(this.#config.get(key) ?? "");
    } catch {
      return undefined;
    }
  }

  #refuse(key: string, sentence: string, example?: string): void {
    const fix = example === undefined ? `Set it in Pulumi.${pulumi.getStack()}.yaml.` : setWith(key, example);
    this.#mistakes.push(`convex-droplet:${key}: ${sentence} ${fix}`);
  }
}

/** `repository@sha256:…`, with or without a tag between; the digest decides. */
const IMAGE = /^[a-z0-9][a-z0-9._:/-]*@sha256:[0-9a-f]{64}$/;

function setWith(key: string, value: string): string {
  return `Set it with: pulumi config set ${key} ${value}`;
}

function isCidr(text: string): boolean {
  const [address = "", prefix = "", ...rest] = text.split("/");
  if (rest.length > 0 || !/^\d{1,3}$/.test(prefix)) return false;
  return (isIPv4(address) && Number(prefix) <= 32) || (isIPv6(address) && Number(prefix) <= 128);
}

function isPublicKey(text: string): boolean {
  return /^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp\d+|sk-[a-z0-9-]+@openssh\.com) [A-Za-z0-9+/]+=*( .*)?$/.test(text);
}

function sharedPorts({ apiPort, sitePort, dashboardPort }: Settings): string[] {
  const ports = { apiPort, sitePort, dashboardPort };
  return Object.entries(ports).flatMap(([key, port], index, all) => {
    const twin = all.slice(0, index).find(([, other]) => other === port);
    if (twin !== undefined) {
      return [
        `convex-droplet:${key}: ${port} is ${twin[0]} too, it should be a port of its own. ${setWith(key, String(port + 10))}`,
      ];
    }
    return port === 5432
      ? [`convex-droplet:${key}: 5432 is PostgreSQL's, it should be another port. ${setWith(key, "3210")}`]
      : [];
  });
}

/** Where both images still say their revision in the tag, it must be the same one: they speak one private protocol. */
function unpairedImages({ backendImage, dashboardImage }: Settings): string[] {
  const [backend, dashboard] = [backendImage, dashboardImage].map((image) => /:([0-9a-f]{40})@/.exec(image)?.[1]);
  if (backend === undefined || dashboard === undefined || backend === dashboard) return [];
  return [
    `convex-droplet:dashboardImage: is of revision ${dashboard}, it should be of the backend's, ${backend}. Set both images together.`,
  ];
}

/** The provider would say "Unable to authenticate you" and no more. */
function missingToken(): string[] {
  return apiToken() !== ""
    ? []
    : [
        "digitalocean:token: is not set, it should be an API token that may read and write. Set it with: pulumi config set --secret digitalocean:token",
      ];
}

/** Both would name the same variables. */
function generatedTwice({ authKeys, functionEnvironment }: Settings): string[] {
  return ["JWT_PRIVATE_KEY", "JWKS"]
    .filter((name) => authKeys && name in functionEnvironment)
    .map(
      (name) =>
        `convex-droplet:functionEnvironment.${name}: is generated by authKeys. Remove it, or keep your own with: pulumi config set authKeys false`,
    );
}

/** What the backend holds at most, variables set by hand and generated ones not counted: for those it speaks for itself. */
function tooManyVariables(variables: Record<string, string>): string[] {
  const count = Object.keys(variables).length;
  const bytes = Buffer.byteLength(Object.entries(variables).flat().join(""));
  return [
    ...(count > 512 ? [`has ${count} variables, it should have at most 512.`] : []),
    ...(bytes > 512 * 1024 ? [`is ${bytes} bytes of names and values, it should be at most 524288.`] : []),
  ].map((sentence) => `convex-droplet:functionEnvironment: ${sentence} Keep the rest in a table.`);
}

/** Why the deployment may not have a variable, or undefined where it may. Facts: the backend's source. */
function refusedFunctionVariable(name: string, value: string): string | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return "is not a variable's name. Rename it.";
  if (name.length > 256) return "has a name of more than 256 letters. Rename it.";
  if (["CONVEX_CLOUD_URL", "CONVEX_SITE_URL"].includes(name)) {
    return "is built in: functions read it without its being set. Remove it.";
  }
  const bytes = Buffer.byteLength(value);
  return bytes > 8192
    ? `is ${bytes} bytes, it should be at most 8192. Keep it in a table or a file instead.`
    : undefined;
}

function mapValues<From, To>(map: Record<string, From>, to: (value: From, key: string) => To): Record<string, To> {
  return Object.fromEntries(Object.entries(map).map(([key, value]) => [key, to(value, key)]));
}

/** Why a variable may not be set by hand, or undefined where it may. Facts: the backend's start script and its source. */
function refusedVariable(name: string, value: string): string | undefined {
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return "is not a variable's name. Rename it.";
  if (["POSTGRES_URL", "DATABASE_URL", "MYSQL_URL"].includes(name)) {
    const path = URL.parse(value)?.pathname ?? "/";
    const named =
      path === "/" || path === ""
        ? ""
        : ` and names a database (${path.slice(1)}), which the backend refuses: "cluster url already contains db name"`;
    return `is built by this program${named}. Remove it.`;
  }
  if (/^(S3_|AWS_)/.test(name)) {
    return "would move file storage to S3, and storage cannot be changed after the first start. Remove it.";
  }
  const setting = SETTING_OF_VARIABLE[name];
  return setting === undefined ? undefined : `is set by this program${setting}. Remove it.`;
}

const SETTING_OF_VARIABLE: Record<string, string> = {
  CONVEX_CLOUD_ORIGIN: " from cloudOrigin",
  CONVEX_SITE_ORIGIN: " from siteOrigin",
  DISABLE_BEACON: " from telemetry, and any text switches it on, `false` too",
  DISABLE_METRICS_ENDPOINT: "",
  DOCUMENT_RETENTION_DELAY: " from documentRetentionSeconds",
  DO_NOT_REQUIRE_SSL: ", and any text switches it on, `false` too",
  INSTANCE_NAME: " from instanceName",
  INSTANCE_SECRET: " from a secret it generates",
  POSTGRES_MAX_CONNECTIONS: " from postgresPoolSize",
  REDACT_LOGS_TO_CLIENT: " from redactClientLogs, and any text switches it on, `false` too",
  RUST_LOG: " from logLevel",
  SSLKEYLOGFILE: " never: it would write session keys to disk",
};
