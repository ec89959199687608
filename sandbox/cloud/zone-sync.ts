import type { Hypervisor } from "../droplet/hypervisor.ts";
import { zoneSpecs } from "./specs.ts";
import type { Store } from "./state.ts";

/**
 * Makes the machine room's name server match the domains, after every change of a record. The API does not wait for it,
 * as names take some time in the cloud.
 */
export class ZoneSync {
  readonly #store: Store;
  readonly #hypervisor: Hypervisor;
  readonly #log: (line: string) => void;
  #applied = "[]";
  #last: Promise<void> = Promise.resolve();

  constructor(store: Store, hypervisor: Hypervisor, log: (line: string) => void) {
    this.#store = store;
    this.#hypervisor = hypervisor;
    this.#log = log;
    store.onChange(() => void this.sync());
  }

  /** Resolves when the current domains are served, or when the failure is logged; the next change tries again. */
  sync(): Promise<void> {
    this.#last = this.#last
      .then(() => this.#apply())
      .catch((error: unknown) => {
        this.#log(`domains: ${String(error)}`);
      });
    return this.#last;
  }

  async #apply(): Promise<void> {
    const zones = zoneSpecs(this.#store.state);
    const wanted = JSON.stringify(zones);
    if (wanted === this.#applied) return;
    await this.#hypervisor.serveZones(zones);
    this.#applied = wanted;
  }
}
