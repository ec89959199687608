import { execa } from "execa";
import type { FirewallRule, FirewallSpec } from "./hypervisor.ts";
import type { SandboxHome } from "../home.ts";
import { METADATA_ADDRESS } from "./metadata.ts";
import { privateAddress, type SandboxNetwork } from "./network.ts";

/** All that the kernel's packet filter is to do for one sandbox. */
export interface PacketRules {
  home: SandboxHome;
  network: SandboxNetwork;
  /** Where the metadata service listens, on the network's gateway. */
  metadataPort: number;
  droplets: { id: number; publicAddress: string }[];
  firewalls: FirewallSpec[];
}

/** Puts the rules in force, all at once; connections that are established go on. */
export async function applyPacketRules(rules: PacketRules): Promise<void> {
  await execa("nft", ["--file", "-"], { input: renderPacketRules(rules) });
}

/** Removes all rules of a sandbox, if there are any. */
export async function removePacketRules(home: SandboxHome): Promise<void> {
  await execa("nft", ["--file", "-"], { input: emptyTable(home) });
}

/**
 * The rules as an nftables script. A droplet's public address is a loopback address of this computer: what goes there
 * is led to the droplet's address in the network, filtered by the address it was sent to and the one it came from, and
 * dropped without an answer where the cloud's firewall would drop it.
 */
export function renderPacketRules({ home, network, metadataPort, droplets, firewalls }: PacketRules): string {
  const { bridge, gateway } = network;
  const publicNetwork = `${home.addressPrefix}.0/24`;
  const chains = [
    chain(
      "to_private_addresses",
      "type nat hook output priority -100;",
      droplets.map(
        ({ publicAddress }) => `ip daddr ${publicAddress} dnat to ${privateAddress(network, publicAddress)}`,
      ),
    ),
    chain("to_metadata", "type nat hook prerouting priority dstnat;", [
      `iifname "${bridge}" ip daddr ${METADATA_ADDRESS} tcp dport 80 dnat to ${gateway}:${metadataPort}`,
    ]),
    // The droplet answers to an address that it can reach.
    chain("to_gateway_address", "type nat hook postrouting priority srcnat;", [
      `oifname "${bridge}" ct original ip daddr ${publicNetwork} masquerade`,
    ]),
    // Not in the output hook, which still takes the loopback interface for the one the packet leaves by.
    chain("computer_to_droplets", "type filter hook postrouting priority filter;", [
      // No droplet has this address; without the rule this computer's own services would answer there.
      `ip daddr ${publicNetwork} drop`,
      `oifname != "${bridge}" accept`,
      "ct state established,related accept",
      ...droplets.map(({ id, publicAddress }) => `ct original ip daddr ${publicAddress} goto inbound_${id}`),
      "drop",
    ]),
    chain("droplets_to_computer", "type filter hook input priority filter;", [
      `iifname != "${bridge}" accept`,
      "ct state established,related accept",
      `ip daddr ${gateway} tcp dport { ${home.registryPort}, ${metadataPort} } accept`,
      "drop",
    ]),
    chain("droplets_to_others", "type filter hook forward priority filter;", [
      "ct state established,related accept",
      `oifname "${bridge}" drop`,
      `iifname != "${bridge}" accept`,
      ...droplets.map(
        ({ id, publicAddress }) => `ip saddr ${privateAddress(network, publicAddress)} goto outbound_${id}`,
      ),
      "drop",
    ]),
    ...droplets.flatMap(({ id }) => {
      const applied = firewalls.filter(({ dropletIds }) => dropletIds.includes(id));
      const inbound = applied
        .flatMap((firewall) => firewall.inbound)
        .flatMap((rule) => accepts("ct original ip saddr", rule));
      const outbound = applied.flatMap((firewall) => firewall.outbound).flatMap((rule) => accepts("ip daddr", rule));
      // A chain that is gone to and ends without a verdict falls back on its hook's policy, which is to accept.
      return [
        chain(`inbound_${id}`, "", applied.length === 0 ? [] : [...inbound, "drop"]),
        chain(`outbound_${id}`, "", applied.length === 0 ? [] : [...outbound, "drop"]),
      ];
    }),
  ];
  return `${emptyTable(home)}table ip ${tableName(home)} {\n${chains.join("")}}\n`;
}

/** One line for each address; a droplet has no IPv6 here, so rules for that match nothing. */
function accepts(peer: string, { protocol, ports, addresses }: FirewallRule): string[] {
  const service = protocol === "icmp" || ports === "all" ? `meta l4proto ${protocol}` : `${protocol} dport ${ports}`;
  return addresses.filter((address) => !address.includes(":")).map((address) => `${peer} ${address} ${service} accept`);
}

function chain(name: string, hook: string, rules: string[]): string {
  return [`  chain ${name} {`, ...[hook, ...rules].filter(Boolean).map((line) => `    ${line}`), "  }", ""].join("\n");
}

/** Naming a table first makes sure that it is there to be deleted. */
function emptyTable(home: SandboxHome): string {
  return `table ip ${tableName(home)}\ndelete table ip ${tableName(home)}\n`;
}

function tableName(home: SandboxHome): string {
  return `sandbox_${home.id}`;
}
