import type { SandboxHome } from "../home.ts";
import { ActionRunner } from "./action-runner.ts";
import type { CloudCore } from "./core.ts";
import { DatabaseRunner } from "./database-runner.ts";
import { Faults } from "./faults.ts";
import { followDatabases } from "./follow-databases.ts";
import { followDomains } from "./follow-domains.ts";
import { followFirewalls } from "./follow-firewalls.ts";
import { followSpacesKeys } from "./follow-spaces-keys.ts";
import type { Hypervisor } from "../droplet/hypervisor.ts";
import { reconcile } from "./reconcile.ts";
import { Spaces } from "../spaces/spaces.ts";
import { Store } from "./state.ts";

export interface Cloud extends CloudCore {
  actions: ActionRunner;
  databases: DatabaseRunner;
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
  const applyFirewalls = followFirewalls(store, hypervisor, log);
  const serveDomains = followDomains(store, hypervisor, log);
  const faults = new Faults();
  const spaces = new Spaces(home, (...request) => faults.takeSpaces(...request), log);
  await spaces.open();
  const applySpacesKeys = followSpacesKeys(store, spaces, hypervisor, log);
  const applyDatabaseAccess = followDatabases(home, store, hypervisor, log);
  const core: CloudCore = {
    ...{ home, store, hypervisor, faults, spaces, log },
    ...{ applyFirewalls, applySpacesKeys, applyDatabaseAccess },
  };
  await reconcile(core);
  const actions = new ActionRunner(core);
  actions.resume();
  const databases = new DatabaseRunner(core);
  void serveDomains();
  void applySpacesKeys();
  void applyDatabaseAccess();
  databases.resume();
  return {
    ...core,
    actions,
    databases,
    [Symbol.asyncDispose]: async () => {
      await actions[Symbol.asyncDispose]();
      await databases[Symbol.asyncDispose]();
      await Promise.all([applyFirewalls(), serveDomains(), applySpacesKeys(), applyDatabaseAccess()]);
      await spaces[Symbol.asyncDispose]();
    },
  };
}
