import { databaseConnection, databaseNames } from "../database-specs.ts";
import { databaseUrn, projectOf } from "../project-resources.ts";
import type { CloudState, DatabaseRecord, DatabaseRule, DatabaseUserRecord } from "../records.ts";
import { databaseVersion } from "../database-versions.ts";

export function databaseView(state: CloudState, database: DatabaseRecord) {
  const names = databaseNames(database);
  const version = databaseVersion(database.version);
  const connection = (host: string) => databaseConnection(database, host);
  return {
    id: database.id,
    name: database.name,
    engine: "pg",
    version: database.version,
    semantic_version: database.facts?.version ?? database.version,
    connection: connection(names.public),
    private_connection: connection(names.private),
    ...(database.nodes.length > 1 && {
      standby_connection: connection(names.standby),
      standby_private_connection: connection(names.privateStandby),
    }),
    users: database.status === "creating" ? null : database.users.map((user, index) => userView(user, index === 0)),
    db_names: database.status === "creating" ? null : database.db_names,
    num_nodes: database.nodes.length,
    region: database.region,
    status: database.status,
    created_at: database.created_at,
    maintenance_window: { ...database.maintenance_window, pending: false, description: [] },
    size: database.size,
    tags: database.tags.length > 0 ? database.tags : null,
    private_network_uuid: database.private_network_uuid,
    project_id: projectOf(state, databaseUrn(database.id))?.id,
    rules: database.rules.map((rule) => ruleView(database, rule)),
    version_end_of_life: version?.end_of_life,
    version_end_of_availability: version?.end_of_availability,
    storage_size_mib: database.storage_size_mib,
    metrics_endpoints: [
      { host: names.public, port: 9273 },
      ...(database.nodes.length > 1 ? [{ host: names.standby, port: 9273 }] : []),
    ],
    do_settings: { service_cnames: [] },
  };
}

export function ruleView({ id }: DatabaseRecord, rule: DatabaseRule) {
  return { ...rule, cluster_uuid: id };
}

export function userView(
  { name, password, may_replicate: mayReplicate }: DatabaseUserRecord,
  isAdministrator: boolean,
) {
  return {
    name,
    role: isAdministrator ? "primary" : "normal",
    password,
    settings: { pg_allow_replication: mayReplicate || isAdministrator },
  };
}
