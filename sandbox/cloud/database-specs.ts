import { DATABASE_PORT, type DatabaseEntrance, type DatabaseSpec } from "../droplet/hypervisor.ts";
import type { SandboxHome } from "../home.ts";
import { publicAddress } from "./addresses.ts";
import { databaseSizeOf, maxConnections } from "./database-sizes.ts";
import { taggedDroplets, visibleDatabases } from "./lookups.ts";
import { OWNER_ID } from "./project-resources.ts";
import type { CloudState, DatabaseRecord } from "./records.ts";
import { postgresSettings } from "./database-config.ts";

const DOMAIN = "db.ondigitalocean.com";

/** A cluster's host names: for its primary and, `replica-`, for its standby. */
export function databaseNames({ id, name }: DatabaseRecord) {
  // A letter that DigitalOcean chooses.
  const letter = String.fromCharCode("a".charCodeAt(0) + (parseInt(id.slice(0, 2), 16) % 16));
  const host = `${name}-do-user-${OWNER_ID}-0.${letter}.${DOMAIN}`;
  return {
    public: host,
    private: `private-${host}`,
    standby: `replica-${host}`,
    privateStandby: `private-replica-${host}`,
  };
}

/** A cluster as the machine room needs it. */
export function databaseSpec(state: CloudState, database: DatabaseRecord): DatabaseSpec {
  const size = databaseSizeOf(database.size);
  const { restore } = database;
  const source = restore && state.databases.find(({ id }) => id === restore.source_id);
  if (restore && !source && database.status === "forking") {
    throw new Error(`database ${database.id}: the cluster that it is made from was deleted. Delete it, too.`);
  }
  return {
    id: database.id,
    names: Object.values(databaseNames(database)),
    nodes: database.nodes,
    memoryMegabytes: size.memory,
    vcpus: size.vcpus,
    maxConnections: maxConnections(size),
    settings: postgresSettings(database.config),
    users: database.users.map(({ name, password, may_replicate: mayReplicate }) => ({ name, password, mayReplicate })),
    // A restored cluster has those of its backup.
    databases: database.status === "forking" ? [] : database.db_names,
    ...(restore &&
      source && {
        restore: {
          cluster: databaseSpec(state, source),
          backupId: restore.backup_id,
          ...(restore.time !== undefined && { time: restore.time }),
        },
      }),
  };
}

/** Where all database servers can be reached, and by whom. */
export function databaseEntrances({ addressPrefix }: SandboxHome, state: CloudState): DatabaseEntrance[] {
  return visibleDatabases(state).flatMap((database) => {
    const names = databaseNames(database);
    const trusted = trustedSources(state, database);
    return database.nodes.map((node, index): DatabaseEntrance => ({
      node,
      publicAddress: publicAddress(addressPrefix, node),
      publicNames: index === 0 ? [names.public] : index === 1 ? [names.standby] : [],
      privateNames: index === 0 ? [names.private] : index === 1 ? [names.privateStandby] : [],
      ...(trusted && { trusted }),
    }));
  });
}

/** Undefined without a rule: then everyone may connect. */
function trustedSources(state: CloudState, { rules }: DatabaseRecord): DatabaseEntrance["trusted"] {
  if (rules.length === 0) return undefined;
  return {
    networks: rules.filter(({ type }) => type === "ip_addr").map(({ value }) => value),
    dropletIds: rules.flatMap(({ type, value }) => {
      if (type === "droplet") return [Number(value)];
      return type === "tag" ? taggedDroplets(state, value).map(({ id }) => id) : [];
    }),
  };
}

/** How a client connects to a host as the administrator. */
export function databaseConnection({ users: [administrator] }: DatabaseRecord, host: string) {
  const [user, password, database] = [administrator?.name ?? "", administrator?.password ?? "", "defaultdb"];
  return {
    protocol: "postgresql",
    uri: `postgresql://${user}:${password}@${host}:${DATABASE_PORT}/${database}?sslmode=require`,
    ...{ database, host, port: DATABASE_PORT, user, password, ssl: true },
  };
}
