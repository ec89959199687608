import { removeDroplet } from "./changes.ts";
import type { CloudCore } from "./core.ts";
import { recordedDroplet, recordedReservedIp, recordedVolume } from "./lookups.ts";
import { joinProjectOf } from "./project-resources.ts";
import type { CloudState, DropletRecord, Work } from "./records.ts";
import { sizeOf } from "./sizes.ts";
import { dropletSpec } from "./specs.ts";

/**
 * Does an action's work in the machine room. Returns its change to the state, which is recorded in one step with the
 * action's end. A repetition leads to the same state.
 */
export async function perform(cloud: CloudCore, work: Work, signal: AbortSignal): Promise<(draft: CloudState) => void> {
  const { hypervisor } = cloud;
  switch (work.kind) {
    case "create":
      return create(cloud, work.droplet_id, signal);
    case "destroy":
      await hypervisor.destroyDroplet(work.droplet_id);
      return (draft) => {
        removeDroplet(draft, work.droplet_id);
      };
    case "power_on":
      await hypervisor.startDroplet(work.droplet_id);
      return powered(work.droplet_id, "active");
    case "power_off":
      await hypervisor.stopDroplet(work.droplet_id, "power-cut");
      return powered(work.droplet_id, "off");
    case "shutdown":
      await hypervisor.stopDroplet(work.droplet_id, "graceful");
      return powered(work.droplet_id, "off");
    case "power_cycle":
      await hypervisor.stopDroplet(work.droplet_id, "power-cut");
      await hypervisor.startDroplet(work.droplet_id);
      return powered(work.droplet_id, "active");
    case "reboot":
      await hypervisor.rebootDroplet(work.droplet_id);
      return powered(work.droplet_id, "active");
    case "rename":
      return (draft) => {
        recordedDroplet(draft, work.droplet_id).name = work.name;
      };
    case "resize": {
      const size = sizeOf(work.size);
      await hypervisor.resizeDroplet(work.droplet_id, { memoryMegabytes: size.memory, vcpus: size.vcpus });
      return (draft) => {
        const droplet = recordedDroplet(draft, work.droplet_id);
        droplet.size = size.slug;
        if (work.disk) droplet.disk = size.disk;
      };
    }
    case "enable_backups":
    case "change_backup_policy":
      return (draft) => {
        const droplet = recordedDroplet(draft, work.droplet_id);
        setFeature(droplet, "backups", true);
        droplet.backup_policy = work.policy;
      };
    case "disable_backups":
      return (draft) => {
        const droplet = recordedDroplet(draft, work.droplet_id);
        setFeature(droplet, "backups", false);
        delete droplet.backup_policy;
      };
    case "enable_ipv6":
      return (draft) => {
        setFeature(recordedDroplet(draft, work.droplet_id), "ipv6", true);
      };
    case "attach_volume":
      await hypervisor.attachVolume(work.volume_id, work.droplet_id);
      return (draft) => {
        recordedVolume(draft, work.volume_id).droplet_id = work.droplet_id;
      };
    case "detach_volume":
      await hypervisor.detachVolume(work.volume_id);
      return (draft) => {
        recordedVolume(draft, work.volume_id).droplet_id = null;
      };
    case "resize_volume":
      await hypervisor.growVolume(work.volume_id, work.size_gigabytes);
      return (draft) => {
        recordedVolume(draft, work.volume_id).size_gigabytes = work.size_gigabytes;
      };
    case "assign_ip":
      await hypervisor.assignAddress(work.reserved_ip, work.droplet_id);
      return (draft) => {
        recordedReservedIp(draft, work.reserved_ip).droplet_id = work.droplet_id;
        joinProjectOf(draft, work.droplet_id, work.reserved_ip);
      };
    case "unassign_ip":
      await hypervisor.releaseAddress(work.reserved_ip);
      return (draft) => {
        recordedReservedIp(draft, work.reserved_ip).droplet_id = null;
      };
  }
}

async function create(cloud: CloudCore, id: number, signal: AbortSignal) {
  const { faults, applyFirewalls, hypervisor, store } = cloud;
  const fault = faults.takeBoot();
  if (fault?.boot === "never") await faults.lifted(fault, signal);
  await hypervisor.createDroplet(dropletSpec(store.state, recordedDroplet(store.state, id)));
  if (fault?.boot === "dead") await hypervisor.stopDroplet(id, "power-cut");
  // The firewalls that name the droplet are applied before clients see it.
  await store.change((draft) => {
    recordedDroplet(draft, id).built = true;
  });
  await applyFirewalls();
  return (draft: CloudState) => {
    const droplet = recordedDroplet(draft, id);
    droplet.status = "active";
    droplet.dead = fault?.boot === "dead";
  };
}

function powered(id: number, status: "active" | "off") {
  return (draft: CloudState) => {
    const droplet = recordedDroplet(draft, id);
    droplet.status = status;
    droplet.dead = false;
  };
}

function setFeature(droplet: DropletRecord, feature: string, on: boolean): void {
  droplet.features = droplet.features.filter((other) => other !== feature);
  if (on) droplet.features.push(feature);
}
