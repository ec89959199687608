import * as pulumi from "@pulumi/pulumi";

import { quote } from "../contract/scripts.ts";
import { account } from "./own-account.ts";
import { isVolumeName } from "./sizes.ts";
import { onThisStack } from "../settings/on-this-stack.ts";

/** A volume that exists, with the data of an instance, and that a new stack uses as its own. */
export interface AdoptedVolume {
  id: string;
  name: string;
}

/** A volume as the API lists it. */
export interface ListedVolume {
  id: string;
  name: string;
  size_gigabytes: number;
  region: { slug: string };
  droplet_ids: number[];
}

/** The droplet that a volume is attached to. */
export interface Holder {
  id: number;
  name: string;
}

/**
 * The volume that a new stack should adopt.
 *
 * @param wanted  its id or name; empty for none
 * @param label  the stack's name in the account
 * @throws pulumi.RunError if the stack cannot adopt it
 */
export async function findVolume(
  wanted: string,
  label: string,
  region: string,
  sizeGb: number,
): Promise<AdoptedVolume | undefined> {
  if (wanted === "") return undefined;
  try {
    const volumes = await account().list<ListedVolume>("/v2/volumes", "volumes");
    const found = choose(volumes, wanted, region);
    const fault = volumeFault(volumes, wanted, label, region, sizeGb, await holderOf(found));
    if (fault !== undefined) throw new pulumi.RunError(`convex-droplet:${fault}`);
    return found && { id: found.id, name: found.name };
  } catch (error) {
    if (pulumi.RunError.isInstance(error)) throw error;
    throw new pulumi.RunError(`convex-droplet:adoptVolume: cannot be looked up. ${String(error)}`);
  }
}

/**
 * For the `beforeCreate` of the component with the volume, which is created once, before everything in it, and never replaced. A droplet
 * with the stack's own name may have the volume, because the stack has already adopted it. But if the stack is new, this droplet is not
 * in its state.
 */
export function refuseHeldVolume(name: string, adopted: AdoptedVolume | undefined): pulumi.ResourceHook[] {
  if (adopted === undefined) return [];
  const refuse = async () => {
    const { volume } = await account().ask<{ volume: ListedVolume }>("GET", `/v2/volumes/${adopted.id}`);
    const holder = await holderOf(volume);
    if (holder !== undefined) throw new Error(`convex-droplet:${heldFault(volume, holder)}`);
  };
  return [new pulumi.ResourceHook(`${name}-held-volume`, refuse, { onDryRun: true })];
}

/** Why a stack cannot adopt a volume, and what to do; undefined if it can. */
export function volumeFault(
  volumes: ListedVolume[],
  wanted: string,
  label: string,
  region: string,
  sizeGb: number,
  holder: Holder | undefined,
): string | undefined {
  const set = (setting: string) => `Set it with: ${onThisStack("config set", setting)}`;
  const free = volumes.find(({ region: { slug }, droplet_ids: held }) => slug === region && held.length === 0)?.name;
  const should =
    free === undefined
      ? `it should be one in ${region} that is attached to no droplet, but there is none. Start with a blank one: ${onThisStack("config rm", "adoptVolume")}`
      : `it should be one in ${region} that is attached to no droplet, such as ${free}. ${set(`adoptVolume ${quote(free)}`)}`;
  const volume = choose(volumes, wanted, region);
  if (volume === undefined) return `adoptVolume: "${wanted}" is no volume of this account, ${should}`;
  if (volume.region.slug !== region) {
    return `adoptVolume: "${wanted}" is in ${volume.region.slug}, and cannot be moved, ${should}; or use its region: ${onThisStack("config set", `region ${volume.region.slug}`)}`;
  }
  if (holder !== undefined && holder.name !== label) return heldFault(volume, holder);
  // One that is not attached may be in the state: then the engine would replace it, and delete it without protectData. But if the
  // adopted one has the stack's name too, the other is one that the stack has kept.
  const mayReplace = !isVolumeName(volume.name, label);
  const other = volumes.find(
    ({ id, name, droplet_ids: held }) =>
      id !== volume.id && isVolumeName(name, label) && (held.length > 0 || mayReplace),
  );
  if (other !== undefined) {
    return (
      `adoptVolume: the stack already has volume ${other.name}, it should be a new stack. Keep that one: ${onThisStack("config rm", "adoptVolume")}; ` +
      `or if nobody needs that one, delete it: doctl compute volume delete ${other.id}`
    );
  }
  if (sizeGb >= volume.size_gigabytes) return undefined;
  return (
    `volumeSizeGb: ${sizeGb} is below ${volume.size_gigabytes}, the size of volume ${volume.name}, and a volume cannot shrink. ` +
    set(`volumeSizeGb ${volume.size_gigabytes}`)
  );
}

function heldFault({ id, name }: ListedVolume, holder: Holder): string {
  return (
    `adoptVolume: ${name} is attached to droplet ${holder.name} (${holder.id}), which is not in this stack's state, it should be attached to none. ` +
    `If nobody needs that droplet, shut it down, and delete it, which keeps the volume: doctl compute droplet-action shutdown ${holder.id} --wait ` +
    `&& doctl compute droplet delete ${holder.id}; or only detach the volume: doctl compute volume-action detach ${id} ${holder.id} --wait`
  );
}

/** Names are unique in each region only. */
function choose(volumes: ListedVolume[], wanted: string, region: string): ListedVolume | undefined {
  const found = volumes.filter(({ id, name }) => id === wanted || name === wanted);
  return found.find(({ region: { slug } }) => slug === region) ?? found[0];
}

async function holderOf(volume: ListedVolume | undefined): Promise<Holder | undefined> {
  const [id] = volume?.droplet_ids ?? [];
  return id === undefined ? undefined : (await account().ask<{ droplet: Holder }>("GET", `/v2/droplets/${id}`)).droplet;
}
