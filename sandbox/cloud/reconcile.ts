import { isLocked } from "./actions.ts";
import { finishVolume, removeVolume } from "./changes.ts";
import type { CloudCore } from "./core.ts";
import { dropletSpec, volumeSpec } from "./specs.ts";

/**
 * Makes the machine room match the state, after a crash or after a restart of the computer, which stops droplets and
 * detaches disks. It skips a droplet with an action in progress, because that action is repeated.
 */
export async function reconcile(cloud: CloudCore): Promise<void> {
  await reconcileVolumes(cloud);
  await reconcileDroplets(cloud);
  await cloud.applyFirewalls();
}

async function reconcileVolumes({ hypervisor, store }: CloudCore): Promise<void> {
  for (const volume of store.state.volumes) {
    if (volume.phase === "deleting") {
      await hypervisor.deleteVolume(volume.id);
      await store.change((draft) => {
        removeVolume(draft, volume.id);
      });
      continue;
    }
    await hypervisor.createVolume(volumeSpec(volume));
    if (volume.phase === "creating") {
      await store.change((draft) => {
        finishVolume(draft, volume.id);
      });
    }
  }
}

async function reconcileDroplets({ hypervisor, log, store }: CloudCore): Promise<void> {
  for (const droplet of store.state.droplets) {
    if (droplet.status === "new" || isLocked(store.state, droplet.id)) continue;
    const spec = dropletSpec(store.state, droplet);
    const machine = await hypervisor.dropletStatus(droplet.id);
    if (machine === "absent") {
      log(`droplet ${droplet.id}: its machine is gone, making a new one`);
      await hypervisor.createDroplet(spec);
    }
    for (const volumeId of spec.volumeIds) await hypervisor.attachVolume(volumeId, droplet.id);
    const on = droplet.status === "active" && !droplet.dead;
    if (on) await hypervisor.startDroplet(droplet.id);
    else if (machine === "absent") await hypervisor.stopDroplet(droplet.id, "power-cut");
  }
}
