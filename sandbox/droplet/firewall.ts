import { execa } from "execa";
import type { DatabaseEntrance, FirewallRule, FirewallSpec } from "./hypervisor.ts";
import type { SandboxHome } from "../home.ts";
import { databaseRules } from "./database/packet-rules.ts";
import { METADATA_ADDRESS } from "./metadata.ts";
import { privateAddress, type SandboxNetwork } from "./network.ts";

/** What the kernel's packet filter needs for one sandbox. */
export interface PacketRules {
  home: SandboxHome;
  network: SandboxNetwork;
  /** The metadata service's port on the network's gateway. */
  metadataPort: number;
  /** The name server's port on the network's gateway, if one runs. It then answers whatever name server a droplet asks. */
  dnsPort?: number;
  /** The port of Spaces on the network's gateway, if they are in use. Droplets reach it as port 443. */
  spacesPort?: number;
  droplets: { id: number; publicAddress: string; reservedAddress?: string }[];
  firewalls: FirewallSpec[];
  databases?: DatabaseEntrance[];
}

/** Replaces all rules in one step; established connections continue. */
export async function applyPacketRules(rules: PacketRules): Promise<void> {
  await execa("nft", ["--file", "-"], { input: renderPacketRules(rules) });
}

/** Removes all rules of a sandbox, if any exist. */
export async function removePacketRules(home: SandboxHome): Promise<void> {
  await execa("nft", ["--file", "-"], { input: emptyTable(home) });
}

/**
 * The rules as an nftables script. A droplet's public address is a loopback address of this computer, and so is its
 * reserved address. The rules redirect their packets to the droplet's address in the network, filter them by original
 * destination and source, and drop without an answer what the cloud's firewall drops.
 */
export function renderPacketRules(rules: PacketRules): string {
  const { home, network, metadataPort, dnsPort, spacesPort, droplets, firewalls } = rules;
  const { bridge, gateway } = network;
  const databases = databaseRules(network, droplets, rules.databases ?? []);
  const spaces = spacesPort === undefined ? [] : [spacesPort];
  const publicNetwork = `${home.addressPrefix}.0/24`;
  const entrances = droplets.flatMap(({ id, publicAddress, reservedAddress }) => {
    const target = privateAddress(network, publicAddress);
    return [publicAddress, reservedAddress]
      .filter((address) => address !== undefined)
      .map((address) => ({ id, address, target }));
  });
  const chains = [
    chain("to_private_addresses", "type nat hook output priority -100;", [
      ...entrances.map(({ address, target }) => `ip daddr ${address} dnat to ${target}`),
      ...databases.redirections,
    ]),
    chain("to_services", "type nat hook prerouting priority dstnat;", [
      `iifname "${bridge}" ip daddr ${METADATA_ADDRESS} tcp dport 80 dnat to ${gateway}:${metadataPort}`,
      ...spaces.map((port) => `iifname "${bridge}" ip daddr ${gateway} tcp dport 443 dnat to ${gateway}:${port}`),
      ...services(dnsPort, (protocol, port) => `iifname "${bridge}" ${protocol} dport 53 dnat to ${gateway}:${port}`),
    ]),
    // Gives the packet a source that the droplet can answer to.
    chain("to_gateway_address", "type nat hook postrouting priority srcnat;", [
      `oifname "${bridge}" ct original ip daddr ${publicNetwork} masquerade`,
    ]),
    // Not in the output hook, because there the packet still has the loopback interface.
    chain("computer_to_droplets", "type filter hook postrouting priority filter;", [
      // No droplet has this address. Without the rule, services of this computer would answer there.
      `ip daddr ${publicNetwork} drop`,
      ...databases.fromComputer,
      `oifname != "${bridge}" accept`,
      "ct state established,related accept",
      ...entrances.map(({ id, address }) => `ct original ip daddr ${address} goto inbound_${id}`),
      "drop",
    ]),
    chain("droplets_to_computer", "type filter hook input priority filter;", [
      `iifname != "${bridge}" accept`,
      "ct state established,related accept",
      `ip daddr ${gateway} tcp dport { ${home.registryPort}, ${home.acmePort}, ${metadataPort} } accept`,
      ...spaces.map((port) => `ip daddr ${gateway} tcp dport ${port} accept`),
      ...services(dnsPort, (protocol, port) => `ip daddr ${gateway} ${protocol} dport ${port} accept`),
      ...databases.fromDroplets,
      "drop",
    ]),
    ...databases.chains.map(({ name, hook, rules: lines }) => chain(name, hook, lines)),
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
      // If a chain reached by goto ends without a verdict, its hook's policy applies, which is to accept.
      return [
        chain(`inbound_${id}`, "", applied.length === 0 ? [] : [...inbound, "drop"]),
        chain(`outbound_${id}`, "", applied.length === 0 ? [] : [...outbound, "drop"]),
      ];
    }),
  ];
  return `${emptyTable(home)}table ip ${tableName(home)} {\n${chains.join("")}}\n`;
}

/** One line for each protocol of the name server, if it runs. */
function services(dnsPort: number | undefined, rule: (protocol: string, port: number) => string): string[] {
  return dnsPort === undefined ? [] : ["udp", "tcp"].map((protocol) => rule(protocol, dnsPort));
}

/** One line for each address. Droplets have no IPv6 here, so IPv6 addresses are ignored. */
function accepts(peer: string, { protocol, ports, addresses }: FirewallRule): string[] {
  const service = protocol === "icmp" || ports === "all" ? `meta l4proto ${protocol}` : `${protocol} dport ${ports}`;
  return addresses.filter((address) => !address.includes(":")).map((address) => `${peer} ${address} ${service} accept`);
}

function chain(name: string, hook: string, rules: string[]): string {
  return [`  chain ${name} {`, ...[hook, ...rules].filter(Boolean).map((line) => `    ${line}`), "  }", ""].join("\n");
}

/** The first line makes the table if it does not exist, so that the second one does not fail. */
function emptyTable(home: SandboxHome): string {
  return `table ip ${tableName(home)}\ndelete table ip ${tableName(home)}\n`;
}

function tableName(home: SandboxHome): string {
  return `sandbox_${home.id}`;
}
