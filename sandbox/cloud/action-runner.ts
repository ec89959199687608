import { actionType, endAction } from "./actions.ts";
import type { CloudCore } from "./core.ts";
import { perform } from "./perform.ts";
import type { ActionRecord } from "./records.ts";

/**
 * Runs actions in the background. An action in progress is in the state with everything that it needs, so if the process
 * dies, the next one repeats it from the start.
 */
export class ActionRunner implements AsyncDisposable {
  readonly #cloud: CloudCore;
  readonly #running = new Set<Promise<void>>();
  readonly #stopping = new AbortController();

  constructor(cloud: CloudCore) {
    this.#cloud = cloud;
  }

  start(action: ActionRecord): void {
    const run = this.#run(action)
      .catch((error: unknown) => {
        // The state could not be written: the action stays in progress, and the next process repeats it.
        this.#cloud.log(`action ${action.id}: ${String(error)}`);
      })
      .finally(() => this.#running.delete(run));
    this.#running.add(run);
  }

  /** Starts the actions that an earlier process left in progress. */
  resume(): void {
    for (const action of this.#cloud.store.state.actions) {
      if (action.status === "in-progress") this.start(action);
    }
  }

  /** Waits for the running actions, but not for those that wait for the end of a fault: they stay in progress. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopping.abort();
    await Promise.all(this.#running);
  }

  async #run({ id, work }: ActionRecord): Promise<void> {
    const { faults, log, store } = this.#cloud;
    try {
      if (faults.takeAction(actionType(work))) throw new Error("told to fail");
      const effect = await perform(this.#cloud, work, this.#stopping.signal);
      await store.change((draft) => {
        effect(draft);
        endAction(draft, id, "completed");
      });
    } catch (error) {
      if (this.#stopping.signal.aborted) return;
      log(`action ${id} ${work.kind}: ${String(error)}`);
      await store.change((draft) => {
        endAction(draft, id, "errored");
      });
    }
  }
}
