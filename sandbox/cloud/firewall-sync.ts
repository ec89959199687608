import type { Peers, Rule } from "./firewall-rules.ts";
import type { FirewallRecord } from "./firewalls.ts";
import type { FirewallRule, FirewallSpec, Hypervisor } from "./hypervisor.ts";
import type { CloudState, Store } from "./state.ts";

/**
 * Keeps the firewalls of the machine room as the state says: after every change that touches them, be it a rule, a tag
 * or a droplet. Applications follow each other and never overlap.
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

  /** Resolves when the state as it is now holds; a failure is logged and shows in the firewalls' status. */
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

  /** Leaves alone what was changed meanwhile: that change has its own application coming. */
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

/** The firewalls with droplets and tags resolved to the machines and addresses they stand for now. */
export function firewallSpecs(state: CloudState): FirewallSpec[] {
  return state.firewalls.map((firewall) => ({
    id: firewall.id,
    dropletIds: state.droplets
      .filter(({ built }) => built)
      .filter(({ id, tags }) => firewall.droplet_ids.includes(id) || tags.some((tag) => firewall.tags.includes(tag)))
      .map(({ id }) => id),
    inbound: firewall.inbound_rules.map((rule) => ruleSpec(state, rule, rule.sources)),
    outbound: firewall.outbound_rules.map((rule) => ruleSpec(state, rule, rule.destinations)),
  }));
}

function ruleSpec(state: CloudState, { protocol, ports }: Rule, peers: Peers): FirewallRule {
  const droplets = state.droplets.filter(
    ({ id, tags }) => peers.droplet_ids?.includes(id) || tags.some((tag) => peers.tags?.includes(tag)),
  );
  return {
    protocol,
    ports: ports === "0" ? "all" : ports,
    addresses: [
      ...(peers.addresses ?? []).map(asNetwork),
      ...droplets.map((droplet) => asNetwork(droplet.public_address)),
    ],
  };
}

function asNetwork(address: string): string {
  if (address.includes("/")) return address;
  return `${address}/${address.includes(":") ? 128 : 32}`;
}
