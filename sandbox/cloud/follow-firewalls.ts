import type { Hypervisor } from "../droplet/hypervisor.ts";
import { follow } from "./follow.ts";
import type { FirewallRecord } from "./records.ts";
import { firewallSpecs } from "./specs.ts";
import type { Store } from "./state.ts";

/** Lets the machine room's packet filter do what the firewalls say, after every change of a rule, a tag or a droplet. */
export function followFirewalls(
  store: Store,
  hypervisor: Hypervisor,
  log: (line: string) => void,
): () => Promise<void> {
  let applied = "";
  const apply = async () => {
    const waiting = store.state.firewalls.filter((firewall) => firewall.status === "waiting");
    const specs = firewallSpecs(store.state);
    const wanted = JSON.stringify(specs);
    if (waiting.length === 0 && wanted === applied) return;
    try {
      await hypervisor.applyFirewalls(specs);
      applied = wanted;
      await mark(store, waiting, "succeeded");
    } catch (error) {
      await mark(store, waiting, "failed");
      throw error;
    }
  };
  return follow(store, "firewalls", apply, log);
}

/** Skips firewalls that changed in the meantime: each change is applied separately. */
async function mark(store: Store, applied: FirewallRecord[], status: "succeeded" | "failed"): Promise<void> {
  if (applied.length === 0) return;
  await store.change((draft) => {
    for (const { id, revision } of applied) {
      const firewall = draft.firewalls.find((candidate) => candidate.id === id && candidate.revision === revision);
      if (firewall) firewall.status = status;
    }
  });
}
