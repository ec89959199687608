import type { DatabaseEntrance } from "../hypervisor.ts";
import type { ServedName } from "../name-server.ts";
import { databaseAddress, type SandboxNetwork } from "../network.ts";

/** Where the names of database servers lead: droplets reach a server at its address in their network only. */
export function servedNames(network: SandboxNetwork, entrances: DatabaseEntrance[]): ServedName[] {
  return entrances.flatMap(({ node, publicAddress, publicNames, privateNames }) => {
    const inside = databaseAddress(network, node);
    return [
      ...publicNames.map((name) => ({ name, outside: publicAddress, inside })),
      ...privateNames.map((name) => ({ name, outside: inside, inside })),
    ];
  });
}
