import type { Hypervisor } from "../droplet/hypervisor.ts";
import type { SandboxHome } from "../home.ts";
import type { Faults } from "./faults.ts";
import type { FirewallSync } from "./firewall-sync.ts";
import type { Store } from "./state.ts";

/** What the parts of the cloud share. */
export interface CloudCore {
  home: SandboxHome;
  store: Store;
  hypervisor: Hypervisor;
  faults: Faults;
  firewalls: FirewallSync;
  /** Writes one line to the daemon's log; never a secret. */
  log: (line: string) => void;
}
