import type { Hypervisor } from "../droplet/hypervisor.ts";
import type { SandboxHome } from "../home.ts";
import { databaseEntrances } from "./database-specs.ts";
import { follow } from "./follow.ts";
import type { Store } from "./state.ts";

/** Lets the names of database clusters lead to their present servers, and their trusted sources in, after every change. */
export function followDatabases(
  home: SandboxHome,
  store: Store,
  hypervisor: Hypervisor,
  log: (line: string) => void,
): () => Promise<void> {
  let applied = "[]";
  const apply = async () => {
    const entrances = databaseEntrances(home, store.state);
    const wanted = JSON.stringify(entrances);
    if (wanted === applied) return;
    await hypervisor.serveDatabases(entrances);
    applied = wanted;
  };
  return follow(store, "databases", apply, log);
}
