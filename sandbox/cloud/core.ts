import type { Hypervisor } from "../droplet/hypervisor.ts";
import type { SandboxHome } from "../home.ts";
import type { Faults } from "./faults.ts";
import type { Spaces } from "../spaces/spaces.ts";
import type { Store } from "./state.ts";

/** What the parts of the cloud share. */
export interface CloudCore {
  home: SandboxHome;
  store: Store;
  hypervisor: Hypervisor;
  faults: Faults;
  spaces: Spaces;
  /** Resolves when the firewalls of the current state are in force. A failure is in their status. */
  applyFirewalls: () => Promise<void>;
  /** Resolves when exactly the keys of the current state are valid, and droplets reach Spaces. */
  applySpacesKeys: () => Promise<void>;
  /** Resolves when the names and the trusted sources of database clusters are those of the current state. */
  applyDatabaseAccess: () => Promise<void>;
  /** Writes one line to the daemon's log; never a secret. */
  log: (line: string) => void;
}
