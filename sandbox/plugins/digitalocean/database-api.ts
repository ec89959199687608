import type { Context } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import { type Client, isNotFound } from "./client.ts";

/** A database cluster as the API returns it. */
export interface Database {
  id: string;
  name: string;
  engine: string;
  version: string;
  size: string;
  region: string;
  num_nodes: number;
  status: string;
  storage_size_mib: number;
  tags: string[] | null;
  connection: Connection;
  private_connection: Connection;
  maintenance_window: { day: string; hour: string };
  private_network_uuid: string;
  project_id: string;
  metrics_endpoints: { host: string; port: number }[];
}

export interface Connection {
  uri: string;
  host: string;
  port: number;
  database: string;
  user: string;
  password: string;
}

/** The official plugin's wait for a cluster; in seconds. */
const TICK = 15;
const TIMEOUT = 1800;

export async function getDatabase({ api }: Client, id: string): Promise<Database> {
  return (await api.request<{ database: Database }>("GET", `/v2/databases/${id}`)).database;
}

/** Waits until a cluster is online. A cluster that does not exist, it awaits without end. */
export async function waitUntilOnline({ client, timeoutSeconds }: Context<Client>, id: string): Promise<void> {
  const most = Math.floor((timeoutSeconds ?? TIMEOUT) / TICK);
  for (let looks = 0; ;) {
    await client.clock.sleep(TICK * 1000);
    let database: Database;
    try {
      database = await getDatabase(client, id);
    } catch (error) {
      if (isNotFound(error)) continue;
      return failed("Error trying to read database cluster state")(error);
    }
    if (database.status === "online") return;
    if (looks >= most) throw new Error("Timeout waiting to database cluster to become online");
    looks++;
  }
}
