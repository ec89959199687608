import type { RequestListener } from "node:http";

/**
 * What the cloud simulator needs from a machine room. The one in this folder uses containers and loop devices; contract
 * tests of the API alone use a stand-in that only records the calls.
 *
 * Every method is idempotent: a second call, or one after a crash in the middle, leads to the same state.
 */
export interface Hypervisor {
  /** Creates the droplet's machine, attaches its volumes and boots it. Resolves when the boot has started. */
  createDroplet(droplet: DropletSpec): Promise<void>;
  /** Whether the machine runs now. A reboot from inside the droplet counts as running. */
  dropletStatus(dropletId: number): Promise<"running" | "stopped" | "absent">;
  /** Boots a stopped droplet; does nothing if it runs. Its volumes are attached before its init starts. */
  startDroplet(dropletId: number): Promise<void>;
  /** `graceful` asks the init to shut down, and waits; `power-cut` does not. */
  stopDroplet(dropletId: number, how: "graceful" | "power-cut"): Promise<void>;
  rebootDroplet(dropletId: number): Promise<void>;
  /** Sets memory and processors; the droplet must be stopped. */
  resizeDroplet(dropletId: number, size: MachineSize): Promise<void>;
  /** Removes the machine and its root disk. Its volumes are detached first and keep their data. */
  destroyDroplet(dropletId: number): Promise<void>;

  /** Creates the disk of a volume, a sparse file. */
  createVolume(volume: VolumeSpec): Promise<void>;
  /** Grows the disk; an attached droplet sees the new size immediately. */
  growVolume(volumeId: string, sizeGigabytes: number): Promise<void>;
  /** Removes the disk and its data; the volume must be detached. */
  deleteVolume(volumeId: string): Promise<void>;
  /** Attaches the volume, also while the droplet runs, as `/dev/disk/by-id/scsi-0DO_Volume_<name>`; lasts over reboots. */
  attachVolume(volumeId: string, dropletId: number): Promise<void>;
  /** Detaches the volume as the cloud does: without asking the droplet, even if it is mounted. */
  detachVolume(volumeId: string): Promise<void>;

  /**
   * Copies the volume's data as a power failure at this moment would leave it; the volume may be in use.
   *
   * @returns the gigabytes of data in the copy
   */
  snapshotVolume(volumeId: string, snapshotId: string): Promise<number>;
  /** Removes a copy; volumes that were made from it stay. */
  deleteSnapshot(snapshotId: string): Promise<void>;

  /** Makes a reserved address lead to the droplet, and no longer to another; lasts over reboots. */
  assignAddress(address: string, dropletId: number): Promise<void>;
  /** Makes a reserved address lead nowhere. */
  releaseAddress(address: string): Promise<void>;

  /** Replaces all cloud firewalls. A droplet without firewall is open; with one, only what a rule allows can pass. */
  applyFirewalls(firewalls: FirewallSpec[]): Promise<void>;

  /** Replaces all zones that the name server of droplets and of this computer's tests serves. Without one, none runs. */
  serveZones(zones: ZoneSpec[]): Promise<void>;

  /** Lets droplets reach this service at the host names of Spaces, over TLS with a certificate that they trust. */
  serveSpaces(service: RequestListener): Promise<void>;

  /**
   * Makes the servers of a database cluster run as specified, whatever they did before: creates, starts, resizes and
   * promotes them. Resolves when the primary accepts connections and the standbys follow it.
   */
  runDatabase(cluster: DatabaseSpec): Promise<DatabaseFacts>;
  /** Runs SQL on the primary of a running cluster, with all rights. */
  queryDatabase(cluster: DatabaseSpec, database: string, sql: string): Promise<string>;
  /** Ends a server of a cluster as a failure of its machine does, if it runs; its data stays. */
  killDatabaseNode(node: number): Promise<void>;
  /** Copies the data of a running cluster. @returns the copy's bytes */
  backUpDatabase(cluster: DatabaseSpec, backupId: string): Promise<number>;
  /** Removes a cluster's servers, their data and its backups. */
  deleteDatabase(cluster: DatabaseSpec): Promise<void>;
  /** Replaces the names of all database servers, and who may connect to them. */
  serveDatabases(entrances: DatabaseEntrance[]): Promise<void>;

  /** Starts an ACME server, which resolves names with the name server. It also runs in the next machine rooms. */
  serveAcme(): Promise<AcmeAccess>;
}

export interface MachineSize {
  memoryMegabytes: number;
  vcpus: number;
}

export interface DropletSpec extends MachineSize {
  id: number;
  name: string;
  region: string;
  /** The cloud chooses it; the droplet answers there from this computer. */
  publicAddress: string;
  /** A second address at which the droplet answers from this computer. */
  reservedAddress?: string;
  /** For cloud-init, unchanged. Only root can read it on the droplet; the metadata service serves it too. */
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
  /** If set, the new disk has the data of this copy. */
  snapshotId?: string;
  /** If set, a new disk without a copy's data has this file system, as with the API's `filesystem_type`. */
  filesystem?: { type: "ext4" | "xfs"; label?: string };
}

export interface FirewallRule {
  protocol: "tcp" | "udp" | "icmp";
  /** A port, a range `8000-9000`, or `all`. */
  ports: string;
  /** Source or destination networks in CIDR notation. */
  addresses: string[];
}

export interface FirewallSpec {
  id: string;
  dropletIds: number[];
  inbound: FirewallRule[];
  outbound: FirewallRule[];
}

export interface ZoneSpec {
  /** The domain, without final dot. */
  name: string;
  /** The number of this version, as in its SOA record. */
  serial: number;
  /** Its zone file (RFC 1035). */
  file: string;
}

/** The port of every database server. */
export const DATABASE_PORT = 25060;

/** A cluster of PostgreSQL servers: one primary and its standbys. */
export interface DatabaseSpec extends MachineSize {
  id: string;
  /** The host names of its servers, which their certificate is valid for. */
  names: string[];
  /** Numbers of its servers, unique in the sandbox, as in {@link DatabaseEntrance}; the first is the primary. */
  nodes: number[];
  /** Includes those that are reserved for superusers. */
  maxConnections: number;
  /** Further settings of PostgreSQL. */
  settings: Record<string, string>;
  /** The first user is the administrator. */
  users: DatabaseUser[];
  /** They belong to the administrator. */
  databases: string[];
  /** Where a new cluster's data comes from; if absent, it is empty. */
  restore?: {
    cluster: DatabaseSpec;
    backupId: string;
    /** The data of this moment, ISO 8601; if absent, of the backup. */
    time?: string;
  };
}

export interface DatabaseUser {
  name: string;
  password: string;
  mayReplicate: boolean;
}

/** What is only known when a cluster runs. */
export interface DatabaseFacts {
  /** PostgreSQL's version, for example `17.6`. */
  version: string;
  /** The certificate of the authority that issued the servers' certificate, PEM. */
  authority: string;
  /** The databases that exist, without those of PostgreSQL itself. */
  databases: string[];
}

/** Where one database server can be reached, and by whom. */
export interface DatabaseEntrance {
  node: number;
  /** For clients on this computer; droplets use an address of their network. */
  publicAddress: string;
  /** These lead to the public address, or inside a droplet to the private one. */
  publicNames: string[];
  /** These lead to the private address. */
  privateNames: string[];
  /** Everyone, if absent. */
  trusted?: {
    /** Networks of public addresses, in CIDR notation. */
    networks: string[];
    dropletIds: number[];
  };
}

/** What a client of the ACME server needs. */
export interface AcmeAccess {
  /** The URL of its directory, for droplets and for this computer. */
  directory: string;
  /** The authorities of the directory's certificate and of the certificates that it issues, PEM. */
  authority: string;
}
