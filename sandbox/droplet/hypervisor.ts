/**
 * What the cloud simulator asks of the machine room below it. `sandbox/droplet` does it with containers and loop
 * devices; a contract test of the API alone may use a stand-in that only remembers what it was asked.
 *
 * Every method is idempotent: asking twice, or after a crash in the middle, ends in the same state.
 */
export interface Hypervisor {
  /** Creates the droplet's machine, attaches its volumes and starts to boot it. Resolves once it is booting. */
  createDroplet(droplet: DropletSpec): Promise<void>;
  /** Whether the machine runs now. A reboot asked for from inside the droplet counts as running. */
  dropletStatus(dropletId: number): Promise<"running" | "stopped" | "absent">;
  /** Boots a stopped droplet; does nothing to a running one. Its volumes are there again before its init starts. */
  startDroplet(dropletId: number): Promise<void>;
  /** `graceful` asks the init to shut down and waits; otherwise the power is cut. */
  stopDroplet(dropletId: number, how: "graceful" | "power-cut"): Promise<void>;
  rebootDroplet(dropletId: number): Promise<void>;
  /** Applies memory and processors; the droplet must be stopped. */
  resizeDroplet(dropletId: number, size: MachineSize): Promise<void>;
  /** Removes the machine and its root disk; volumes are detached first and keep their data. */
  destroyDroplet(dropletId: number): Promise<void>;

  /** Creates the sparse disk of a volume. */
  createVolume(volume: VolumeSpec): Promise<void>;
  /** Grows the disk; an attached droplet sees the new size at once. */
  growVolume(volumeId: string, sizeGigabytes: number): Promise<void>;
  /** Removes the disk and its data; the volume must be detached. */
  deleteVolume(volumeId: string): Promise<void>;
  /** Hot-attaches: the droplet sees `/dev/disk/by-id/scsi-0DO_Volume_<name>`, again after each reboot. */
  attachVolume(volumeId: string, dropletId: number): Promise<void>;
  /** Detaches, as the cloud does: without asking the droplet, whether mounted or not. */
  detachVolume(volumeId: string): Promise<void>;

  /** Replaces all cloud firewalls. A droplet named in none of them is open; one named in any admits only what a rule allows. */
  applyFirewalls(firewalls: FirewallSpec[]): Promise<void>;
}

export interface MachineSize {
  memoryMegabytes: number;
  vcpus: number;
}

export interface DropletSpec extends MachineSize {
  id: number;
  name: string;
  region: string;
  /** The address the droplet answers at from this computer; given out by the cloud. */
  publicAddress: string;
  /** What cloud-init gets, byte for byte; root-only on the droplet, served by its metadata service too. */
  userData?: string;
  /** OpenSSH public keys for root. */
  sshKeys: string[];
  volumeIds: string[];
}

/** As the API reference says since August 2024; it was seven before. */
export const MAX_VOLUMES_PER_DROPLET = 15;

export interface VolumeSpec {
  id: string;
  name: string;
  sizeGigabytes: number;
  /** When set, the disk is born with this file system, as the API's `filesystem_type` does. */
  filesystem?: { type: "ext4" | "xfs"; label?: string };
}

export interface FirewallRule {
  protocol: "tcp" | "udp" | "icmp";
  /** A port, a range `8000-9000`, or `all`. */
  ports: string;
  /** Source (or destination) networks in CIDR notation. */
  addresses: string[];
}

export interface FirewallSpec {
  id: string;
  dropletIds: number[];
  inbound: FirewallRule[];
  outbound: FirewallRule[];
}
