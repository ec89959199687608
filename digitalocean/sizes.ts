import * as pulumi from "@pulumi/pulumi";

import type { Offer } from "./catalogue.ts";
import { account } from "./own-account.ts";
import { tellState } from "./grown-volume.ts";
import { onThisStack } from "../settings/on-this-stack.ts";

/**
 * The name of the data volume in the account. It cannot be changed, and a volume that takes the place of another needs one of
 * its own.
 *
 * @param snapshotId  of the snapshot that the volume is made from; empty for none
 */
export function volumeName(label: string, snapshotId: string): string {
  return `${label}-data${snapshotId === "" ? "" : `-${snapshotId.slice(0, 8)}`}`;
}

/** Whether a volume may be the data volume of the stack with this label. */
export function isVolumeName(name: string, label: string): boolean {
  const first = volumeName(label, "");
  return name.startsWith(first) && /^(?:-[^-]{8})?$/.test(name.slice(first.length));
}

/**
 * Refuses a size below that of the stack's volume in DigitalOcean, also if somebody grew it by hand. The provider would also
 * refuse it, even in a refresh, but without the fix.
 *
 * @throws pulumi.RunError
 */
export async function refuseShrinking(label: string, region: string, sizeGb: number): Promise<void> {
  const listed = (await orProvider(account().list<Volume>(`/v2/volumes?region=${region}`, "volumes"))) ?? [];
  const own = listed.filter(({ name }) => isVolumeName(name, label));
  // One whose place a volume from a snapshot has taken is attached to no droplet.
  const [volume] = own.length === 1 ? own : own.filter(({ droplet_ids: droplets }) => droplets.length > 0);
  if (volume === undefined || volume.size_gigabytes <= sizeGb) return;
  const { name, size_gigabytes: found } = volume;
  throw new pulumi.RunError(
    `convex-droplet:volumeSizeGb: ${sizeGb} is below ${found}, the size of volume ${name} in DigitalOcean, and a volume cannot shrink. ` +
      `Set it with: ${onThisStack("config set", `volumeSizeGb ${found}`)}; if somebody grew it by hand, also record that in the stack's state ` +
      `with: ${tellState(onThisStack("refresh"))}`,
  );
}

/**
 * Refuses, also in a preview, to grow a volume to a size that it already has because somebody grew it by hand. DigitalOcean
 * would refuse that in the middle of a run.
 */
export function refuseVolumeSize(name: string): pulumi.ResourceHook {
  return beforeResize(`${name}-volume-size`, async (id, wanted) => {
    const { volume } = await account().ask<{ volume: Volume }>("GET", `/v2/volumes/${id}`);
    if (volume.size_gigabytes !== wanted) return undefined;
    return `convex-droplet:volumeSizeGb: the volume already has ${wanted} GB, the stack's state should say so. Record it with: ${tellState(onThisStack("refresh"))}`;
  });
}

/**
 * Refuses, also in a preview, a change of the droplet's size that DigitalOcean would refuse. The provider only learns of it
 * after it has powered the droplet off.
 */
export function refuseDropletSize(name: string, offers: readonly Offer[]): pulumi.ResourceHook {
  return beforeResize(`${name}-droplet-size`, async (id, wanted) => {
    const { droplet } = await account().ask<{ droplet: Droplet }>("GET", `/v2/droplets/${id}`);
    const fault = sizeFault(droplet, String(wanted), offers);
    return fault && `convex-droplet:size: ${fault}`;
  });
}

/** If the API does not answer, the provider reports that, or asks again. */
async function orProvider<T>(asked: Promise<T>): Promise<T | undefined> {
  return asked.catch(() => undefined);
}

/** The size in a volume's or a droplet's properties. */
export function sizeOf(properties: unknown): unknown {
  return (properties as { size: unknown }).size;
}

/** Checks each change of the size that the state has. If `fault` returns a text, the run fails with it. */
function beforeResize(
  name: string,
  fault: (id: string, wanted: unknown) => Promise<string | undefined>,
): pulumi.ResourceHook {
  const check = async ({ id, oldOutputs, newInputs }: pulumi.ResourceHookArgs) => {
    const wanted = sizeOf(newInputs);
    const found = wanted === sizeOf(oldOutputs) ? undefined : await orProvider(fault(id, wanted));
    if (found !== undefined) throw new Error(found);
  };
  return new pulumi.ResourceHook(name, check, { onDryRun: true });
}

/** Why a droplet cannot have a size, and what to do; undefined if it can. */
export function sizeFault(droplet: Droplet, wanted: string, offers: readonly Offer[]): string | undefined {
  const { id, size_slug: size, disk, status } = droplet;
  if (size === wanted) {
    const start =
      status === "off" ? `, and switch the droplet on with: doctl compute droplet-action power-on ${id}` : "";
    return (
      `the droplet already is ${wanted}, the stack's state should say so. ` +
      `Record it with: ${onThisStack("up", "--refresh --run-program")}${start}`
    );
  }
  const offered = offers.find(({ slug }) => slug === wanted)?.diskGb ?? disk;
  if (offered >= disk) return undefined;
  const fitting = offers.filter(({ slug, diskGb }) => diskGb >= disk && slug !== size).map(({ slug }) => slug);
  return (
    `${wanted} has a disk of ${offered} GB, it should have at least the ${disk} GB that the droplet has, because a disk cannot shrink. ` +
    `Set it with: ${onThisStack("config set", `size ${size}`)} (the cheapest others: ${fitting.slice(0, 3).join(", ")}), ` +
    `or recreate the droplet, which keeps the data: ${onThisStack("up", "--replace '**convex-droplet'")}`
  );
}

interface Volume {
  name: string;
  size_gigabytes: number;
  droplet_ids: number[];
}

interface Droplet {
  id: number;
  size_slug: string;
  /** In GB. */
  disk: number;
  status: string;
}
