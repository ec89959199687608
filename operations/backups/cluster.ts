import { setTimeout } from "node:timers/promises";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import type { Values } from "../../contract/scripts.ts";
import { type Account, RefusedError } from "../../digitalocean/account.ts";
import { furtherDatabases } from "../databases.ts";
import { accountOf, NO_TOKEN } from "../droplet.ts";
import { isManaged } from "../findings/expected.ts";
import type { State } from "../state.ts";
import { npmCommand } from "../typed.ts";
import { runScript } from "./on-droplet.ts";

/** The clusters that are only there for a while. What has it, and the stack's name, the next run removes. */
const TAG = "convex-droplet-restored";
/** Seconds between two looks, between two messages, and until a run gives up. */
const [LOOK, TELL, LIMIT] = [5, 30, 90 * 60];
/** The newest part of the log may not be saved yet. */
const SETTLED = 5 * 60;

/** A cluster that is only there for a while. */
export interface RestoredCluster {
  id: string;
  name: string;
  /** RFC 3339. */
  created_at: string;
  tags: string[] | null;
}

/** A cluster, as far as this needs it. */
interface Cluster extends RestoredCluster {
  status: string;
  version: string;
  region: string;
  size: string;
  storage_size_mib?: number;
  private_network_uuid: string;
  private_connection: { host: string; port: number; user: string; password: string };
}

/** What machine/backups/compare-cluster.sh prints. */
interface Compared {
  databases: { name: string; tables: number; rows: number }[];
  newest: string | null;
  problems: string[];
}

/**
 * Since when DigitalOcean can restore a stack's managed database to every moment, RFC 3339: since the oldest backup that it keeps. Undefined
 * if the database is not managed, or DigitalOcean cannot be asked.
 */
export async function keptSince(state: State): Promise<string | undefined> {
  const account = accountOf(state);
  if (!isManaged(state) || account === undefined) return undefined;
  return oldestBackup(account, clusterOf(state)).catch(() => undefined);
}

/** Another cluster of a moment, and how the droplet can log in to it. */
export interface Restored {
  moment: string;
  /** How long DigitalOcean has taken to make it. */
  seconds: number;
  /** The first values of the machine's scripts that use it; contains its password. */
  server: Values;
}

/**
 * Proves that the cluster can be restored: lets DigitalOcean make another one of a moment, and compares it from the droplet.
 *
 * @param to  a moment, RFC 3339; empty for the newest that is surely saved
 * @returns the process's exit code
 * @throws Error if the database is not managed, or DigitalOcean or the droplet cannot be asked
 */
export async function drillCluster(state: State, to: string): Promise<number> {
  const { stack } = state;
  if (!isManaged(state)) {
    throw new Error(
      `stack ${stack}: its database is on the droplet, --cluster needs a managed one. Prove its backups with: ${npmCommand(stack, "drill")}`,
    );
  }
  return withRestored(state, to, async ({ moment, seconds: made, server }) => {
    const { exitCode, stdout } = await runScript(state, "compare-cluster.sh", {
      ...server,
      moment: Math.floor(Date.parse(moment) / 1000),
      databases: databasesIn(state),
    });
    if (exitCode !== 0) return 1;
    const compared = JSON.parse(stdout) as Compared;
    process.stdout.write(asText(compared, moment, made));
    return compared.problems.length === 0 ? 0 : 1;
  });
}

/** The databases of a stack, Convex's first. */
export function databasesIn(state: State): string[] {
  return [String(state.get(TYPES.database, RESOURCES.database).inputs["name"]), ...furtherDatabases(state)];
}

/**
 * Lets DigitalOcean make another cluster of a moment, which admits only the stack's droplet, and removes it in every case. One that a
 * killed run has left is removed first.
 *
 * @param to  a moment, RFC 3339; empty for the newest that is surely saved
 * @throws Error if there is no token, the moment cannot be restored, or DigitalOcean refuses
 */
export async function withRestored<T>(state: State, to: string, use: (restored: Restored) => Promise<T>): Promise<T> {
  const account = accountOf(state);
  if (account === undefined) throw new Error(NO_TOKEN);
  const id = clusterOf(state);
  const moment = await momentIn(account, id, to);
  const { database: own } = await account.ask<{ database: Cluster }>("GET", `/v2/databases/${id}`);
  const name = restoredName(own.name);
  await removeAll(account, own.name, "that an earlier run has left");

  const stopped = new AbortController();
  const stop = () => {
    stopped.abort(new Error("stopped before the other cluster was there"));
  };
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, stop);
  const started = Date.now();
  tell(`making another cluster of ${moment}. It costs as much as one node of ${own.size}, for as long as it is there`);
  try {
    const restored = await make(account, own, name, { moment, droplet: dropletOf(state) }, stopped.signal);
    const made = seconds(started);
    tell(`it is online after ${made} s`);
    const { ca } = await account.ask<{ ca: { certificate: string } }>("GET", `/v2/databases/${restored.id}/ca`);
    const { host, port, user, password } = restored.private_connection;
    const authority = Buffer.from(ca.certificate, "base64").toString().trim().split("\n");
    return await use({ moment, seconds: made, server: { host, port, user, password, authority } });
  } finally {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.off(signal, stop);
    await removeAll(account, own.name, "again");
  }
}

function clusterOf(state: State): string {
  return state.get(TYPES.cluster, RESOURCES.cluster).id;
}

function dropletOf(state: State): string {
  return state.get(TYPES.droplet, RESOURCES.droplet).id;
}

async function oldestBackup(account: Account, id: string): Promise<string | undefined> {
  const { backups } = await account.ask<{ backups: { created_at: string }[] | null }>(
    "GET",
    `/v2/databases/${id}/backups`,
  );
  return (backups ?? [])
    .map(({ created_at: made }) => made)
    .toSorted()
    .at(0);
}

/** @throws Error if it cannot be restored */
async function momentIn(account: Account, id: string, to: string): Promise<string> {
  const oldest = await oldestBackup(account, id);
  if (oldest === undefined) {
    throw new Error(
      "the cluster: has no backup yet, it should have one. DigitalOcean makes the first one soon after the cluster: wait",
    );
  }
  const newest = Math.max(Date.now() - SETTLED * 1000, Date.parse(oldest));
  const wanted = to === "" ? newest : Date.parse(to);
  if (!(wanted >= Date.parse(oldest) && wanted <= Date.now())) {
    throw new Error(`--to: is "${to}", it should be a moment from ${oldest} to now, such as ${utc(newest)}`);
  }
  return utc(wanted);
}

/** Makes a cluster of a moment, which admits only the stack's droplet, and waits until it is online. */
async function make(
  account: Account,
  { name: source, version, region, size, storage_size_mib: storage, private_network_uuid: network }: Cluster,
  name: string,
  { moment, droplet }: { moment: string; droplet: string },
  signal: AbortSignal,
): Promise<Cluster> {
  const { database } = await account.ask<{ database: Cluster }>("POST", "/v2/databases", {
    ...{ name, engine: "pg", version, region, size, num_nodes: 1, tags: [TAG] },
    ...(storage === undefined ? {} : { storage_size_mib: storage }),
    private_network_uuid: network,
    backup_restore: { database_name: source, backup_created_at: moment },
    rules: [{ type: "droplet", value: droplet }],
  });
  const started = Date.now();
  let told = started;
  for (;;) {
    const { database: found } = await account.ask<{ database: Cluster }>("GET", `/v2/databases/${database.id}`);
    if (found.status === "online") return found;
    if (seconds(started) > LIMIT) {
      throw new Error(`the restored cluster: is still ${found.status} after ${LIMIT / 60} min, it should be online`);
    }
    if (seconds(told) >= TELL) {
      told = Date.now();
      tell(`DigitalOcean has been at work for ${seconds(started)} s, usually 5 to 15 minutes`);
    }
    await setTimeout(LOOK * 1000, undefined, { signal });
  }
}

function restoredName(source: string): string {
  return `${source}-restored`;
}

/**
 * The clusters that a drill or a restore has made of another one, `source`, and not removed yet.
 *
 * @throws Error if the cloud cannot be asked
 */
export async function restoredClusters(account: Account, source: string): Promise<RestoredCluster[]> {
  const found = await account.list<RestoredCluster>(`/v2/databases?tag_name=${TAG}`, "databases");
  return found.filter(({ name, tags }) => name === restoredName(source) && tags?.includes(TAG) === true);
}

/** Removes the clusters that were made of another one, and waits until they are gone, because names are unique. */
async function removeAll(account: Account, source: string, which: string): Promise<void> {
  for (const { id } of await restoredClusters(account, source)) {
    const byHand = `It costs money until it is removed. Remove it with: doctl databases delete ${id}`;
    try {
      await account.ask("DELETE", `/v2/databases/${id}`);
      const started = Date.now();
      while (!(await isGone(account, id))) {
        if (seconds(started) > LIMIT) throw new Error(`it is still there after ${LIMIT / 60} min`);
        await setTimeout(LOOK * 1000);
      }
    } catch (error) {
      if (error instanceof RefusedError && error.status === 404) continue;
      throw new Error(`the other cluster: cannot be removed: ${String(error)}. ${byHand}`, { cause: error });
    }
    tell(`removed the other cluster ${which}`);
  }
}

async function isGone(account: Account, id: string): Promise<boolean> {
  try {
    await account.ask("GET", `/v2/databases/${id}`);
    return false;
  } catch (error) {
    if (error instanceof RefusedError && error.status === 404) return true;
    throw error;
  }
}

function asText({ databases, newest, problems }: Compared, moment: string, made: number): string {
  return [
    `The cluster of ${moment} was there after ${made} s:`,
    ...databases.map(({ name, tables, rows }) => `  ${name}: ${tables} tables, ${rows} rows`),
    newest === null ? "It has no document" : `Its newest document is of ${newest}`,
    ...problems.map((problem) => `error: ${problem}`),
    problems.length === 0 ? "The cluster can be restored." : "The cluster was not restored as it should be, see above.",
    "",
  ].join("\n");
}

function tell(text: string): void {
  process.stderr.write(`cluster: ${text}\n`);
}

function seconds(since: number): number {
  return Math.round((Date.now() - since) / 1000);
}

function utc(milliseconds: number): string {
  return `${new Date(milliseconds).toISOString().slice(0, 19)}Z`;
}
