import * as pulumi from "@pulumi/pulumi";

import type { Offer } from "./catalogue.ts";
import { account } from "./own-account.ts";
import { tellState } from "./grown-volume.ts";

/** What the data volume is called in the account. */
export function volumeName(label: string): string {
  return `${label}-data`;
}

/**
 * Refuses a size below that of the stack's volume in DigitalOcean, whoever has grown it there. The provider would, in a
 * refresh too, and would not say what to do.
 *
 * @throws pulumi.RunError
 */
export async function refuseShrinking(label: string, region: string, sizeGb: number): Promise<void> {
  const name = volumeName(label);
  const asked = account().ask<{ volumes: Volume[] }>("GET", `/v2/volumes?name=${name}&region=${region}`);
  const found = (await orProvider(asked))?.volumes[0]?.size_gigabytes ?? 0;
  if (found <= sizeGb) return;
  throw new pulumi.RunError(
    `convex-droplet:volumeSizeGb: ${sizeGb} is below ${found}, the size of volume ${name} in DigitalOcean, and no volume shrinks. ` +
      `Set it with: npx pulumi config set volumeSizeGb ${found}; and where somebody grew it by hand, let the stack's state know, ` +
      `with: ${tellState()}`,
  );
}

/**
 * Refuses, in a preview too, to grow a volume to the size that somebody has given it already. DigitalOcean refuses that in
 * the middle of a run.
 */
export function refuseVolumeSize(name: string): pulumi.ResourceHook {
  return beforeResize(`${name}-volume-size`, async (id, wanted) => {
    const { volume } = await account().ask<{ volume: Volume }>("GET", `/v2/volumes/${id}`);
    if (volume.size_gigabytes !== wanted) return undefined;
    return `convex-droplet:volumeSizeGb: the volume has ${wanted} GB already, the stack's state should know. Let it look with: ${tellState()}`;
  });
}

/**
 * Refuses, in a preview too, a change of the droplet's size that DigitalOcean would refuse: the provider asks only once it
 * has powered the droplet off.
 */
export function refuseDropletSize(name: string, offers: readonly Offer[]): pulumi.ResourceHook {
  return beforeResize(`${name}-droplet-size`, async (id, wanted) => {
    const { droplet } = await account().ask<{ droplet: Droplet }>("GET", `/v2/droplets/${id}`);
    const fault = sizeFault(droplet, String(wanted), offers);
    return fault && `convex-droplet:size: ${fault}`;
  });
}

/** What cannot be asked here is the provider's to say, or to ask again. */
async function orProvider<T>(asked: Promise<T>): Promise<T | undefined> {
  return asked.catch(() => undefined);
}

/** Looks where the size that the state has is to become another one; what `fault` gives back ends the run. */
function beforeResize(
  name: string,
  fault: (id: string, wanted: unknown) => Promise<string | undefined>,
): pulumi.ResourceHook {
  const sizeOf = (properties: unknown) => (properties as { size: unknown }).size;
  const look = async ({ id, oldOutputs, newInputs }: pulumi.ResourceHookArgs) => {
    const wanted = sizeOf(newInputs);
    const found = wanted === sizeOf(oldOutputs) ? undefined : await orProvider(fault(id, wanted));
    if (found !== undefined) throw new Error(found);
  };
  return new pulumi.ResourceHook(name, look, { onDryRun: true });
}

/** Why a droplet cannot have a size, and what to do; undefined where it can. Pure. */
export function sizeFault(droplet: Droplet, wanted: string, offers: readonly Offer[]): string | undefined {
  const { id, size_slug: size, disk, status } = droplet;
  if (size === wanted) {
    const start =
      status === "off" ? `, and switch the droplet on with: doctl compute droplet-action power-on ${id}` : "";
    return (
      `the droplet is ${wanted} already, the stack's state should know. ` +
      `Let it look with: npx pulumi up --refresh --run-program${start}`
    );
  }
  const offered = offers.find(({ slug }) => slug === wanted)?.diskGb ?? disk;
  if (offered >= disk) return undefined;
  const fitting = offers.filter(({ slug, diskGb }) => diskGb >= disk && slug !== size).map(({ slug }) => slug);
  return (
    `${wanted} has a disk of ${offered} GB, it should have at least the ${disk} GB that the droplet has, as no disk shrinks. ` +
    `Set it with: npx pulumi config set size ${size} (the cheapest others: ${fitting.slice(0, 3).join(", ")}), ` +
    "or recreate the droplet, which keeps the data: npx pulumi up --replace '**convex-droplet'"
  );
}

interface Volume {
  size_gigabytes: number;
}

interface Droplet {
  id: number;
  size_slug: string;
  /** In GB. */
  disk: number;
  status: string;
}
