import { readTunnelPort } from "./kinds/ports.ts";
import type { Reader } from "./reader.ts";

/** PostgreSQL's connections, and the local port through which a run reaches it. */
export function readPostgres(read: Reader) {
  return {
    postgresPoolSize: read.integer("postgresPoolSize", 8, 500),
    migratePostgres: read.flag("migratePostgres"),
    tunnelPort: readTunnelPort(read, "tunnelPort"),
  };
}
