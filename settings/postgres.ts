import { readDatabases } from "./kinds/databases.ts";
import { readTunnelPort } from "./kinds/ports.ts";
import type { Reader } from "./reader.ts";

/**
 * PostgreSQL's connections and further databases, and the local port through which a run reaches it.
 *
 * @param own  name of the backend's database
 */
export function readPostgres(read: Reader, own: string) {
  return {
    postgresPoolSize: read.integer("postgresPoolSize", 8, 500),
    migratePostgres: read.flag("migratePostgres"),
    databases: readDatabases(read, "databases", own),
    tunnelPort: readTunnelPort(read, "tunnelPort"),
  };
}
