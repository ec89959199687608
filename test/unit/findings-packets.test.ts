import { describe, expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import type { Inside } from "../../operations/findings/inside.ts";
import { comparePackets } from "../../operations/findings/network/packets.ts";
import { insideOf, stateOf } from "./findings.ts";

const BRIDGE = "br-0123456789ab";

/** The rules of Docker 28, which has other chains than the sandbox's release. */
const DOCKER_28 = `
*raw
-A PREROUTING -d 172.30.0.2/32 ! -i ${BRIDGE} -j DROP
*filter
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-FORWARD
-A DOCKER -d 172.30.0.2/32 ! -i ${BRIDGE} -o ${BRIDGE} -p tcp -m tcp --dport 3210 -j ACCEPT
-A DOCKER ! -i ${BRIDGE} -o ${BRIDGE} -j DROP
-A DOCKER-BRIDGE -o ${BRIDGE} -j DOCKER
-A DOCKER-CT -o ${BRIDGE} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-A DOCKER-FORWARD -j DOCKER-CT
-A DOCKER-FORWARD -j DOCKER-ISOLATION-STAGE-1
-A DOCKER-FORWARD -j DOCKER-BRIDGE
-A DOCKER-FORWARD -i ${BRIDGE} -j ACCEPT
-A DOCKER-ISOLATION-STAGE-1 -i ${BRIDGE} ! -o ${BRIDGE} -j DOCKER-ISOLATION-STAGE-2
-A DOCKER-ISOLATION-STAGE-2 -o ${BRIDGE} -j DROP
*nat
-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER
-A OUTPUT ! -d 127.0.0.0/8 -m addrtype --dst-type LOCAL -j DOCKER
-A POSTROUTING -s 172.30.0.0/24 ! -o ${BRIDGE} -j MASQUERADE
-A DOCKER ! -i ${BRIDGE} -p tcp -m tcp --dport 3210 -j DNAT --to-destination 172.30.0.2:3210
`;

const state = stateOf(
  {
    type: TYPES.network,
    name: RESOURCES.network,
    inputs: { name: "convex", ipamConfigs: [{ subnet: "172.30.0.0/24", gateway: "172.30.0.1" }] },
  },
  {
    type: TYPES.container,
    name: RESOURCES.backend,
    inputs: { name: "convex-backend", ports: [{ internal: 3210, external: 3210 }] },
  },
);

const network = (Name: string, bridge: string, subnet: string, backend: string) => ({
  Id: bridge.replace("br-", ""),
  Name,
  Options: {},
  IPAM: { Config: [{ Subnet: subnet }] },
  Containers: { c: { Name: "convex-backend", IPv4Address: backend } },
});

/** A machine with these rules and their handles in nft, and perhaps more networks than the declared one. */
function machine(saved: string, policy = "accept", ...others: object[]): Inside {
  let table = "";
  let handle = 0;
  const nftables: object[] = [{ chain: { family: "ip", table: "filter", name: "INPUT", policy } }];
  for (const line of saved.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1);
    const [, chain] = /^-A (\S+)/.exec(line) ?? [];
    if (chain !== undefined) nftables.push({ rule: { family: "ip", table, chain, handle: ++handle } });
  }
  const networks = [network("convex", BRIDGE, "172.30.0.0/24", "172.30.0.2/24"), ...others];
  return insideOf({
    nft: { nftables },
    iptables: saved,
    "docker.networks": networks,
    "docker.containers": [{ Name: "/convex-backend", State: { Status: "running" } }],
  });
}

const found = (inside: Inside) => comparePackets(state, inside).map(({ path }) => path);

describe("packet rules", () => {
  it("of another release of Docker are not found", () => {
    expect(found(machine(DOCKER_28))).toEqual([]);
  });

  it("may lead to each address of a container in several networks", () => {
    const stranger = network("stranger", "br-ba9876543210", "172.31.0.0/24", "172.31.0.2/24");
    expect(found(machine(DOCKER_28, "accept", stranger))).toEqual([]);
  });

  it.each([
    [
      "-A FORWARD -j DOCKER-FORWARD\n",
      ["filter.FORWARD.networks.convex", "filter.FORWARD.containers.convex-backend.3210"],
    ],
    ["-A PREROUTING -m addrtype --dst-type LOCAL -j DOCKER\n", ["nat.PREROUTING.containers.convex-backend.3210"]],
    [`-A POSTROUTING -s 172.30.0.0/24 ! -o ${BRIDGE} -j MASQUERADE\n`, ["nat.POSTROUTING.networks.convex"]],
  ])("are found to be missing: %s", (rule, paths) => {
    expect([...new Set(found(machine(DOCKER_28.replace(rule, ""))))]).toEqual(paths.map((path) => `nft.ip.${path}`));
  });

  it.each([
    ["filter", "-A FORWARD -s 192.0.2.1/32 -j DROP"],
    ["filter", "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT"],
    ["filter", "-A DOCKER -p tcp -m tcp --dport 3210 -j DROP"],
    ["filter", "-A DOCKER-USER -s 192.0.2.1/32 -j RETURN"],
    ["filter", "-A OTHER -j RETURN"],
    ["nat", "-A PREROUTING -p tcp -m tcp --dport 3210 -j REDIRECT --to-ports 9"],
    ["nat", "-A DOCKER -p tcp -m tcp --dport 3210 -j DNAT --to-destination 192.0.2.1:3210"],
    ["mangle", "-A PREROUTING -s 192.0.2.1/32 -j DROP"],
    ["raw", "-A PREROUTING ! -i lo -p tcp -m tcp --dport 3210 -j DROP"],
    ["filter", '-A INPUT -p tcp -m comment --comment "was -j old" -m tcp --dport 22 -j DROP'],
  ])("that nothing declares are found in %s: %s", (table, rule) => {
    const chain = rule.split(" ")[1] ?? "";
    const expected = `nft.ip.${table}.${chain}`;
    expect(found(machine(`*${table}\n${rule}\n${DOCKER_28}`))).toEqual([expected]);
  });

  it("are deleted in an order that locks nobody out", () => {
    const own = "-A INPUT -p tcp -m tcp --dport 22 -j ACCEPT\n-A INPUT -j DROP\n";
    const [dropped, rules] = comparePackets(state, machine(`*filter\n${own}${DOCKER_28}`, "drop"));
    expect(dropped?.path).toBe("nft.ip.filter.INPUT.policy");
    expect(rules?.message).toBe("rules 1, 2 are declared by nothing");
    expect(rules?.repair).toMatchObject({
      command:
        "nft chain ip filter INPUT '{ policy accept; }' && nft delete rule ip filter INPUT handle 2 && nft delete rule ip filter INPUT handle 1",
    });
  });

  it.each([
    ["ufw", "-A INPUT -j ufw-before-input\n-A ufw-before-input -j DROP\n"],
    ["fail2ban", "-A INPUT -p tcp -j f2b-sshd\n-A f2b-sshd -s 192.0.2.1/32 -j DROP\n"],
  ])("of %s are one finding", (name, own) => {
    expect(found(machine(`*filter\n${own}${DOCKER_28}`, "drop"))).toEqual([`nft.${name}`]);
  });

  it("that iptables cannot show are one finding for their table, and none is missing there", () => {
    const table = DOCKER_28.replace(/\*filter[^*]*/, "# Table `filter' is incompatible, use 'nft' tool.\n");
    const told = machine(DOCKER_28);
    told.facts.set("iptables", { exitCode: 0, text: table });
    expect(found(told)).toEqual(["nft.ip.filter"]);
  });

  it("that lead to a chain without rules are not found", () => {
    expect(found(machine(`*filter\n-A INPUT -j ufw-before-input\n${DOCKER_28}`))).toEqual([]);
  });

  it("do not hide a policy that refuses everything", () => {
    expect(found(machine(DOCKER_28, "drop"))).toEqual(["nft.ip.filter.INPUT.policy"]);
  });
});
