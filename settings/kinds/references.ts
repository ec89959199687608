import type { Fault, Reader } from "../reader.ts";
import { onThisStack } from "../on-this-stack.ts";

/** A value that the stack knows, as an app's variable refers to it. */
export type Reference =
  | { of: "convex"; what: "url" | "siteUrl" | "internalUrl" | "adminKey" }
  | { of: "database"; name: string }
  | { of: "secret"; name: string }
  | { of: "app"; name: string; what: "url" | "publicUrl" };

/** Options whose references are known to name something. */
export type Resolved<Options> = Omit<Options, "references"> & {
  /** Values of the stack by the variable that gets them. */
  references: Record<string, Reference>;
};

/** What references can name. */
export interface Known {
  /** The further databases, with their shadows. */
  databases: readonly string[];
  /** The generated secrets. */
  secrets: readonly string[];
  /** The apps, and whether they have a port and a public host. */
  apps: readonly { name: string; port: number | undefined; hosts: readonly string[] }[];
  /** Whether a job refers to them, which may have the admin key, because it ends before anybody reaches it. */
  forJob?: boolean;
}

const FORMS =
  "convex.url, convex.siteUrl, convex.internalUrl, database:NAME.url, secret:NAME, app:NAME.url, app:NAME.publicUrl";

/** The reference that a text is; undefined if it is none. */
export function parseReference(text: string): Reference | undefined {
  const [, what] = /^convex\.(url|siteUrl|internalUrl|adminKey)$/.exec(text) ?? [];
  if (what !== undefined) return { of: "convex", what: what as "url" };
  const [, kind, name = "", member] = /^(database|secret|app):([\w-]+)(?:\.(\w+))?$/.exec(text) ?? [];
  if (kind === "secret" && member === undefined) return { of: "secret", name };
  if (kind === "database" && member === "url") return { of: "database", name };
  if (kind === "app" && (member === "url" || member === "publicUrl")) return { of: "app", name, what: member };
  return undefined;
}

/** The references of an app or a job, by variable, without those that are refused. */
export function resolveReferences(
  read: Reader,
  path: string,
  references: Record<string, string>,
  known: Known,
): Record<string, Reference> {
  const resolved = Object.entries(references).flatMap(([variable, text]) => {
    const at = `${path}.references.${variable}`;
    const fault = referenceFault(text, at, known);
    read.refuse(at, fault);
    const reference = parseReference(text);
    return fault !== undefined || reference === undefined ? [] : [[variable, reference] as const];
  });
  return Object.fromEntries(resolved);
}

/**
 * What is wrong with a reference: its form, or the name in it.
 *
 * @param path  of the variable, for the command that sets it
 */
export function referenceFault(text: string, path: string, known: Known): Fault | undefined {
  const fix = `Set it with: ${onThisStack("config set", `--path ${path} REFERENCE`)}`;
  const fault = (sentence: string, how = fix): Fault => ({ sentence, fix: how });
  const forms = known.forJob === true ? `${FORMS}, convex.adminKey` : FORMS;
  if (known.forJob !== true && (text === "convex.adminKey" || text === "convex.readOnlyAdminKey")) {
    return fault(
      `"${text}" is not for an app, because everybody who breaks into it could read or change all data, it should be one of ${forms}.`,
      `Remove it with: ${onThisStack("config rm", `--path ${path}`)}`,
    );
  }
  const reference = parseReference(text);
  if (reference === undefined) return fault(`"${text}" is not a reference, it should be one of ${forms}.`);
  const among = (names: readonly string[]) => (names.length === 0 ? "there is none" : names.join(", "));
  switch (reference.of) {
    case "convex":
      return undefined;
    case "database":
      if (known.databases.includes(reference.name)) return undefined;
      return fault(
        `"${text}" names no database of this stack, it should be one of databases: ${among(known.databases)}.`,
      );
    case "secret":
      if (known.secrets.includes(reference.name)) return undefined;
      return fault(
        `"${text}" names no secret, it should be one of generatedSecrets: ${among(known.secrets)}.`,
        `Let it be generated with: ${onThisStack("config set", `--path generatedSecrets.${reference.name}.bytes 32`)}`,
      );
    case "app": {
      const app = known.apps.find(({ name }) => name === reference.name);
      if (app === undefined) {
        return fault(`"${text}" names no app, it should be one of apps: ${among(known.apps.map(({ name }) => name))}.`);
      }
      if (app.port === undefined) {
        return fault(
          `"${text}" names an app without a port, it should have one.`,
          `Set it with: ${onThisStack("config set", `--path apps.${app.name}.port 3000`)}`,
        );
      }
      return reference.what === "url" || app.hosts.length > 0
        ? undefined
        : fault(
            `"${text}" names an app without a public host, it should have one.`,
            `Set it with: ${onThisStack("config set", `--path 'apps.${app.name}.hosts[0]' ${app.name}.example.com`)}, or refer to it inside, with app:${app.name}.url`,
          );
    }
  }
}
