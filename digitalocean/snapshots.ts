import type { Account } from "./account.ts";

/** A snapshot as the API lists it; it never changes. */
export interface Snapshot {
  id: string;
  name: string;
  /** RFC 3339. */
  created_at: string;
  /** One region, if it is of a volume. */
  regions: string[];
  /** The volume or droplet that it was made of, which may be gone. */
  resource_id: string;
  resource_type: string;
  /** Size in GB that a volume needs to be made from it: that of the volume that it was made of. */
  min_disk_size: number;
  /** Size in GiB of the data, which DigitalOcean charges for. */
  size_gigabytes: number;
  tags: string[] | null;
}

/** DigitalOcean makes only one snapshot of a volume in this time. */
export const INTERVAL_MINUTES = 10;

/** The tag of snapshots that `up` made. Only these are removed without being asked for. */
const BEFORE_CHANGE = "before-change";

/** The tag of all snapshots that a stack made, by `up` or by the command. */
function tagOf(label: string): string {
  return `convex-droplet:${label}`;
}

/** All snapshots of the account, of volumes and of droplets, the newest first. */
export async function listSnapshots(account: Account): Promise<Snapshot[]> {
  const listed = await account.list<Snapshot>("/v2/snapshots", "snapshots");
  return listed.toSorted((one, other) => other.created_at.localeCompare(one.created_at));
}

/** Whether the stack with this label made a snapshot. */
export function isOwn({ tags, resource_type: type }: Snapshot, label: string): boolean {
  return type === "volume" && (tags ?? []).includes(tagOf(label));
}

/** Whether `up` made it before a change. */
export function isBeforeChange({ tags }: Snapshot): boolean {
  return (tags ?? []).includes(BEFORE_CHANGE);
}

/**
 * Makes a snapshot of a stack's volume, named by label and time.
 *
 * @param beforeChange  whether it is removed when there are enough newer ones
 * @throws RefusedError also if there is one of the last ten minutes, or if the volume already has 25
 */
export async function makeSnapshot(
  account: Account,
  label: string,
  volumeId: string,
  beforeChange = false,
): Promise<Snapshot> {
  const time = new Date().toISOString().replaceAll(/[-:]|\.\d+/g, "");
  const tags = [tagOf(label), ...(beforeChange ? [BEFORE_CHANGE] : [])];
  const body = { name: `${label}-${time}`, tags };
  return (await account.ask<{ snapshot: Snapshot }>("POST", `/v2/volumes/${volumeId}/snapshots`, body)).snapshot;
}

/** The stack's newest snapshot of a volume, if it is so new that DigitalOcean makes no other. */
export function recentSnapshot(
  snapshots: Snapshot[],
  label: string,
  volumeId: string,
  now = Date.now(),
): Snapshot | undefined {
  const since = now - INTERVAL_MINUTES * 60_000;
  return snapshots.find(
    (snapshot) =>
      isOwn(snapshot, label) && snapshot.resource_id === volumeId && Date.parse(snapshot.created_at) > since,
  );
}

/** The stack's snapshots from before changes that are too many, of all its volumes. */
export function surplusSnapshots(snapshots: Snapshot[], label: string, keep: number): Snapshot[] {
  return snapshots.filter((snapshot) => isOwn(snapshot, label) && isBeforeChange(snapshot)).slice(keep);
}
