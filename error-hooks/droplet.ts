import { setTimeout as sleep } from "node:timers/promises";

import * as pulumi from "@pulumi/pulumi";

import { account } from "../digitalocean/own-account.ts";

/** How long to wait for DigitalOcean to create a droplet, and then to delete it. */
const PATIENCE_SECONDS = 180;
const POLL_MILLISECONDS = 1000;

/**
 * For the `onError` of a droplet to which a volume is attached at creation. If a run is killed while DigitalOcean creates a
 * droplet, it exists but is in no state, and no other can be created because it has the volume. This hook deletes it, without
 * its volume, and tries again. If the droplet has both the stack's volume and the stack's name, it belongs to the stack. The
 * hook does not touch any other droplet, and the provider's error remains.
 */
export function deleteLostDroplet(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-lost-droplet`, async ({ failedOperation, newInputs = {}, errors }) => {
    // After any other error, the droplet exists and is the one in the state.
    if (failedOperation !== "create" || !errors[0]?.includes("Error creating droplet")) return false;
    const label = String(newInputs["name"]);
    const [volumeId] = newInputs["volumeIds"] as string[];
    const lost = await holderOf(String(volumeId));
    if (lost?.name !== label) return false;
    await pulumi.log.warn(
      `droplet ${lost.id} (${label}) has this stack's volume but is not in the stack's state: a run was killed while creating it. ` +
        "Deleting it, to create it again; the volume and its data stay.",
    );
    await until(`droplet ${lost.id} to be created, so that it can be deleted`, async () => {
      const { droplet } = await account().ask<{ droplet: Droplet }>("GET", `/v2/droplets/${lost.id}`);
      return droplet.status !== "new" && !droplet.locked;
    });
    await account().ask("DELETE", `/v2/droplets/${lost.id}`);
    await until(
      `the volume of droplet ${lost.id} to be free`,
      async () => (await holderOf(String(volumeId))) === undefined,
    );
    return true;
  });
}

/**
 * For the `onError` of a droplet that is shut down before it is deleted. If a droplet hangs or its system does not work, it does
 * not shut down, and could never be deleted or replaced. This hook switches it off and tries again: then it counts as shut down.
 */
export function switchOffDeafDroplet(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-deaf-droplet`, async ({ failedOperation, id, errors }) => {
    // Only once, because a second time would not help.
    if (failedOperation !== "delete" || errors.length > 1 || !/to become off: /.test(errors[0] ?? "")) return false;
    await pulumi.log.warn(`droplet ${id} does not shut down. Switching it off; data that it has not written is lost.`);
    await account().ask("POST", `/v2/droplets/${id}/actions`, { type: "power_off" });
    await until(`droplet ${id} to be off`, async () => {
      const { droplet } = await account().ask<{ droplet: Droplet }>("GET", `/v2/droplets/${id}`);
      return droplet.status === "off";
    });
    return true;
  });
}

interface Droplet {
  id: number;
  name: string;
  status: string;
  locked: boolean;
}

async function holderOf(volumeId: string): Promise<Droplet | undefined> {
  const { volume } = await account().ask<{ volume: { droplet_ids: number[] } }>("GET", `/v2/volumes/${volumeId}`);
  const [dropletId] = volume.droplet_ids;
  if (dropletId === undefined) return undefined;
  return (await account().ask<{ droplet: Droplet }>("GET", `/v2/droplets/${dropletId}`)).droplet;
}

async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + PATIENCE_SECONDS * 1000;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`waited ${PATIENCE_SECONDS} s for ${what}`);
    await sleep(POLL_MILLISECONDS);
  }
}
