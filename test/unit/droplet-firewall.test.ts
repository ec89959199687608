import { describe, expect, test } from "vitest";
import type { DatabaseEntrance, FirewallSpec } from "../../sandbox/droplet/hypervisor.ts";
import { renderPacketRules } from "../../sandbox/droplet/firewall.ts";
import { sandboxHome } from "../../sandbox/home.ts";

const home = {
  ...sandboxHome("/somewhere"),
  id: "0123abcd",
  addressPrefix: "127.99.7",
  registryPort: 21001,
  acmePort: 11001,
};
const network = { name: "sandbox", bridge: "sb-0123abcd", subnet: "198.18.4.0/23", gateway: "198.18.4.1" };
const droplets = [
  { id: 1, publicAddress: "127.99.7.1" },
  { id: 2, publicAddress: "127.99.7.2" },
];

function render(firewalls: FirewallSpec[]) {
  return renderPacketRules({ home, network, metadataPort: 4000, droplets, firewalls });
}

/** The rules of one chain. */
function chain(rules: string, name: string): string[] {
  const body = new RegExp(`chain ${name} \\{\\n(.*?)  \\}`, "s").exec(rules)?.[1];
  if (body === undefined) throw new Error(`no chain ${name} in ${rules}`);
  return body
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);
}

test("the table is replaced in one transaction, whether it exists or not", () => {
  expect(render([]).split("\n").slice(0, 3)).toEqual([
    "table ip sandbox_0123abcd",
    "delete table ip sandbox_0123abcd",
    "table ip sandbox_0123abcd {",
  ]);
});

test("public addresses are redirected to the droplets' addresses", () => {
  expect(chain(render([]), "to_private_addresses")).toEqual([
    "type nat hook output priority -100;",
    "ip daddr 127.99.7.1 dnat to 198.18.5.1",
    "ip daddr 127.99.7.2 dnat to 198.18.5.2",
  ]);
});

test("a reserved address leads to its droplet, through the droplet's firewall", () => {
  const assigned = [{ id: 1, publicAddress: "127.99.7.1", reservedAddress: "127.99.7.251" }];
  const rules = renderPacketRules({ home, network, metadataPort: 4000, droplets: assigned, firewalls: [] });
  expect(chain(rules, "to_private_addresses").slice(1)).toEqual([
    "ip daddr 127.99.7.1 dnat to 198.18.5.1",
    "ip daddr 127.99.7.251 dnat to 198.18.5.1",
  ]);
  expect(chain(rules, "computer_to_droplets")).toContain("ct original ip daddr 127.99.7.251 goto inbound_1");
});

test("registry, ACME server and metadata service of this computer answer droplets", () => {
  expect(chain(render([]), "droplets_to_computer")).toContain(
    "ip daddr 198.18.4.1 tcp dport { 21001, 11001, 4000 } accept",
  );
});

test("a name server that runs answers whatever server a droplet asks", () => {
  const rules = renderPacketRules({ home, network, metadataPort: 4000, dnsPort: 11_000, droplets, firewalls: [] });
  expect(chain(rules, "to_services").slice(2)).toEqual([
    'iifname "sb-0123abcd" udp dport 53 dnat to 198.18.4.1:11000',
    'iifname "sb-0123abcd" tcp dport 53 dnat to 198.18.4.1:11000',
  ]);
  expect(chain(rules, "droplets_to_computer")).toContain("ip daddr 198.18.4.1 udp dport 11000 accept");
  expect(render([])).not.toContain("dport 53");
});

test("Spaces in use answer on port 443 of the gateway, and only there", () => {
  const rules = renderPacketRules({ home, network, metadataPort: 4000, spacesPort: 4001, droplets, firewalls: [] });
  expect(chain(rules, "to_services").slice(2)).toEqual([
    'iifname "sb-0123abcd" ip daddr 198.18.4.1 tcp dport 443 dnat to 198.18.4.1:4001',
  ]);
  expect(chain(rules, "droplets_to_computer")).toContain("ip daddr 198.18.4.1 tcp dport 4001 accept");
  expect(render([])).not.toContain("dport 443");
});

test("a droplet without a firewall is open", () => {
  const rules = render([{ id: "f", dropletIds: [2], inbound: [], outbound: [] }]);
  expect(chain(rules, "inbound_1")).toEqual([]);
  expect(chain(rules, "outbound_1")).toEqual([]);
  expect(chain(rules, "inbound_2")).toEqual(["drop"]);
  expect(chain(rules, "outbound_2")).toEqual(["drop"]);
});

test("each protocol, port and address of each firewall is a rule, except for IPv6", () => {
  const rules = render([
    {
      id: "a",
      dropletIds: [1],
      inbound: [
        { protocol: "tcp", ports: "22", addresses: ["0.0.0.0/0", "::/0"] },
        { protocol: "udp", ports: "8000-9000", addresses: ["10.0.0.0/8", "192.0.2.7/32"] },
      ],
      outbound: [{ protocol: "tcp", ports: "all", addresses: ["0.0.0.0/0"] }],
    },
    {
      id: "b",
      dropletIds: [2, 1],
      inbound: [{ protocol: "icmp", ports: "all", addresses: ["0.0.0.0/0"] }],
      outbound: [],
    },
  ]);
  expect(chain(rules, "inbound_1")).toEqual([
    "ct original ip saddr 0.0.0.0/0 tcp dport 22 accept",
    "ct original ip saddr 10.0.0.0/8 udp dport 8000-9000 accept",
    "ct original ip saddr 192.0.2.7/32 udp dport 8000-9000 accept",
    "ct original ip saddr 0.0.0.0/0 meta l4proto icmp accept",
    "drop",
  ]);
  expect(chain(rules, "outbound_1")).toEqual(["ip daddr 0.0.0.0/0 meta l4proto tcp accept", "drop"]);
  expect(chain(rules, "inbound_2")).toEqual(["ct original ip saddr 0.0.0.0/0 meta l4proto icmp accept", "drop"]);
});

describe("a database server", () => {
  const server = { node: 200, publicAddress: "127.99.7.200", publicNames: [], privateNames: [] };
  const rulesWith = (trusted?: DatabaseEntrance["trusted"]) =>
    renderPacketRules({
      ...{ home, network, metadataPort: 4000, droplets, firewalls: [] },
      databases: [{ ...server, ...(trusted && { trusted }) }],
    });

  test("is at an address of the droplets' network, to which its public one leads", () => {
    expect(chain(rulesWith(), "to_private_addresses")).toContain("ip daddr 127.99.7.200 dnat to 198.18.4.200");
  });

  test("lets everyone in without trusted sources, but this computer only at the public address", () => {
    const rules = rulesWith();
    expect(chain(rules, "computer_to_database_200")).toEqual(["accept"]);
    expect(chain(rules, "droplets_to_database_200")).toEqual(["accept"]);
    expect(chain(rules, "computer_to_droplets").slice(2, 5)).toEqual([
      "ip daddr { 198.18.4.200 } ct state established,related accept",
      "ip daddr 198.18.4.200 tcp dport 25060 ct original ip daddr 127.99.7.200 goto computer_to_database_200",
      "ip daddr { 198.18.4.200 } drop",
    ]);
    expect(chain(rules, "droplets_to_computer")).toContain(
      "ip daddr 198.18.4.200 tcp dport 25060 goto droplets_to_database_200",
    );
  });

  test("lets in trusted networks and droplets, also those whose public address is in such a network", () => {
    const rules = rulesWith({ networks: ["127.99.7.2/31", "192.0.2.7"], dropletIds: [1] });
    expect(chain(rules, "computer_to_database_200")).toEqual([
      "ct original ip saddr 127.99.7.2/31 accept",
      "ct original ip saddr 192.0.2.7 accept",
      "drop",
    ]);
    expect(chain(rules, "droplets_to_database_200")).toEqual([
      "ip saddr 198.18.5.1 accept",
      "ip saddr 198.18.5.2 accept",
      "drop",
    ]);
    expect(chain(rulesWith({ networks: [], dropletIds: [] }), "droplets_to_database_200")).toEqual(["drop"]);
  });

  test("gets from a droplet only what the droplet's outbound rules allow", () => {
    expect(chain(rulesWith(), "droplets_outbound_to_databases").slice(1)).toEqual([
      'iifname != "sb-0123abcd" accept',
      "ip daddr != { 198.18.4.200 } accept",
      "ct state established,related accept",
      "ip saddr 198.18.5.1 goto outbound_1",
      "ip saddr 198.18.5.2 goto outbound_2",
      "drop",
    ]);
  });
});
