import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { removeDatabase } from "./changes.ts";
import type { CloudCore } from "./core.ts";
import { databaseSpec } from "./database-specs.ts";

/** After a failure, it tries again, as nobody else would. */
const RETRY_MILLISECONDS = 2000;

/**
 * Makes the servers of database clusters follow the state, in the background, each cluster for itself. What a cluster should
 * be is in the state, so if the process dies, the next one continues.
 */
export class DatabaseRunner implements AsyncDisposable {
  readonly #cloud: CloudCore;
  readonly #running = new Map<string, Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(cloud: CloudCore) {
    this.#cloud = cloud;
  }

  /** Makes the servers of a cluster what the state says now. @returns when they are; rejects after the first failure */
  bring(id: string): Promise<void> {
    const done = (this.#running.get(id) ?? Promise.resolve()).then(() => this.#bringOnce(id));
    const settled = done.catch((error: unknown) => {
      this.#cloud.log(`database ${id}: ${String(error)}`);
      void this.#again(id);
    });
    this.#running.set(id, settled);
    return done;
  }

  /** Like {@link bring}, in the background. */
  start(id: string): void {
    this.bring(id).catch(() => undefined);
  }

  /** Starts the servers after a restart, and continues what an earlier process left. */
  resume(): void {
    for (const { id } of this.#cloud.store.state.databases) this.start(id);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#running.values());
  }

  /** Makes one more backup of a cluster. */
  async backUp(id: string): Promise<void> {
    await this.#running.get(id);
    await this.#backUp(id);
  }

  async #backUp(id: string): Promise<void> {
    const { hypervisor, store } = this.#cloud;
    const database = store.state.databases.find((candidate) => candidate.id === id);
    if (database?.status !== "online") return;
    const backupId = randomUUID();
    const bytes = await hypervisor.backUpDatabase(databaseSpec(store.state, database), backupId);
    // The API's times have whole seconds; this one must not be before the backup's end.
    const created = `${new Date(Math.ceil(Date.now() / 1000) * 1000).toISOString().slice(0, 19)}Z`;
    await store.change((draft) => {
      const backups = draft.databases.find((candidate) => candidate.id === id)?.backups;
      backups?.push({ id: backupId, created_at: created, size_gigabytes: bytes / 2 ** 30 });
    });
  }

  async #again(id: string): Promise<void> {
    await sleep(RETRY_MILLISECONDS, undefined, { signal: this.#stopping.signal, ref: false }).catch(() => undefined);
    if (!this.#stopping.signal.aborted) this.start(id);
  }

  async #bringOnce(id: string): Promise<void> {
    const { faults, hypervisor, store } = this.#cloud;
    const database = store.state.databases.find((candidate) => candidate.id === id);
    if (!database || this.#stopping.signal.aborted) return;
    const { revision, status } = database;
    if (status === "deleting") {
      await hypervisor.deleteDatabase(databaseSpec(store.state, database));
      await store.change((draft) => {
        removeDatabase(draft, id);
      });
      return;
    }
    if (status !== "online" && faults.takeAction(`database_${status}`)) throw new Error(`${status}: told to fail`);
    const { databases, ...facts } = await hypervisor.runDatabase(databaseSpec(store.state, database));
    await store.change((draft) => {
      const brought = draft.databases.find((candidate) => candidate.id === id && candidate.revision === revision);
      if (!brought) return;
      brought.facts = facts;
      brought.leaving_nodes = [];
      if (brought.status === "forking") brought.db_names = databases;
      brought.status = "online";
    });
    // As in the cloud, the first backup is made soon, and everything after it can be restored.
    if (database.backups.length === 0) await this.#backUp(id);
  }
}
