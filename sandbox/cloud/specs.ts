import type { DropletSpec, FirewallRule, FirewallSpec, VolumeSpec, ZoneSpec } from "../droplet/hypervisor.ts";
import { reservedIpOf, volumesOf } from "./lookups.ts";
import type { CloudState, DropletRecord, Peers, Rule, VolumeRecord } from "./records.ts";
import { sizeOf } from "./sizes.ts";
import { zoneFile } from "./zone.ts";

/** A droplet as the machine room needs it. */
export function dropletSpec(state: CloudState, droplet: DropletRecord): DropletSpec {
  const size = sizeOf(droplet.size);
  const reservedAddress = reservedIpOf(state, droplet.id);
  return {
    id: droplet.id,
    name: droplet.name,
    region: droplet.region,
    memoryMegabytes: size.memory,
    vcpus: size.vcpus,
    publicAddress: droplet.public_address,
    ...(reservedAddress !== undefined && { reservedAddress }),
    ...(droplet.user_data !== undefined && { userData: droplet.user_data }),
    sshKeys: droplet.ssh_keys,
    volumeIds: volumesOf(state, droplet.id),
  };
}

/** A volume as the machine room needs it. */
export function volumeSpec(volume: VolumeRecord): VolumeSpec {
  return {
    id: volume.id,
    name: volume.name,
    sizeGigabytes: volume.size_gigabytes,
    ...(volume.snapshot_id !== undefined && { snapshotId: volume.snapshot_id }),
    ...(volume.filesystem_type !== "" && {
      filesystem: {
        type: volume.filesystem_type,
        ...(volume.filesystem_label !== "" && { label: volume.filesystem_label }),
      },
    }),
  };
}

/** All firewalls as the machine room needs them, with the machines and addresses that droplets and tags stand for now. */
export function firewallSpecs(state: CloudState): FirewallSpec[] {
  return state.firewalls.map((firewall) => ({
    id: firewall.id,
    dropletIds: state.droplets
      .filter(({ built }) => built)
      .filter(({ id, tags }) => firewall.droplet_ids.includes(id) || tags.some((tag) => firewall.tags.includes(tag)))
      .map(({ id }) => id),
    inbound: firewall.inbound_rules.map((rule) => ruleSpec(state, rule, rule.sources)),
    outbound: firewall.outbound_rules.map((rule) => ruleSpec(state, rule, rule.destinations)),
  }));
}

/** All domains as the machine room's name server needs them. */
export function zoneSpecs(state: CloudState): ZoneSpec[] {
  return state.domains.map((domain) => ({ name: domain.name, serial: domain.serial, file: zoneFile(domain) }));
}

function ruleSpec(state: CloudState, { protocol, ports }: Rule, peers: Peers): FirewallRule {
  const droplets = state.droplets.filter(
    ({ id, tags }) => peers.droplet_ids?.includes(id) || tags.some((tag) => peers.tags?.includes(tag)),
  );
  return {
    protocol,
    ports: ports === "0" ? "all" : ports,
    addresses: [
      ...(peers.addresses ?? []).map(asNetwork),
      ...droplets.map((droplet) => asNetwork(droplet.public_address)),
    ],
  };
}

function asNetwork(address: string): string {
  if (address.includes("/")) return address;
  return `${address}/${address.includes(":") ? 128 : 32}`;
}
