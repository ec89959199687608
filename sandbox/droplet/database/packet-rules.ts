import { BlockList } from "node:net";

import { DATABASE_PORT, type DatabaseEntrance } from "../hypervisor.ts";
import { databaseAddress, privateAddress, type SandboxNetwork } from "../network.ts";

interface Chain {
  name: string;
  hook: string;
  rules: string[];
}

/**
 * The packet filter's rules for database servers, which listen on addresses of this computer in the droplets' network. A
 * client on this computer must use a server's public address. What the cluster's trusted sources do not allow is dropped
 * without an answer, for droplets also what their cloud firewall's outbound rules do not allow.
 */
export function databaseRules(
  network: SandboxNetwork,
  droplets: { id: number; publicAddress: string }[],
  databases: DatabaseEntrance[],
) {
  if (databases.length === 0) return { redirections: [], fromComputer: [], fromDroplets: [], chains: [] };
  const servers = databases.map((entrance) => ({
    ...entrance,
    address: databaseAddress(network, entrance.node),
    service: `ip daddr ${databaseAddress(network, entrance.node)} tcp dport ${DATABASE_PORT}`,
  }));
  const addresses = `{ ${servers.map(({ address }) => address).join(", ")} }`;
  const chains: Chain[] = servers.flatMap((server) => [
    { name: `computer_to_database_${server.node}`, hook: "", rules: trustedNetworks(server) },
    { name: `droplets_to_database_${server.node}`, hook: "", rules: trustedDroplets(server) },
  ]);
  chains.push({
    // An accepted packet continues with the hook's next chain, droplets_to_computer.
    name: "droplets_outbound_to_databases",
    hook: "type filter hook input priority filter - 1;",
    rules: [
      `iifname != "${network.bridge}" accept`,
      `ip daddr != ${addresses} accept`,
      "ct state established,related accept",
      ...droplets.map(
        ({ id, publicAddress }) => `ip saddr ${privateAddress(network, publicAddress)} goto outbound_${id}`,
      ),
      "drop",
    ],
  });
  return {
    redirections: servers.map(({ publicAddress, address }) => `ip daddr ${publicAddress} dnat to ${address}`),
    fromComputer: [
      `ip daddr ${addresses} ct state established,related accept`,
      ...servers.map(
        ({ node, publicAddress, service }) =>
          `${service} ct original ip daddr ${publicAddress} goto computer_to_database_${node}`,
      ),
      `ip daddr ${addresses} drop`,
    ],
    fromDroplets: servers.map(({ node, service }) => `${service} goto droplets_to_database_${node}`),
    chains,
  };

  function trustedDroplets({ trusted }: DatabaseEntrance): string[] {
    if (!trusted) return ["accept"];
    const networks = new BlockList();
    for (const cidr of trusted.networks) {
      const [address = "", prefix = "32"] = cidr.split("/");
      networks.addSubnet(address, Number(prefix), "ipv4");
    }
    const sources = droplets
      .filter(({ id, publicAddress }) => trusted.dropletIds.includes(id) || networks.check(publicAddress))
      .map(({ publicAddress }) => `ip saddr ${privateAddress(network, publicAddress)} accept`);
    return [...sources, "drop"];
  }
}

function trustedNetworks({ trusted }: DatabaseEntrance): string[] {
  if (!trusted) return ["accept"];
  return [...trusted.networks.map((cidr) => `ct original ip saddr ${cidr} accept`), "drop"];
}
