import { type Context, resource, unsupported, type ValuesOf } from "../framework/definition.ts";
import { failed, initializing } from "../framework/errors.ts";
import type { PropertyBag } from "../framework/values.ts";
import { type Client, ignoringCase, orGone } from "./client.ts";
import { type Connection, type Database, getDatabase, waitUntilOnline } from "./database-api.ts";
import { updateTags } from "./tags.ts";
import { checks, notEmpty } from "./validation.ts";

const DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

const inputs = {
  name: { type: "string", replaces: true, autoname: { maxLength: 255 } },
  engine: { type: "string", required: true, replaces: true },
  version: { type: "string" },
  size: { type: "string", required: true },
  region: { type: "string", required: true, same: ignoringCase, rewritten: true },
  nodeCount: { type: "integer", required: true },
  maintenanceWindows: {
    type: "list",
    items: {
      type: "object",
      properties: { day: { type: "string", required: true }, hour: { type: "string", required: true, same: sameHour } },
    },
  },
  evictionPolicy: { type: "string" },
  sqlMode: { type: "string" },
  privateNetworkUuid: { type: "string", replaces: true, computed: true },
  projectId: { type: "string", replaces: true, computed: true },
  tags: { type: "set", items: { type: "string" } },
  backupRestore: {
    type: "object",
    properties: { databaseName: { type: "string", required: true }, backupCreatedAt: { type: "string" } },
  },
  storageSizeMib: { type: "string", computed: true },
  ...unsupported("storageAutoscale"),
} as const;

type Inputs = ValuesOf<typeof inputs>;

const outputs = {
  host: { type: "string" },
  privateHost: { type: "string" },
  port: { type: "integer" },
  uri: { type: "string", secret: true },
  privateUri: { type: "string", secret: true },
  database: { type: "string" },
  user: { type: "string" },
  password: { type: "string", secret: true },
  clusterUrn: { type: "string" },
  metricsEndpoints: { type: "list", items: { type: "string" } },
} as const;

/** The resource's values; `known` are those of the state or the program. */
function read(database: Database, known: Partial<Inputs> & { password?: string | undefined }) {
  const { connection, private_connection: privateConnection } = database;
  const { maintenanceWindows } = known;
  return {
    name: database.name,
    engine: database.engine,
    version: database.version,
    size: database.size,
    region: database.region,
    nodeCount: database.num_nodes,
    storageSizeMib: String(database.storage_size_mib),
    tags: database.tags ?? [],
    ...(maintenanceWindows?.length && {
      maintenanceWindows: [{ day: database.maintenance_window.day, hour: database.maintenance_window.hour }],
    }),
    host: connection.host,
    port: connection.port,
    // With the former password, as in the official plugin: the next refresh has the new one.
    uri: uriOf(connection, known.password),
    database: connection.database,
    user: connection.user,
    password: connection.password,
    privateHost: privateConnection.host,
    privateUri: uriOf(privateConnection, connection.password),
    metricsEndpoints: database.metrics_endpoints.map(({ host, port }) => `https://${host}:${port}/metrics`),
    clusterUrn: `do:dbaas:${database.id}`,
    privateNetworkUuid: database.private_network_uuid,
    projectId: database.project_id,
  };
}

function uriOf({ uri, user, password: present }: Connection, password = present): string {
  const url = new URL(uri);
  url.username = user;
  url.password = password;
  return url.href;
}

/** What Terraform calls a customized difference. */
function plan({ engine, version, evictionPolicy, sqlMode }: PropertyBag): void {
  if (version === undefined || version === "") {
    throw new Error('The argument "version" is required, but no definition was found.');
  }
  if (sqlMode !== undefined && engine !== "mysql") {
    throw new Error("sql_mode is only supported for MySQL Database Clusters");
  }
  if (evictionPolicy !== undefined && engine !== "redis" && engine !== "valkey") {
    throw new Error("eviction_policy is only supported for Redis or Valkey Database Clusters");
  }
}

async function setMaintenanceWindow({ api }: Client, id: string, window: { day: string; hour: string }): Promise<void> {
  await api.request("PUT", `/v2/databases/${id}/maintenance`, { day: window.day, hour: window.hour });
}

/** Sends one change of a cluster, and waits until it is online again. */
async function changeAndWait(context: Context<Client>, id: string, part: string, body: object, doing: string) {
  await context.client.api.request("PUT", `/v2/databases/${id}/${part}`, body).catch(failed(doing));
  await waitUntilOnline(context, id).catch(failed(doing));
}

export const databaseCluster = resource<Client>()({
  inputs,
  outputs,
  timeouts: { create: 1800 },

  check: checks(
    notEmpty("name", "engine", "size", "region", "privateNetworkUuid", "projectId", "evictionPolicy"),
    (given) => (given["nodeCount"] === 0 ? [{ property: "nodeCount", reason: "nodeCount must not be zero" }] : []),
    ({ maintenanceWindows }) =>
      objects(maintenanceWindows).flatMap(({ day }, index) =>
        typeof day !== "string" || DAYS.includes(day.toLowerCase())
          ? []
          : [{ property: `maintenanceWindows[${index}].day`, reason: `expected day to be one of ${DAYS.join(", ")}` }],
      ),
  ),
  plan,

  create: async (context, given) => {
    const { client } = context;
    const { database } = await client.api
      .request<{ database: Database }>("POST", "/v2/databases", {
        name: given.name,
        engine: given.engine,
        version: given.version,
        size: given.size,
        region: given.region,
        num_nodes: given.nodeCount,
        tags: given.tags ?? [],
        private_network_uuid: given.privateNetworkUuid,
        project_id: given.projectId,
        storage_size_mib: given.storageSizeMib === undefined ? undefined : Number(given.storageSizeMib),
        backup_restore: given.backupRestore && {
          database_name: given.backupRestore.databaseName,
          backup_created_at: given.backupRestore.backupCreatedAt,
        },
      })
      .catch(failed("Error creating database cluster"));
    const { id } = database;
    // If this fails, the cluster exists, but is not in the state, as with the official plugin.
    await waitUntilOnline(context, id).catch(failed("Error creating database cluster"));
    return {
      id,
      outputs: await initializing(id, {}, async () => {
        const [window] = given.maintenanceWindows ?? [];
        if (window) {
          await setMaintenanceWindow(client, id, window).catch(
            failed("Error adding maintenance window for database cluster"),
          );
        }
        const online = await getDatabase(client, id).catch(failed("Error retrieving database cluster"));
        return read(online, given);
      }),
    };
  },

  read: async ({ client }, { id, state }) => {
    const database = await orGone(getDatabase(client, id).catch(failed("Error retrieving database cluster")));
    return database && read(database, state);
  },

  update: async (context, { id, state }, given, changed) => {
    const { client } = context;
    if (changed.has("size") || changed.has("nodeCount") || changed.has("storageSizeMib")) {
      const storage = changed.has("storageSizeMib") ? Number(given.storageSizeMib) : undefined;
      const body = { size: given.size, num_nodes: given.nodeCount, storage_size_mib: storage };
      await changeAndWait(context, id, "resize", body, "Error resizing database cluster");
    }
    if (changed.has("region")) {
      await changeAndWait(context, id, "migrate", { region: given.region }, "Error migrating database cluster");
    }
    const [window] = given.maintenanceWindows ?? [];
    if (changed.has("maintenanceWindows") && window) {
      await setMaintenanceWindow(client, id, window).catch(
        failed("Error updating maintenance window for database cluster"),
      );
    }
    if (changed.has("version")) {
      await client.api
        .request("PUT", `/v2/databases/${id}/upgrade`, { version: given.version })
        .catch(failed("Error upgrading version for database cluster"));
    }
    if (changed.has("tags")) {
      await updateTags(client.api, { type: "database", id }, state.tags ?? [], given.tags ?? []).catch(
        failed("Error updating tags"),
      );
    }
    const database = await getDatabase(client, id).catch(failed("Error retrieving database cluster"));
    return read(database, { ...given, password: state.password });
  },

  delete: async ({ client }, { id }) => {
    await client.api.request("DELETE", `/v2/databases/${id}`).catch(failed("Error deleting database cluster"));
  },
});

/** The API adds seconds. */
function sameHour(state: unknown, input: unknown): boolean {
  const minutes = (hour: unknown) => String(hour).split(":").slice(0, 2).join(":");
  return minutes(state) === minutes(input);
}

function objects(list: unknown): PropertyBag[] {
  return Array.isArray(list)
    ? list.filter((item): item is PropertyBag => typeof item === "object" && item !== null)
    : [];
}
