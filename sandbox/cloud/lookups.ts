import { notFound, unprocessable } from "./errors.ts";
import type {
  CloudState,
  DatabaseRecord,
  DnsRecord,
  DomainRecord,
  DropletRecord,
  FirewallRecord,
  KeyRecord,
  ProjectRecord,
  ReservedIpRecord,
  SnapshotRecord,
  SpacesKeyRecord,
  VolumeRecord,
} from "./records.ts";

/**
 * @param id a number, or the part of a path that should be one
 * @throws ApiError 404 if there is none
 */
export function recordedDroplet(state: CloudState, id: number | string): DropletRecord {
  return found(state.droplets.find((droplet) => droplet.id === Number(id)));
}

/** All droplets, or those with a tag. */
export function taggedDroplets(state: CloudState, tag: string | undefined): DropletRecord[] {
  if (tag === undefined) return state.droplets;
  return state.droplets.filter((droplet) => droplet.tags.some((own) => sameTag(own, tag)));
}

/** @throws ApiError 404 if there is none that clients see */
export function recordedVolume(state: CloudState, id: string): VolumeRecord {
  return found(findVolume(state, id));
}

export function findVolume(state: CloudState, id: string): VolumeRecord | undefined {
  return state.volumes.find((volume) => volume.id === id && volume.phase === "available");
}

/** @throws ApiError 404 if there is none that clients see */
export function volumeByName(state: CloudState, name: string | undefined, region: string | undefined): VolumeRecord {
  return found(
    state.volumes.find((volume) => volume.name === name && volume.region === region && volume.phase === "available"),
  );
}

/** Ids of the volumes that are attached to a droplet, or will be when it is created. */
export function volumesOf(state: CloudState, dropletId: number): string[] {
  return state.volumes.filter((volume) => volume.droplet_id === dropletId).map((volume) => volume.id);
}

/** @throws ApiError 404 if there is none */
export function recordedFirewall(state: CloudState, id: string): FirewallRecord {
  return found(state.firewalls.find((firewall) => firewall.id === id));
}

/**
 * Finds a key by id or fingerprint.
 *
 * @throws ApiError 404 if there is none
 */
export function recordedKey(state: CloudState, identifier: string): KeyRecord {
  return found(findKey(state, identifier));
}

/** Finds a key by id or fingerprint. */
export function findKey(state: CloudState, identifier: string): KeyRecord | undefined {
  return state.keys.find((key) => String(key.id) === identifier || key.fingerprint === identifier);
}

/**
 * Finds a volume's snapshot by id.
 *
 * @throws ApiError 404 if there is none
 */
export function recordedSnapshot(state: CloudState, id: string): SnapshotRecord {
  return found(state.snapshots.find((snapshot) => snapshot.id === id));
}

/**
 * Finds a key of Spaces by its id.
 *
 * @throws ApiError 404 if there is none
 */
export function recordedSpacesKey(state: CloudState, accessKey: string): SpacesKeyRecord {
  return found(state.spaces_keys.find((key) => key.access_key === accessKey));
}

/** @throws ApiError 404 if there is none that clients see */
export function recordedDatabase(state: CloudState, id: string): DatabaseRecord {
  return found(visibleDatabases(state).find((database) => database.id === id));
}

/**
 * @throws ApiError 404 if there is none that clients see
 * @throws ApiError 422 if its servers cannot be changed now
 */
export function onlineDatabase(state: CloudState, id: string): DatabaseRecord {
  const database = recordedDatabase(state, id);
  if (database.status !== "online") throw unprocessable("database cluster is not online");
  return database;
}

/** The database clusters that clients see. */
export function visibleDatabases(state: CloudState): DatabaseRecord[] {
  return state.databases.filter(({ status }) => status !== "deleting");
}

/**
 * Finds a project by id; `default` stands for the default project's.
 *
 * @throws ApiError 404 if there is none
 */
export function recordedProject(state: CloudState, id: string): ProjectRecord {
  return found(state.projects.find((project) => (id === "default" ? project.is_default : project.id === id)));
}

/** @throws ApiError 404 if there is none */
export function recordedDomain(state: CloudState, name: string): DomainRecord {
  return found(state.domains.find((domain) => domain.name === name.toLowerCase()));
}

/** @throws ApiError 404 if there is none */
export function recordedDnsRecord(domain: DomainRecord, id: string): DnsRecord {
  return found(domain.records.find((record) => String(record.id) === id));
}

/** @throws ApiError 404 if there is none */
export function recordedReservedIp(state: CloudState, ip: string): ReservedIpRecord {
  return found(state.reserved_ips.find((reserved) => reserved.ip === ip));
}

/** The reserved address that leads to a droplet, if one does. */
export function reservedIpOf(state: CloudState, dropletId: number): string | undefined {
  return state.reserved_ips.find((reserved) => reserved.droplet_id === dropletId)?.ip;
}

/**
 * A tag in the account's own spelling.
 *
 * @throws ApiError 404 if there is none
 */
export function recordedTag(state: CloudState, name: string): string {
  return found(findTag(state, name));
}

/**
 * The tags that a firewall names, in the account's own spelling, each once.
 *
 * @throws ApiError 422 if one does not exist: it "must exist in order to be referenced"
 */
export function existingTags(state: CloudState, names: string[]): string[] {
  const tags = names.map((name) => {
    const tag = findTag(state, name);
    if (tag === undefined) throw unprocessable(`tag ${name} not found`);
    return tag;
  });
  return [...new Set(tags)];
}

/**
 * The tags that a droplet or a volume is to have, in the account's own spelling, each once. Creates those that are new,
 * as the API does.
 *
 * @throws ApiError 422 if a new one has characters that no tag may have
 */
export function ensureTags(draft: CloudState, names: string[]): string[] {
  const tags = names.map((name) => {
    const existing = findTag(draft, name);
    if (existing !== undefined) return existing;
    if (!/^[a-zA-Z0-9:_-]{1,255}$/.test(name)) {
      throw unprocessable(`tag ${name}: must be 1 to 255 letters, digits, colons, dashes and underscores.`);
    }
    draft.tags.push(name);
    return name;
  });
  return [...new Set(tags)];
}

function findTag(state: CloudState, name: string): string | undefined {
  return state.tags.find((tag) => sameTag(tag, name));
}

/** Upper and lower case make no difference in tags. */
function sameTag(one: string, other: string): boolean {
  return one.toLowerCase() === other.toLowerCase();
}

function found<T>(record: T | undefined): T {
  if (record === undefined) throw notFound();
  return record;
}
