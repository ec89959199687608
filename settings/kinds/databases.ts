import { ROLES } from "../../contract/names.ts";
import type { Fault, Reader } from "../reader.ts";
import { entriesOf, Options } from "./options.ts";

/** A further database on the server, beside the backend's. Its owner is a role of the same name. */
export interface FurtherDatabase {
  name: string;
  /** The database for tools that compute migrations, with the same owner; undefined if there is none. */
  shadow: string | undefined;
  /** Whether its owner can read its changes with logical replication. */
  replication: boolean;
  /** Connections that its owner may open, to both databases together. */
  connections: number;
}

/** The names of databases and of their shadows. */
export function namesIn(databases: readonly FurtherDatabase[]): string[] {
  return databases.flatMap(({ name, shadow }) => (shadow === undefined ? [name] : [name, shadow]));
}

/** What PostgreSQL keeps of a name. */
const LONGEST = 63;
const SHADOW = "_shadow";
const OPTIONS = ["shadow", "replication", "connections"];
/** The server's replication slots; the same number as in machine/postgres/further.sh. */
const SLOTS = 16;
/** Of one database: the default, and what is accepted. */
export const CONNECTIONS = { standard: 20, min: 2, max: 500 };

/**
 * The further databases, sorted by name, so that their order in the configuration makes no difference.
 *
 * @param own  name of the backend's database
 */
export function readDatabases(read: Reader, key: string, own: string): FurtherDatabase[] {
  const entries = entriesOf(
    read,
    key,
    "names of databases to their options",
    `${key}.NAME.connections ${CONNECTIONS.standard}`,
    "config",
  );
  const names = entries.map(([name]) => name);
  const databases = entries.map(([name, options]) => {
    const path = `${key}.${name}`;
    const database = readOptions(new Options(read, path, options, OPTIONS, "a database"), name);
    read.refuse(path, nameFault(name, own) ?? shadowFault(database, names, own));
    return database;
  });
  const replicated = databases.filter(({ replication }) => replication).length;
  if (replicated > SLOTS) {
    read.refuse(key, {
      sentence: `have ${replicated} with replication, it should be at most ${SLOTS}, because the server has so many slots.`,
      fix: "Switch it off for some, or keep the data of several apps in one database, in a schema for each.",
    });
  }
  return databases;
}

function readOptions(options: Options, name: string): FurtherDatabase {
  return {
    name,
    shadow: options.flag("shadow") ? `${name}${SHADOW}` : undefined,
    replication: options.flag("replication"),
    connections: options.integer("connections", CONNECTIONS.min, CONNECTIONS.max) ?? CONNECTIONS.standard,
  };
}

/** What is wrong with the name of a database, which its owner has, too. */
function nameFault(name: string, own: string): Fault | undefined {
  const rename = (sentence: string): Fault => ({ sentence, fix: "Rename it." });
  if (name.length > LONGEST) {
    return rename(`has ${name.length} letters, it should have at most ${LONGEST}: PostgreSQL would cut the rest.`);
  }
  if (!/^[a-z][a-z0-9_]*$/.test(name)) {
    return rename("is not valid, it should have only lower-case letters, digits and _, a letter first.");
  }
  if (["postgres", "template0", "template1"].includes(name)) return rename("is one of PostgreSQL's own databases.");
  if (["defaultdb", "doadmin"].includes(name)) {
    return rename("is a name that a managed cluster has for its own, and the database may be moved to one.");
  }
  if (name.startsWith("pg_") || ["public", "none"].includes(name)) {
    return rename("is a name that PostgreSQL reserves, and its owner has the same name.");
  }
  if (name === own) return rename("is the backend's own database, of instanceName.");
  if (Object.values(ROLES).includes(name)) return rename("is a role of this stack, and its owner has the same name.");
  return isWorkingName(name, own)
    ? rename("is a name that a move-in uses for the copy of the backend's database.")
    : undefined;
}

function shadowFault({ name, shadow }: FurtherDatabase, names: string[], own: string): Fault | undefined {
  if (shadow === undefined) return undefined;
  const rename = (sentence: string): Fault => ({ sentence, fix: "Rename it, or do without its shadow." });
  if (shadow.length > LONGEST) {
    return rename(
      `has ${name.length} letters, with a shadow it should have at most ${LONGEST - SHADOW.length}: PostgreSQL would cut the name ${shadow}.`,
    );
  }
  if (names.includes(shadow)) return rename(`has a shadow with the name of another database, ${shadow}.`);
  return shadow === own ? rename(`has a shadow with the name of the backend's own database, ${own}.`) : undefined;
}

/** Whether machine/move-in/move-in.sh gives a database this name. */
function isWorkingName(name: string, own: string): boolean {
  return name === `${own.slice(0, 55)}_moving`;
}
