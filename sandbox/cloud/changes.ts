import { databaseUrn, unassign } from "./project-resources.ts";
import type { CloudState } from "./records.ts";

/** Removes a droplet, and every reference to it. */
export function removeDroplet(draft: CloudState, id: number): void {
  draft.droplets = draft.droplets.filter((droplet) => droplet.id !== id);
  for (const volume of draft.volumes) {
    if (volume.droplet_id === id) volume.droplet_id = null;
  }
  for (const firewall of draft.firewalls) {
    firewall.droplet_ids = firewall.droplet_ids.filter((dropletId) => dropletId !== id);
  }
  for (const reserved of draft.reserved_ips) {
    if (reserved.droplet_id === id) reserved.droplet_id = null;
  }
  unassign(draft, `do:droplet:${id}`);
}

/** Shows a volume to clients: its disk exists. */
export function finishVolume(draft: CloudState, id: string): void {
  const volume = draft.volumes.find((candidate) => candidate.id === id);
  if (volume) volume.phase = "available";
}

/** Removes a volume, and every reference to it. */
export function removeVolume(draft: CloudState, id: string): void {
  draft.volumes = draft.volumes.filter((volume) => volume.id !== id);
  unassign(draft, `do:volume:${id}`);
}

/** Removes a database cluster, and every reference to it. */
export function removeDatabase(draft: CloudState, id: string): void {
  draft.databases = draft.databases.filter((database) => database.id !== id);
  unassign(draft, databaseUrn(id));
}

/** Removes a tag from the account, and from everything that has it. */
export function removeTag(draft: CloudState, tag: string): void {
  draft.tags = draft.tags.filter((other) => other !== tag);
  for (const tagged of [
    ...draft.droplets,
    ...draft.volumes,
    ...draft.snapshots,
    ...draft.firewalls,
    ...draft.databases,
  ]) {
    tagged.tags = tagged.tags.filter((other) => other !== tag);
  }
}
