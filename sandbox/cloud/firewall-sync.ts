import type { Hypervisor } from "../droplet/hypervisor.ts";
import type { FirewallRecord } from "./records.ts";
import { firewallSpecs } from "./specs.ts";
import type { Store } from "./state.ts";

/**
 * Makes the machine room's firewalls match the state, after every change of a rule, a tag or a droplet. It applies one
 * change after the other.
 */
export class FirewallSync {
  readonly #store: Store;
  readonly #hypervisor: Hypervisor;
  readonly #log: (line: string) => void;
  #applied = "";
  #last: Promise<void> = Promise.resolve();

  constructor(store: Store, hypervisor: Hypervisor, log: (line: string) => void) {
    this.#store = store;
    this.#hypervisor = hypervisor;
    this.#log = log;
    store.onChange(() => void this.sync());
  }

  /** Resolves when the current state is applied; a failure is logged, and the firewalls' status shows it. */
  sync(): Promise<void> {
    this.#last = this.#last
      .then(() => this.#apply())
      .catch((error: unknown) => {
        this.#log(`firewalls: ${String(error)}`);
      });
    return this.#last;
  }

  async #apply(): Promise<void> {
    const { state } = this.#store;
    const waiting = state.firewalls.filter((firewall) => firewall.status === "waiting");
    const specs = firewallSpecs(state);
    const wanted = JSON.stringify(specs);
    if (waiting.length === 0 && wanted === this.#applied) return;
    try {
      await this.#hypervisor.applyFirewalls(specs);
      this.#applied = wanted;
      await this.#mark(waiting, "succeeded");
    } catch (error) {
      await this.#mark(waiting, "failed");
      throw error;
    }
  }

  /** Skips firewalls that changed in the meantime: each change is applied separately. */
  async #mark(applied: FirewallRecord[], status: "succeeded" | "failed"): Promise<void> {
    if (applied.length === 0) return;
    await this.#store.change((draft) => {
      for (const { id, revision } of applied) {
        const firewall = draft.firewalls.find((candidate) => candidate.id === id && candidate.revision === revision);
        if (firewall) firewall.status = status;
      }
    });
  }
}
