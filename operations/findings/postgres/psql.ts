import { quote } from "../../../contract/scripts.ts";

/** The command that runs statements as PostgreSQL's own superuser, on the droplet. */
export function psql(...statements: string[]): string {
  return psqlIn(undefined, ...statements);
}

/** The same in a database. */
export function psqlIn(database: string | undefined, ...statements: string[]): string {
  const where = database === undefined ? "" : ` -d ${quote(database)}`;
  return `cd / && runuser -u postgres -- psql${where} ${statements.map((statement) => `-c ${quote(statement)}`).join(" ")}`;
}

/** A name in a statement, whatever is in it. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
