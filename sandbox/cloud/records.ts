import type { Grant } from "../spaces/grants.ts";

/** All that the cloud remembers. Records use the API's own field names. */
export interface CloudState {
  format: 1;
  account: { uuid: string; vpc_uuid: string };
  /** The number that the next droplet, action, key or DNS record gets. */
  next: { droplet: number; action: number; key: number; dns_record: number };
  droplets: DropletRecord[];
  volumes: VolumeRecord[];
  snapshots: SnapshotRecord[];
  keys: KeyRecord[];
  firewalls: FirewallRecord[];
  tags: string[];
  projects: ProjectRecord[];
  domains: DomainRecord[];
  reserved_ips: ReservedIpRecord[];
  spaces_keys: SpacesKeyRecord[];
  databases: DatabaseRecord[];
  actions: ActionRecord[];
}

export interface DropletRecord {
  id: number;
  name: string;
  region: string;
  size: string;
  /** Gigabytes; a droplet that was resized without its disk keeps the disk of its former size. */
  disk: number;
  image: string;
  /** As requested; `built` shows whether the machine exists, and only the machine shows whether it runs. */
  status: "new" | "active" | "off";
  built: boolean;
  /** Shown as active although its machine is off; see the boot faults. */
  dead: boolean;
  /** The last part of its addresses. */
  host: number;
  public_address: string;
  features: string[];
  backup_policy?: BackupPolicy;
  tags: string[];
  vpc_uuid: string;
  user_data?: string;
  /** The public keys themselves: a key stays on the droplet if the account loses it. */
  ssh_keys: string[];
  created_at: string;
}

export interface BackupPolicy {
  plan: "daily" | "weekly";
  weekday?: string;
  hour: number;
}

export interface VolumeRecord {
  id: string;
  name: string;
  region: string;
  size_gigabytes: number;
  description: string;
  filesystem_type: "" | "ext4" | "xfs";
  filesystem_label: string;
  droplet_id: number | null;
  tags: string[];
  created_at: string;
  /** Clients see only available volumes; after a crash, the next process continues with the others. */
  phase: "creating" | "available" | "deleting";
  /** The snapshot whose data a new disk gets. */
  snapshot_id?: string;
}

/** A copy of a volume's data; it stays if the volume is deleted. */
export interface SnapshotRecord {
  id: string;
  name: string;
  volume_id: string;
  region: string;
  /** Of the data. */
  size_gigabytes: number;
  /** Gigabytes that a volume made from it must have. */
  min_disk_size: number;
  filesystem_type: VolumeRecord["filesystem_type"];
  filesystem_label: string;
  tags: string[];
  created_at: string;
}

export interface KeyRecord {
  id: number;
  name: string;
  /** MD5 in hexadecimal with colons, the API's second name for a key. */
  fingerprint: string;
  public_key: string;
}

export interface FirewallRecord extends RuleSet {
  id: string;
  name: string;
  /** Waiting until the machine room has applied this revision. */
  status: "waiting" | "succeeded" | "failed";
  created_at: string;
  droplet_ids: number[];
  tags: string[];
  /** New with each change. */
  revision: string;
}

export interface RuleSet {
  inbound_rules: InboundRule[];
  outbound_rules: OutboundRule[];
}

export interface InboundRule extends Rule {
  sources: Peers;
}

export interface OutboundRule extends Rule {
  destinations: Peers;
}

export interface Rule {
  protocol: "tcp" | "udp" | "icmp";
  /** A port, a range `8000-9000`, or `0` for all ports, which the API shows for `all` and for ICMP. */
  ports: string;
}

/** The other end of a connection; at least one of these is present. */
export interface Peers {
  addresses?: string[];
  droplet_ids?: number[];
  tags?: string[];
}

export interface ProjectRecord {
  id: string;
  owner_uuid: string;
  owner_id: number;
  name: string;
  description: string;
  purpose: string;
  environment: string;
  is_default: boolean;
  created_at: string;
  updated_at: string;
  resources: { urn: string; assigned_at: string }[];
}

export interface DomainRecord {
  name: string;
  /** The number of the zone's version, larger after each change. */
  serial: number;
  records: DnsRecord[];
}

/** A record of a domain, as the API shows it. Fields that its type does not have are null. */
export interface DnsRecord {
  id: number;
  type: DnsRecordType;
  /** Relative to the domain; `@` is the domain itself. */
  name: string;
  /** A host name has no final dot; `@` is the domain itself. */
  data: string;
  priority: number | null;
  port: number | null;
  /** Seconds. */
  ttl: number;
  weight: number | null;
  flags: number | null;
  tag: string | null;
}

export type DnsRecordType = "A" | "AAAA" | "CAA" | "CNAME" | "MX" | "NS" | "SOA" | "SRV" | "TXT";

export interface ReservedIpRecord {
  ip: string;
  region: string;
  droplet_id: number | null;
}

export interface SpacesKeyRecord {
  name: string;
  access_key: string;
  secret_key: string;
  grants: Grant[];
  created_at: string;
}

/** A cluster of PostgreSQL servers. */
export interface DatabaseRecord {
  id: string;
  name: string;
  version: string;
  region: string;
  size: string;
  storage_size_mib: number;
  /** Clients do not see one that is being deleted; after a crash, the next process continues with it. */
  status: "creating" | "online" | "resizing" | "migrating" | "forking" | "deleting";
  created_at: string;
  private_network_uuid: string;
  tags: string[];
  /** The numbers of its servers; the first is the primary. */
  nodes: number[];
  /** The numbers of servers that it no longer needs, until they are removed. */
  leaving_nodes: number[];
  rules: DatabaseRule[];
  /** The first is the administrator. */
  users: DatabaseUserRecord[];
  db_names: string[];
  maintenance_window: { day: string; hour: string };
  config: Record<string, number | string>;
  /** The oldest first. */
  backups: DatabaseBackupRecord[];
  /** Where its first data comes from, if it was made from a backup. */
  restore?: { source_id: string; backup_id: string; time?: string };
  /** Known when it ran for the first time. */
  facts?: { version: string; authority: string };
  /** New with each change that its servers must follow. */
  revision: string;
}

export interface DatabaseBackupRecord {
  id: string;
  /** When it was complete. */
  created_at: string;
  size_gigabytes: number;
}

/** A trusted source of a database cluster. */
export interface DatabaseRule {
  uuid: string;
  type: "droplet" | "tag" | "ip_addr";
  value: string;
  description: string;
  created_at: string;
}

export interface DatabaseUserRecord {
  name: string;
  password: string;
  may_replicate: boolean;
}

export interface ActionRecord {
  id: number;
  status: "in-progress" | "completed" | "errored";
  started_at: string;
  completed_at: string | null;
  region: string;
  work: Work;
}

/** What an action does, with everything that it needs, so that it can be done again from the state after a crash. */
export type Work =
  | {
      kind: "create" | "destroy" | "power_on" | "power_off" | "power_cycle" | "shutdown" | "reboot";
      droplet_id: number;
    }
  | { kind: "rename"; droplet_id: number; name: string }
  | { kind: "resize"; droplet_id: number; size: string; disk: boolean }
  | { kind: "enable_backups" | "change_backup_policy"; droplet_id: number; policy: BackupPolicy }
  | { kind: "disable_backups" | "enable_ipv6"; droplet_id: number }
  | { kind: "attach_volume" | "detach_volume"; droplet_id: number; volume_id: string }
  | { kind: "resize_volume"; droplet_id: number | null; volume_id: string; size_gigabytes: number }
  | { kind: "assign_ip" | "unassign_ip"; droplet_id: number; reserved_ip: string };
