import { type AppOptions, readApp } from "./kinds/apps.ts";
import { type Hosts, nameFault, namesOf } from "./kinds/hosts.ts";
import { entriesOf, Options } from "./kinds/options.ts";
import { inOrder } from "./kinds/order.ts";
import { type Known, type Resolved, resolveReferences } from "./kinds/references.ts";
import { readJobs } from "./jobs.ts";
import { outside } from "./edge.ts";
import { type Fault, matches, quoted, type Reader } from "./reader.ts";
import { onThisStack } from "./on-this-stack.ts";

/** A container of the user's own, beside Convex. */
export type AppSettings = Resolved<AppOptions>;

/** A secret that the stack generates once, for the apps that refer to it. */
export interface GeneratedSecret {
  name: string;
  bytes: number;
  encoding: "base64" | "base64url" | "hex";
}

/** A registry that asks for credentials. */
export interface Registry {
  address: string;
  username: string;
  password: string;
}

/** What apps depend on. */
interface Surroundings {
  /** Convex's own names; undefined without a domain. */
  hosts: Hosts | undefined;
  /** Who makes the DNS records, and in which domain. */
  edge: { dns: "digitalocean" | "manual"; dnsZone: string };
  /** The further databases, with their shadows. */
  databases: readonly string[];
}

/** Apps and jobs, each after those that it depends on; the secrets that are generated for them, and their registries. */
export function readApps(read: Reader, { hosts, edge, databases }: Surroundings) {
  const generatedSecrets = readGeneratedSecrets(read);
  const registries = readRegistries(read);
  const options = entriesOf(read, "apps", "names of apps to their options", "apps.NAME.image IMAGE").map(
    ([name, value]) => readApp(read, `apps.${name}`, name, value),
  );
  refuseHosts(read, options, hosts, edge);
  const known: Known = { databases, secrets: generatedSecrets.map(({ name }) => name), apps: options };
  const apps = options.map((app): AppSettings => {
    refuseInsecure(read, app);
    return { ...app, references: resolveReferences(read, `apps.${app.name}`, app.references, known) };
  });
  return {
    apps: inOrder(read, "apps", "an app", apps),
    jobs: readJobs(read, apps, known),
    generatedSecrets,
    registries,
  };
}

/** Electric without its secret gives every visitor all tables. */
function refuseInsecure(read: Reader, { name, variables, hosts }: AppOptions): void {
  // Electric reads everything else as true.
  if (hosts.length === 0 || /^(false|0)$/i.test(variables["ELECTRIC_INSECURE"] ?? "false")) return;
  const path = `apps.${name}.variables.ELECTRIC_INSECURE`;
  read.refuse(path, {
    sentence: "is true although the app is public, so everybody could read the database, it should be absent.",
    fix: `Remove it with: ${onThisStack("config rm", `--path ${path}`)}, and refer to a generated secret in ELECTRIC_SECRET`,
  });
}

/** What Let's Encrypt puts into one certificate at most. */
const CERTIFICATE_NAMES = 100;

function refuseHosts(read: Reader, apps: AppOptions[], own: Hosts | undefined, edge: Surroundings["edge"]): void {
  const taken = new Map((own === undefined ? [] : namesOf(own)).map((host) => [host, "Convex's own"]));
  for (const app of apps) {
    app.hosts.forEach((host, index) => {
      const path = `apps.${app.name}.hosts[${index}]`;
      read.refuse(path, hostFault(host, path, own, edge, taken.get(host)));
      taken.set(host, taken.get(host) ?? path);
    });
  }
  const paths = apps.flatMap(({ name, hosts }) => hosts.map((_, index) => `apps.${name}.hosts[${index}]`));
  const most = CERTIFICATE_NAMES - (own === undefined ? 0 : namesOf(own).length);
  if (paths.length > most) {
    read.refuse("apps", {
      sentence: `have ${paths.length} hosts, it should be at most ${most}, because one certificate has ${CERTIFICATE_NAMES} names, also Convex's.`,
      fix: `Remove one with: ${onThisStack("config rm", `--path ${quoted(paths.at(-1) ?? "")}`)}`,
    });
  }
}

function hostFault(
  host: string,
  path: string,
  own: Hosts | undefined,
  edge: Surroundings["edge"],
  owner: string | undefined,
): Fault | undefined {
  const example = nameFault(edge.dnsZone, "") === undefined ? `app.${edge.dnsZone}` : "app.example.com";
  const fault = nameFault(host, example);
  if (fault !== undefined) return fault;
  if (own === undefined) {
    return {
      sentence: `"${host}" has no effect without a domain, it should come with one.`,
      fix: `Set the domain with: ${onThisStack("config set", "domain example.com")}, or remove this with: ${onThisStack("config rm", `--path ${quoted(path)}`)}`,
    };
  }
  if (owner !== undefined) {
    return {
      sentence: `"${host}" is ${owner === "Convex's own" ? owner : `also ${owner}`}, it should be another name.`,
      fix: `Set it with: ${onThisStack("config set", `--path ${quoted(path)} NAME`)}`,
    };
  }
  if (edge.dns === "manual" || outside(host, edge.dnsZone) === undefined) return undefined;
  return {
    sentence: `"${host}" is not in ${edge.dnsZone}, it should be a name in the domain of the DigitalOcean account that gets its record.`,
    value: example,
  };
}

function readGeneratedSecrets(read: Reader): GeneratedSecret[] {
  const key = "generatedSecrets";
  return entriesOf(read, key, "names of secrets to bytes and encoding", `${key}.NAME.bytes 32`).map(([name, value]) => {
    if (!/^[a-zA-Z][\w-]{0,62}$/.test(name)) {
      read.refuse(`${key}.${name}`, {
        sentence: "is not a name for a secret, it should have up to 63 letters, digits, - and _, a letter first.",
        fix: "Rename it.",
      });
    }
    const options = new Options(read, `${key}.${name}`, value, ["bytes", "encoding"], "a generated secret");
    const encoding = options.text(
      "encoding",
      matches(/^(base64|base64url|hex)$/, "base64, base64url or hex", "base64"),
    );
    return {
      name,
      bytes: options.integer("bytes", 16, 1024) ?? 32,
      encoding: (encoding ?? "base64") as GeneratedSecret["encoding"],
    };
  });
}

/** No message shows a password. */
function readRegistries(read: Reader): Registry[] {
  const key = "registries";
  return entriesOf(
    read,
    key,
    "addresses of registries to username and password",
    `'${key}["ghcr.io"].username' NAME`,
  ).map(([address, value]) => {
    const path = `${key}["${address}"]`;
    if (!/^[a-z\d][a-z\d.-]*(:\d{1,5})?$/.test(address)) {
      read.refuse(path, {
        sentence: "is not the address of a registry, it should be a name such as ghcr.io.",
        fix: "Rename it.",
      });
    }
    const options = new Options(read, path, value, ["username", "password"], "a registry");
    const given = (option: string, how: string): string => {
      const text = options.text(option, () => undefined) ?? "";
      if (text === "" && options.isMap) {
        options.refuse(option, {
          sentence: `is ${options.has(option) ? "empty" : "missing"}, it should be what docker login asks for.`,
          fix: `Set it with: ${onThisStack("config set", `--path ${how}`)}`,
        });
      }
      return text;
    };
    return {
      address,
      username: given("username", `'${path}.username' NAME`),
      password: given("password", `--secret '${path}.password'`),
    };
  });
}
