import { readDatabases } from "./kinds/databases.ts";
import { readTunnelPort } from "./kinds/ports.ts";
import { onThisStack } from "./on-this-stack.ts";
import { type Fault, matches, type Reader } from "./reader.ts";

/** Where PostgreSQL runs: on the droplet, or as a cluster of DigitalOcean's Managed Databases. */
export type Shape = "droplet" | "managed";

/**
 * Where PostgreSQL runs, its connections and further databases, and the local port through which a run reaches it.
 *
 * @param own  name of the backend's database
 */
export function readPostgres(read: Reader, own: string) {
  const settings = {
    database: read.choice<Shape>("database", ["droplet", "managed"]),
    databaseSize: read.text("databaseSize", sizeFault),
    databaseStandbys: read.integer("databaseStandbys", 0, 2),
    postgresPoolSize: read.integer("postgresPoolSize", 8, 500),
    migratePostgres: read.flag("migratePostgres"),
    moveDatabase: read.flag("moveDatabase"),
    databases: readDatabases(read, "databases", own),
    tunnelPort: readTunnelPort(read, "tunnelPort"),
  };
  if (settings.database === "droplet") return settings;
  if (settings.migratePostgres) {
    read.refuse("migratePostgres", {
      sentence: "is true, it should be false, because DigitalOcean migrates a managed database.",
      value: "false",
    });
  }
  for (const { name } of settings.databases.filter(({ replication }) => replication)) {
    read.refuse(`databases.${name}.replication`, {
      sentence: "is true, it should be false with database: managed, whose failover does not keep replication slots.",
      value: "false",
    });
  }
  return settings;
}

/** What only a database on the droplet can have. */
interface OnVolume {
  database: Shape;
  backups: "off" | "spaces" | "s3";
  image: string;
  volumeSnapshot: string;
  adoptVolume: string;
}

/** Refuses what needs the database's data on the volume, if it is not there. */
export function refuseWithoutVolume(
  read: Reader,
  { database, backups, image, volumeSnapshot, adoptVolume }: OnVolume,
): void {
  if (database === "droplet") return;
  if (backups !== "off" && image !== "debian-13-x64") {
    read.refuse("backups", {
      sentence: `is ${backups}, it should be off with database: managed and image ${image}, whose PostgreSQL client is too old for dumps of the cluster.`,
      value: "off",
    });
  }
  const without: Record<string, string> = { volumeSnapshot, adoptVolume };
  for (const [key, value] of Object.entries(without)) {
    if (value !== "") read.refuse(key, alone(key, value));
  }
}

/** A volume has no database then, and files without their rows are no instance. */
function alone(key: string, value: string): Fault {
  return {
    sentence: `is ${value}, it should not be set with database: managed: the volume would have the files of another time than the database.`,
    fix: `Remove it with: ${onThisStack("config rm", key)}`,
  };
}

/** Which ones there are, DigitalOcean says. */
const sizeFault = matches(
  /^[a-z][a-z0-9_]*(?:-[a-z0-9_]+)*-\d+gb$/,
  "a size of a managed database such as db-s-2vcpu-4gb",
  "db-s-2vcpu-4gb",
);
