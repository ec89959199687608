import type { ValuesOf } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import { asMemberOf } from "./membership.ts";
import { identifier, literal, type Server, type Session } from "./server.ts";

const fixed = { type: "string", replaces: true, computed: true } as const;

/** The properties of a database. */
export const databaseInputs = {
  name: { type: "string", autoname: { maxLength: 255 } },
  owner: { type: "string", computed: true },
  template: fixed,
  encoding: fixed,
  lcCollate: fixed,
  lcCtype: fixed,
  tablespaceName: { type: "string", computed: true },
  connectionLimit: { type: "integer", default: -1 },
  allowConnections: { type: "boolean", default: true },
  isTemplate: { type: "boolean", computed: true },
  /** Whether a new owner gets the old owner's objects in the database. */
  alterObjectOwnership: { type: "boolean", default: false },
} as const;

/** A database as the resource describes it, with defaults. */
export type DatabaseProperties = ValuesOf<typeof databaseInputs>;

export async function createDatabase(server: Server, database: DatabaseProperties): Promise<void> {
  await server.connect(async (session) => {
    const option = (keyword: string, value: string | undefined, quote: (value: string) => string): string[] =>
      value === undefined || value === ""
        ? []
        : [`${keyword} ${value.toUpperCase() === "DEFAULT" ? "DEFAULT" : quote(value)}`];
    const options = [
      `OWNER ${identifier(database.owner ?? server.user)}`,
      ...option("TEMPLATE", database.template ?? "template0", identifier),
      ...option("ENCODING", database.encoding ?? "UTF8", literal),
      ...option("LC_COLLATE", database.lcCollate, literal),
      ...option("LC_CTYPE", database.lcCtype, literal),
      ...option("TABLESPACE", database.tablespaceName, identifier),
      `ALLOW_CONNECTIONS ${database.allowConnections}`,
      `CONNECTION LIMIT ${database.connectionLimit}`,
      `IS_TEMPLATE ${database.isTemplate ?? false}`,
    ];
    await asMemberOf(server, session, owners(database), () =>
      session
        .query(`CREATE DATABASE ${identifier(database.name)} WITH ${options.join(" ")}`)
        .catch(failed(`error creating database "${database.name}"`)),
    );
  });
}

/** Changes the database named `old.name` to match `database`, with one statement for each difference. */
export async function updateDatabase(
  server: Server,
  old: DatabaseProperties,
  database: DatabaseProperties,
): Promise<void> {
  const name = identifier(database.name);
  await server.connect(async (session) => {
    if (database.name !== old.name) {
      await session.query(`ALTER DATABASE ${identifier(old.name)} RENAME TO ${name}`);
    }
    const { owner } = database;
    if (owner !== undefined && owner !== old.owner) {
      await asMemberOf(server, session, [owner], () =>
        session.query(`ALTER DATABASE ${name} OWNER TO ${identifier(owner)}`),
      );
    }
    if (database.tablespaceName !== undefined && database.tablespaceName !== old.tablespaceName) {
      await session.query(`ALTER DATABASE ${name} SET TABLESPACE ${identifier(database.tablespaceName)}`);
    }
    if (database.connectionLimit !== old.connectionLimit) {
      await session.query(`ALTER DATABASE ${name} CONNECTION LIMIT ${database.connectionLimit}`);
    }
    if (database.allowConnections !== old.allowConnections) {
      await session.query(`ALTER DATABASE ${name} ALLOW_CONNECTIONS ${database.allowConnections}`);
    }
    if (database.isTemplate !== undefined && database.isTemplate !== old.isTemplate) {
      await session.query(`ALTER DATABASE ${name} IS_TEMPLATE ${database.isTemplate}`);
    }
  });
  const { owner } = database;
  if (database.alterObjectOwnership && owner !== undefined && old.owner !== undefined && owner !== old.owner) {
    const [from, to] = [old.owner, owner];
    await server.transaction(
      (session) =>
        asMemberOf(server, session, [from, to], () =>
          session.query(`REASSIGN OWNED BY ${identifier(from)} TO ${identifier(to)}`),
        ),
      database.name,
    );
  }
}

/** The database as it is now, or undefined if it does not exist. */
export async function readDatabase(
  server: Server,
  name: string,
): Promise<Omit<Required<DatabaseProperties>, "template" | "alterObjectOwnership"> | undefined> {
  return server.connect(async (session) => {
    const [row] = await session.query<Omit<Required<DatabaseProperties>, "template" | "alterObjectOwnership">>(
      `SELECT datname AS "name", pg_get_userbyid(datdba) AS "owner", pg_encoding_to_char(encoding) AS "encoding",
              datcollate AS "lcCollate", datctype AS "lcCtype", spcname AS "tablespaceName",
              datconnlimit AS "connectionLimit", datallowconn AS "allowConnections", datistemplate AS "isTemplate"
       FROM pg_catalog.pg_database JOIN pg_catalog.pg_tablespace ON dattablespace = pg_tablespace.oid
       WHERE datname = $1`,
      [name],
    );
    return row;
  });
}

/** Ends every connection to the database, and drops it with its contents. Fails if it does not exist. */
export async function dropDatabase(server: Server, database: DatabaseProperties): Promise<void> {
  const name = identifier(database.name);
  await server.connect(async (session) => {
    await asMemberOf(server, session, owners(database), async () => {
      if (database.isTemplate === true) await session.query(`ALTER DATABASE ${name} IS_TEMPLATE false`);
      await disconnectAll(session, database.name);
      const force = (await server.version(session)) >= 13 ? " WITH (FORCE)" : "";
      await session.query(`DROP DATABASE ${name}${force}`).catch(failed("error dropping database"));
    });
  });
}

async function disconnectAll(session: Session, database: string): Promise<void> {
  await session
    .query(`ALTER DATABASE ${identifier(database)} ALLOW_CONNECTIONS false`)
    .catch(failed("error blocking connections to database"));
  await session.query(
    `SELECT pg_terminate_backend(pid) FROM pg_catalog.pg_stat_activity
     WHERE datname = $1 AND pid <> pg_backend_pid()`,
    [database],
  );
}

const owners = (database: DatabaseProperties): string[] => (database.owner === undefined ? [] : [database.owner]);
