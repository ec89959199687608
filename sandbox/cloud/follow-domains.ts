import type { Hypervisor } from "../droplet/hypervisor.ts";
import { follow } from "./follow.ts";
import { zoneSpecs } from "./specs.ts";
import type { Store } from "./state.ts";

/**
 * Lets the machine room's name server serve the domains, after every change of a record. The API does not wait for it, as names
 * take some time in the cloud.
 */
export function followDomains(store: Store, hypervisor: Hypervisor, log: (line: string) => void): () => Promise<void> {
  let applied = "[]";
  const apply = async () => {
    const zones = zoneSpecs(store.state);
    const wanted = JSON.stringify(zones);
    if (wanted === applied) return;
    await hypervisor.serveZones(zones);
    applied = wanted;
  };
  return follow(store, "domains", apply, log);
}
