import { quote } from "../../../contract/scripts.ts";

/** The client on the droplet, as PostgreSQL's own superuser; and as the administrator of a managed one, as in machine/lib/sql.sh. */
const OWN = "cd / && runuser -u postgres -- psql";
const MANAGED = "PGSERVICEFILE=/etc/convex-droplet/managed-server.conf PGSERVICE=managed PGDATABASE=defaultdb psql";

/** The same commands on a managed server. */
export function onManaged(command: string): string {
  return command.replaceAll(OWN, MANAGED);
}

/** The command that runs statements as PostgreSQL's own superuser, on the droplet. */
export function psql(...statements: string[]): string {
  return psqlIn(undefined, ...statements);
}

/** The same in a database. */
export function psqlIn(database: string | undefined, ...statements: string[]): string {
  const where = database === undefined ? "" : ` -d ${quote(database)}`;
  return `${OWN}${where} ${statements.map((statement) => `-c ${quote(statement)}`).join(" ")}`;
}

/** A name in a statement, whatever is in it. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}
