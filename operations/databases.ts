import { HOST_IN_CONTAINERS, RESOURCES, TYPES } from "../contract/names.ts";
import type { Outputs } from "./outputs.ts";
import type { State } from "./state.ts";

/** The local end of the server in `npm run tunnel`. Not PostgreSQL's own port, where a developer's server may be. */
export const NEAR_PORT = 15432;

/** The droplet's own server, for a forwarded connection. SSH encrypts, and the socket has no TLS. */
const SERVER_SOCKET = "/var/run/postgresql/.s.PGSQL.5432";

/** The far end of a forwarded connection to the server of a database: a socket on the droplet, or host and port of a managed one. */
export function farEnd(url: string): string {
  const { host } = new URL(url);
  return isOnDroplet(url) ? SERVER_SOCKET : host;
}

function isOnDroplet(url: string): boolean {
  return new URL(url).hostname === HOST_IN_CONTAINERS;
}

/** The names of a stack's further databases, without their shadows. */
export function databasesOf({ databaseUrls = {} }: Outputs): string[] {
  return Object.keys(databaseUrls).filter((name) => userOf(databaseUrls[name] ?? "") === name);
}

/** The same URL through the tunnel. A managed server demands TLS there, too. */
export function throughTunnel(url: string): string {
  const near = url.replace(/@[^/]*/, `@127.0.0.1:${NEAR_PORT}`);
  return isOnDroplet(url) ? near.replace("sslmode=require", "sslmode=disable") : near;
}

/** It for a person to read: without the password, which is a secret, and without what no client needs. */
export function shownThroughTunnel(url: string): string {
  return throughTunnel(url)
    .replace(/:[^:@/]*@/, "@")
    .replace("?sslmode=disable", "");
}

/**
 * The variables with the URLs of a database through the tunnel, under the names that migration tools use.
 *
 * @throws Error if the stack has no such database
 */
export function databaseVariables(outputs: Outputs, name: string): Record<string, string> {
  const { databaseUrls = {} } = outputs;
  const names = databasesOf(outputs);
  if (!names.includes(name)) {
    throw new Error(
      `--database: ${name} is not a database of the stack, it should be ${names.length === 0 ? "one of the setting databases, which is empty" : `one of ${names.join(", ")}`}.`,
    );
  }
  const shadow = databaseUrls[`${name}_shadow`];
  return {
    DATABASE_URL: throughTunnel(databaseUrls[name] ?? ""),
    ...(shadow !== undefined && userOf(shadow) === name ? { SHADOW_DATABASE_URL: throughTunnel(shadow) } : {}),
  };
}

/** A database's owner has its name, a shadow's has that of the other database. */
function userOf(url: string): string {
  return URL.parse(url)?.username ?? "";
}

/** The further databases of a stack. They are in the same backups as Convex's, so they go back with it. */
export function furtherDatabases(state: State): string[] {
  return state
    .all(TYPES.database)
    .filter(({ name }) => name !== RESOURCES.database)
    .map(({ inputs }) => String(inputs["name"]))
    .toSorted();
}
