import type { Hypervisor } from "../droplet/hypervisor.ts";
import type { Spaces } from "../spaces/spaces.ts";
import { follow } from "./follow.ts";
import type { Store } from "./state.ts";

/** Makes the keys of Spaces valid after every change, and with the first one, lets droplets reach Spaces. */
export function followSpacesKeys(
  store: Store,
  spaces: Spaces,
  hypervisor: Hypervisor,
  log: (line: string) => void,
): () => Promise<void> {
  let applied = "";
  const apply = async () => {
    const keys = store.state.spaces_keys;
    const wanted = JSON.stringify(keys);
    if (wanted === applied) return;
    await spaces.setKeys(keys);
    if (keys.length > 0) await hypervisor.serveSpaces(spaces.serve);
    applied = wanted;
  };
  return follow(store, "spaces keys", apply, log);
}
