import { json } from "./facts.ts";
import { error, type Finding, REFRESH, should, warning } from "./finding.ts";
import type { Inside } from "./inside.ts";
import type { State } from "../state.ts";

interface Network {
  Name: string;
  Driver: string;
  Internal: boolean;
  IPAM: { Config: { Subnet?: string; Gateway?: string }[] | null };
  Containers: Record<string, { Name: string }> | null;
}

/** What Docker makes by itself. */
const DOCKERS_OWN = ["bridge", "host", "none"];

/** Docker's networks, against those that are declared; PostgreSQL's rules name the declared one by its addresses. */
export function compareNetworks(state: State, inside: Inside): Finding[] {
  const networks = json<Network[]>(inside, "docker.networks");
  if (networks === undefined) return [];
  const declared = state.all("docker:index/network:Network").map(({ inputs }) => inputs as unknown as Declared);
  const containers = state.all("docker:index/container:Container").map(({ inputs }) => inputs["name"]);
  return [
    ...declared.flatMap((want) => {
      const path = `networks.${want.name}`;
      const found = networks.find(({ Name }) => Name === want.name);
      if (found === undefined) return [error(path, "is not there, it should be", REFRESH)];
      const [ipam] = found.IPAM.Config ?? [];
      const [wanted] = want.ipamConfigs;
      return [
        ...differ(`${path}.driver`, found.Driver, want.driver),
        ...differ(`${path}.subnet`, ipam?.Subnet, wanted?.subnet),
        ...differ(`${path}.gateway`, ipam?.Gateway, wanted?.gateway),
        ...Object.values(found.Containers ?? {})
          .filter(({ Name }) => !containers.includes(Name))
          .map(({ Name }) =>
            error(`${path}.containers`, `${Name} is connected, it should not be: PostgreSQL admits this network`, {
              why: "disconnect it",
              command: `docker network disconnect --force ${want.name} ${Name}`,
            }),
          ),
      ];
    }),
    ...networks
      .filter(({ Name }) => !DOCKERS_OWN.includes(Name) && !declared.some(({ name }) => name === Name))
      .map(({ Name }) =>
        warning(`networks.${Name}`, "is not one of this stack's, it should not be here", {
          why: "remove it if it is nobody's, or pass it over with --ignore",
          command: `docker network rm ${Name}`,
        }),
      ),
  ];
}

interface Declared {
  name: string;
  driver: string;
  ipamConfigs: { subnet: string; gateway: string }[];
}

function differ(path: string, found: unknown, expected: unknown): Finding[] {
  return found === expected ? [] : [error(path, should(found, expected), REFRESH)];
}
