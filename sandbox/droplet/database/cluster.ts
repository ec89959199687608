import { existsSync } from "node:fs";
import { mkdir, readdir, readFile, rm } from "node:fs/promises";
import path from "node:path";

import { writeFileAtomically } from "../../atomic-file.ts";
import type { SandboxHome } from "../../home.ts";
import { makeCertificates } from "../../server-certificate.ts";
import { waitFor } from "../../wait-for.ts";
import type { DatabaseFacts, DatabaseSpec } from "../hypervisor.ts";
import type { SandboxNetwork } from "../network.ts";
import { nodeFolder } from "./configuration.ts";
import { clusterFolder, DatabaseNode } from "./node.ts";
import { accountsSql, databaseSql } from "./sql.ts";

const FOLLOW_SECONDS = 60;
const RECOVERY_SECONDS = 300;

/** Arguments: the primary's folder, the backup's name. */
const BACK_UP = `
to=/cluster/backups/$2
rm -rf "$to.new"
setpriv --reuid postgres --regid postgres --init-groups /usr/lib/postgresql/17/bin/pg_basebackup \
  --host "$1" --port 25060 --username _dodb --pgdata "$to.new" --checkpoint fast --wal-method stream --no-sync
rm -rf "$to"
mv "$to.new" "$to"
du -sb "$to" | cut -f 1
`;

/** Runs database clusters. Every method leads to the specified state from any other, so it can be repeated after a crash. */
export class DatabaseClusters {
  readonly #home: SandboxHome;
  readonly #network: SandboxNetwork;

  constructor(home: SandboxHome, network: SandboxNetwork) {
    this.#home = home;
    this.#network = network;
  }

  /** See {@link Hypervisor.runDatabase}. */
  async run(cluster: DatabaseSpec): Promise<DatabaseFacts> {
    const folder = clusterFolder(this.#home, cluster.id);
    for (const part of ["backups", "nodes", "tls", "wal"])
      await mkdir(path.join(folder, part), { recursive: true, mode: 0o700 });
    const authority = await this.#certify(cluster, path.join(folder, "tls"));
    const [primary, ...standbys] = this.#nodes(cluster);
    await this.#runPrimary(cluster, primary, standbys);
    for (const standby of standbys) await this.#runStandby(cluster, primary, standby);
    for (const former of await this.#formerNodes(cluster)) await this.#forget(cluster, former);

    await primary.query(accountsSql(cluster));
    const existing = await databasesOn(primary);
    for (const name of cluster.databases) {
      if (!existing.includes(name)) await primary.query(databaseSql(cluster, name));
    }
    const version = await primary.query("show server_version");
    return { version: version.split(" ")[0] ?? "", authority, databases: await databasesOn(primary) };
  }

  query(cluster: DatabaseSpec, database: string, sql: string): Promise<string> {
    const [primary] = this.#nodes(cluster);
    return primary.query(sql, database);
  }

  kill(node: number): Promise<void> {
    return this.#node(node).kill();
  }

  /** See {@link Hypervisor.backUpDatabase}. */
  async backUp(cluster: DatabaseSpec, backupId: string): Promise<number> {
    const [primary] = this.#nodes(cluster);
    return Number(await primary.run(["sh", "-euc", BACK_UP, "sh", nodeFolder(primary.number), backupId]));
  }

  async delete(cluster: DatabaseSpec): Promise<void> {
    for (const node of [...this.#nodes(cluster), ...(await this.#formerNodes(cluster))])
      await this.#forget(cluster, node);
    await rm(clusterFolder(this.#home, cluster.id), { recursive: true, force: true });
  }

  /** Makes the certificate of the servers, unless there is one. @returns that of its authority */
  async #certify(cluster: DatabaseSpec, folder: string): Promise<string> {
    const chain = path.join(folder, "chain.crt");
    if (!existsSync(chain)) {
      const names = cluster.names.map((name) => `DNS:${name}`);
      await makeCertificates(folder, `database ${cluster.id}`, names);
      // As DigitalOcean's servers, they send the authority's certificate, too.
      const [server, authority] = ["server.crt", "ca.crt"].map((name) => readFile(path.join(folder, name), "utf8"));
      await writeFileAtomically(chain, `${await server}${await authority}`);
    }
    return readFile(path.join(folder, "ca.crt"), "utf8");
  }

  async #runPrimary(cluster: DatabaseSpec, primary: DatabaseNode, others: DatabaseNode[]): Promise<void> {
    if (cluster.restore && primary.isStandby(cluster) === undefined) await this.#completeWal(cluster.restore.cluster);
    const differs = await primary.configure(cluster);
    if (primary.isStandby(cluster) === true) {
      // Another primary must not accept anything that this one will not have.
      for (const other of others) if (other.isStandby(cluster) === false) await other.remove();
      await primary.start(cluster);
      await primary.query("select pg_promote()");
    } else if (differs && (await primary.isRunning())) {
      await primary.apply(cluster);
    }
    await primary.start(cluster);
    await waitFor(`database node ${primary.number} to be the primary`, RECOVERY_SECONDS, async () => {
      return (await primary.query("select pg_is_in_recovery()")) === "f";
    });
    // The settings of a restore must not reach standbys.
    if (cluster.restore) await primary.query("alter system reset all");
  }

  /** Archives what a cluster has written until now, so that it can be restored at any moment of its past. */
  async #completeWal(cluster: DatabaseSpec): Promise<void> {
    const [primary] = this.#nodes(cluster);
    // What a cluster that is down has not archived is lost.
    if (!(await primary.isRunning())) return;
    // A transaction after the wanted moment tells the restore where to stop.
    await primary.query("select pg_current_xact_id()");
    const segment = await primary.query("select pg_walfile_name(pg_switch_wal())");
    await waitFor(`database node ${primary.number} to archive its WAL`, RECOVERY_SECONDS, () =>
      existsSync(path.join(clusterFolder(this.#home, cluster.id), "wal", segment)),
    );
  }

  async #runStandby(cluster: DatabaseSpec, primary: DatabaseNode, standby: DatabaseNode): Promise<void> {
    if (standby.isStandby(cluster) === false) {
      // A former primary may have changes that the present one lacks.
      await standby.remove();
      await standby.dropData(cluster);
    }
    const differs = await standby.configure(cluster);
    if (differs && (await standby.isRunning())) await standby.apply(cluster);
    await standby.start(cluster, primary.number);
    await waitFor(`database node ${standby.number} to follow node ${primary.number}`, FOLLOW_SECONDS, async () => {
      return (await standby.query("select status from pg_stat_wal_receiver")) === "streaming";
    });
  }

  /** Ends a node, and removes what it left. */
  async #forget(cluster: DatabaseSpec, node: DatabaseNode): Promise<void> {
    await node.remove();
    await node.removeAddress();
    await rm(node.folder(cluster), { recursive: true, force: true });
  }

  /** The nodes that the cluster had before it became smaller. */
  async #formerNodes(cluster: DatabaseSpec): Promise<DatabaseNode[]> {
    const folder = path.join(clusterFolder(this.#home, cluster.id), "nodes");
    const folders = existsSync(folder) ? await readdir(folder) : [];
    return folders
      .map(Number)
      .filter((node) => !cluster.nodes.includes(node))
      .map((node) => this.#node(node));
  }

  #nodes({ id, nodes }: DatabaseSpec): [DatabaseNode, ...DatabaseNode[]] {
    const [primary, ...standbys] = nodes.map((node) => this.#node(node));
    if (!primary) throw new Error(`database ${id}: it has no node.`);
    return [primary, ...standbys];
  }

  #node(node: number): DatabaseNode {
    return new DatabaseNode(this.#home, this.#network, node);
  }
}

async function databasesOn(node: DatabaseNode): Promise<string[]> {
  const rows = await node.query(
    "select datname from pg_database where not datistemplate and datname <> 'postgres' order by oid",
  );
  return rows.split("\n").filter(Boolean);
}
