import { setTimeout as sleep } from "node:timers/promises";

import * as pulumi from "@pulumi/pulumi";

import { account } from "../digitalocean/own-account.ts";

/** How long DigitalOcean may take to finish a droplet that is being made, and then to take it away. */
const PATIENCE_SECONDS = 180;
const POLL_MILLISECONDS = 1000;

/**
 * For the `onError` of a droplet that holds a volume from its creation on. A run that is killed while DigitalOcean makes a
 * droplet leaves one that no state knows, and as it holds the volume, no other can be made. This deletes it, its volume
 * stays, and the creation is tried again. It takes the stack's volume and the stack's name for proof that it is the
 * stack's own droplet; any other is left alone, and the provider's error stands.
 */
export function deleteLostDroplet(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-lost-droplet`, async ({ failedOperation, newInputs = {}, errors }) => {
    // Later than this, the droplet exists and is the one in the state.
    if (failedOperation !== "create" || !errors[0]?.includes("Error creating droplet")) return false;
    const label = String(newInputs["name"]);
    const [volumeId] = newInputs["volumeIds"] as string[];
    const lost = await holderOf(String(volumeId));
    if (lost?.name !== label) return false;
    await pulumi.log.warn(
      `droplet ${lost.id} (${label}) holds this stack's volume but is not in the stack's state: a run was ended while it was made. ` +
        "Deleting it, to make it again; the volume and its data stay.",
    );
    await until(`droplet ${lost.id} to be made, so that it can be deleted`, async () => {
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
 * For the `onError` of a droplet that is shut down before it is deleted. One that does not listen any more, hung or without a
 * working system, would block its deletion and its replacement for ever. This switches it off, and the deletion, which
 * takes a droplet that is off for shut down, is tried again.
 */
export function switchOffDeafDroplet(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-deaf-droplet`, async ({ failedOperation, id, errors }) => {
    // Once: what a switch does not end, a second one will not.
    if (failedOperation !== "delete" || errors.length > 1 || !/to become off: /.test(errors[0] ?? "")) return false;
    await pulumi.log.warn(
      `droplet ${id} does not shut down in order. Switching it off; what it did not write is lost.`,
    );
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
