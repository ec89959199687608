import type { SandboxHome } from "../home.ts";
import { ActionRunner } from "./action-runner.ts";
import type { CloudCore } from "./core.ts";
import { Faults } from "./faults.ts";
import { FirewallSync } from "./firewall-sync.ts";
import type { Hypervisor } from "../droplet/hypervisor.ts";
import { reconcile } from "./reconcile.ts";
import { Store } from "./state.ts";
import { ZoneSync } from "./zone-sync.ts";

export interface Cloud extends CloudCore {
  actions: ActionRunner;
}

/**
 * Opens a sandbox's cloud on its machine room, makes the machines match the state, and continues the actions that an
 * earlier process left in progress. Only one process may have it open.
 */
export async function openCloud(
  home: SandboxHome,
  hypervisor: Hypervisor,
  log: (line: string) => void,
): Promise<Cloud & AsyncDisposable> {
  const store = await Store.open(home);
  const firewalls = new FirewallSync(store, hypervisor, log);
  const zones = new ZoneSync(store, hypervisor, log);
  const core: CloudCore = { home, store, hypervisor, faults: new Faults(), firewalls, log };
  await reconcile(core);
  const actions = new ActionRunner(core);
  actions.resume();
  void zones.sync();
  return {
    ...core,
    actions,
    [Symbol.asyncDispose]: async () => {
      await actions[Symbol.asyncDispose]();
      await Promise.all([firewalls.sync(), zones.sync()]);
    },
  };
}
