import { isLocked } from "../actions.ts";
import { privateAddress, publicAddress, v6Address } from "../addresses.ts";
import type { Cloud } from "../cloud.ts";
import { imageOf } from "../images.ts";
import { reservedIpOf, volumesOf } from "../lookups.ts";
import type { CloudState, DropletRecord } from "../records.ts";
import { regionOf } from "../regions.ts";
import { sizeOf } from "../sizes.ts";

/** The status as clients see it, which includes a power-off from inside the droplet. */
export async function currentStatus(cloud: Cloud, droplet: DropletRecord): Promise<DropletRecord["status"]> {
  if (droplet.status === "new" || droplet.dead || isLocked(cloud.store.state, droplet.id)) return droplet.status;
  return (await cloud.hypervisor.dropletStatus(droplet.id)) === "running" ? "active" : "off";
}

export async function dropletView(cloud: Cloud, droplet: DropletRecord) {
  const { state } = cloud.store;
  const size = sizeOf(droplet.size);
  return {
    id: droplet.id,
    name: droplet.name,
    memory: size.memory,
    vcpus: size.vcpus,
    disk: droplet.disk,
    disk_info: [{ type: "local", size: { amount: droplet.disk, unit: "gib" } }],
    locked: isLocked(state, droplet.id),
    status: await currentStatus(cloud, droplet),
    kernel: null,
    created_at: droplet.created_at,
    features: droplet.features,
    backup_ids: [] as number[],
    next_backup_window: null,
    snapshot_ids: [] as number[],
    image: imageOf(droplet.image),
    volume_ids: volumesOf(state, droplet.id),
    size,
    size_slug: size.slug,
    networks: networksOf(state, droplet, cloud.home.addressPrefix),
    region: regionOf(droplet.region),
    tags: droplet.tags,
    vpc_uuid: droplet.vpc_uuid,
  };
}

/** The addresses as clients see them: none until the droplet is active, because the official provider waits for that. */
function networksOf(state: CloudState, droplet: DropletRecord, prefix: string) {
  if (droplet.status === "new") return { v4: [], v6: [] };
  const reserved = reservedIpOf(state, droplet.id);
  const ofPublicNetwork = { netmask: "255.255.255.0", gateway: publicAddress(prefix, 0), type: "public" };
  return {
    v4: [
      {
        ip_address: privateAddress(droplet.host),
        netmask: "255.255.240.0",
        gateway: privateAddress(0),
        type: "private",
      },
      { ip_address: droplet.public_address, ...ofPublicNetwork },
      ...(reserved === undefined ? [] : [{ ip_address: reserved, ...ofPublicNetwork }]),
    ],
    v6: droplet.features.includes("ipv6")
      ? [{ ip_address: v6Address(droplet.host), netmask: 64, gateway: v6Address(0), type: "public" }]
      : [],
  };
}
