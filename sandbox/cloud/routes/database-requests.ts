import { randomBytes, randomUUID } from "node:crypto";

import { freeDatabaseHosts } from "../addresses.ts";
import { databaseSizeOf, findDatabaseSize, STORAGE_STEP } from "../database-sizes.ts";
import { DATABASE_REGIONS, DATABASE_VERSION, databaseVersion } from "../database-versions.ts";
import { notSimulated, unprocessable } from "../errors.ts";
import { ensureTags, onlineDatabase, recordedProject, visibleDatabases } from "../lookups.ts";
import { assign, databaseUrn } from "../project-resources.ts";
import type { CloudState, DatabaseRecord, DatabaseUserRecord } from "../records.ts";
import { timestamp } from "../time.ts";
import { readBackupRestore } from "./database-backups.ts";
import { readDatabaseRules } from "./database-rules.ts";
import type { Fields } from "./fields.ts";

const OTHER_ENGINES = ["mysql", "valkey", "mongodb", "kafka", "opensearch", "advanced_pg", "advanced_mysql"];
const DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/** The name becomes part of host names, whose parts have 63 characters at most. */
const MAX_NAME = 30;
/** The most storage that a cluster can have, in mebibytes. */
const MAX_STORAGE = 20 * 1024 * 1024;

/** Records a new cluster, as requested. */
export function addDatabase(draft: CloudState, body: Fields): DatabaseRecord {
  const name = body.text("name");
  if (!/^[a-z][a-z0-9-]+[a-z0-9]$/.test(name) || name.length > MAX_NAME) throw unprocessable("invalid cluster name");
  if (visibleDatabases(draft).some((other) => other.name === name)) {
    throw unprocessable("cluster name is not available");
  }
  readEngine(body);
  const version = body.optionalText("version") ?? DATABASE_VERSION;
  if (!databaseVersion(version)) throw unprocessable("invalid cluster engine version");
  const region = body.text("region");
  if (!DATABASE_REGIONS.includes(region)) throw unprocessable("invalid region");
  const { size, storage, nodes } = readLayout(body);
  const network = body.optionalText("private_network_uuid") ?? "";
  if (network !== "" && network !== draft.account.vpc_uuid) throw unprocessable("invalid private network uuid");
  const restored = readBackupRestore(draft, body);
  const project = recordedProject(draft, body.optionalText("project_id") || "default");
  const database: DatabaseRecord = {
    ...{ id: randomUUID(), name, version, region, size },
    storage_size_mib: storage,
    status: restored ? "forking" : "creating",
    created_at: timestamp(),
    private_network_uuid: draft.account.vpc_uuid,
    tags: ensureTags(draft, body.texts("tags")),
    nodes: freeDatabaseHosts(takenHosts(draft), nodes),
    leaving_nodes: [],
    rules: readDatabaseRules(draft, body, []),
    // Those of a restored cluster are in its data; only the administrator gets another password.
    users: [newDatabaseUser("doadmin"), ...(restored?.source.users.slice(1) ?? [])],
    db_names: ["defaultdb"],
    maintenance_window: { day: "tuesday", hour: "03:00:00" },
    config: {},
    backups: [],
    ...(restored && { restore: restored.restore }),
    revision: randomUUID(),
  };
  draft.databases.push(database);
  assign(draft, project, databaseUrn(database.id));
  return database;
}

/** Changes a cluster's size, number of servers and storage, as requested. */
export function resizeDatabase(draft: CloudState, database: DatabaseRecord, body: Fields): void {
  onlineDatabase(draft, database.id);
  const { size, storage, nodes } = readLayout(body, database);
  if (databaseSizeOf(size).memory < databaseSizeOf(database.size).memory) {
    throw unprocessable("cluster cannot be resized to a smaller size");
  }
  if (storage < database.storage_size_mib) throw unprocessable("storage size cannot be decreased");
  const missing = nodes - database.nodes.length;
  const added = missing > 0 ? freeDatabaseHosts(takenHosts(draft), missing) : [];
  database.leaving_nodes = database.nodes.slice(nodes);
  database.nodes = [...database.nodes.slice(0, nodes), ...added];
  Object.assign(database, { size, storage_size_mib: storage, status: "resizing" });
}

export function readMaintenanceWindow(body: Fields): DatabaseRecord["maintenance_window"] {
  const day = body.text("day").toLowerCase();
  const hour = body.text("hour");
  if (!DAYS.includes(day)) throw unprocessable("invalid maintenance window day");
  if (!/^([01]?\d|2[0-3]):[0-5]\d(:[0-5]\d)?$/.test(hour)) throw unprocessable("invalid maintenance window hour");
  return { day, hour: hour.split(":").length === 2 ? `${hour}:00` : hour };
}

export function newDatabaseUser(name: string, mayReplicate = false): DatabaseUserRecord {
  return { name, password: newDatabasePassword(), may_replicate: mayReplicate };
}

export function newDatabasePassword(): string {
  return `AVNS_${randomBytes(24).toString("base64").replaceAll("+", "-").replaceAll("/", "_").slice(0, 19)}`;
}

function readEngine(body: Fields): void {
  const engine = body.text("engine");
  if (OTHER_ENGINES.includes(engine)) throw notSimulated(`A database cluster with the engine ${engine}`);
  if (engine !== "pg") throw unprocessable("invalid cluster engine");
}

/** @param former  the cluster as it is: it keeps storage that was added to it */
function readLayout(body: Fields, former?: DatabaseRecord) {
  const size = findDatabaseSize(body.text("size"));
  if (!size) throw unprocessable("invalid size");
  const nodes = body.integer("num_nodes");
  if (nodes < 1 || nodes > size.maxNodes) throw unprocessable("invalid node count");
  const given = body.optionalInteger("storage_size_mib") ?? 0;
  const storage = given === 0 ? Math.max(size.storage, former?.storage_size_mib ?? 0) : given;
  if (storage % STORAGE_STEP !== 0 || storage < size.storage || storage > MAX_STORAGE) {
    throw unprocessable("invalid storage size");
  }
  return { size: size.slug, storage, nodes };
}

function takenHosts({ databases }: CloudState): number[] {
  return databases.flatMap(({ nodes, leaving_nodes: leaving }) => [...nodes, ...leaving]);
}
