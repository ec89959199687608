import { isEmpty } from "./configuration.ts";
import { json } from "../facts.ts";
import { type Finding, findingsBy, missing, undeclared } from "../finding.ts";
import { refresh } from "../repair.ts";
import type { Inside } from "../inside.ts";
import type { State } from "../../state.ts";
import { isInstances } from "./containers.ts";
import { appOf, ID, jobOf, RESOURCES, taskOf, TYPES } from "../../../contract/names.ts";

interface Network {
  Id: string;
  Name: string;
  Driver: string;
  Options: Record<string, string> | null;
  Internal: boolean;
  Attachable: boolean;
  Ingress: boolean;
  ConfigOnly: boolean;
  EnableIPv6: boolean;
  Labels: Record<string, string> | null;
  IPAM: {
    Driver?: string;
    Options?: Record<string, string> | null;
    Config: { Subnet?: string; Gateway?: string; IPRange?: string; AuxiliaryAddresses?: object }[] | null;
  };
  Containers: Record<string, { Name: string; IPv4Address: string }> | null;
}

const { error, warning } = findingsBy("docker.networks", "containers");

const ANEW = { up: [RESOURCES.network] };

/** Networks that Docker itself creates. */
const DOCKERS_OWN = ["bridge", "host", "none"];

/** Compares Docker's networks with those that are declared. PostgreSQL's rules name the declared one by its addresses. */
export function compareNetworks(state: State, inside: Inside): Finding[] {
  const networks = json<Network[]>(inside, "docker.networks");
  if (networks === undefined) return [];
  const declared = state.all(TYPES.network).map(({ inputs }) => inputs as unknown as Declared);
  const containers = state.all(TYPES.container).map(({ inputs }) => String(inputs["name"]));
  return [
    ...declared.flatMap((want) => {
      const path = `networks.${want.name}`;
      const found = networks.find(({ Name }) => Name === want.name);
      if (found === undefined) return [error(path, missing(), refresh(RESOURCES.network))];
      const [ipam] = found.IPAM.Config ?? [];
      const [wanted] = want.ipamConfigs;
      return [
        ...differ(path, "driver", found.Driver, want.driver),
        ...differ(path, "subnet", ipam?.Subnet, wanted?.subnet),
        ...differ(path, "gateway", ipam?.Gateway, wanted?.gateway),
        ...beside(found).map(([name, value]) =>
          error(
            [path, name],
            undeclared(`is ${JSON.stringify(value)}, it should be nothing, because nothing declares it`, value),
            ANEW,
          ),
        ),
        ...Object.values(found.Containers ?? {})
          // A version of an app that is left over, or a task or a job, is a finding about containers.
          .filter(
            ({ Name }) =>
              !isInstances(Name) &&
              !containers.includes(Name) &&
              (appOf(ID, Name) ?? taskOf(ID, Name) ?? jobOf(ID, Name)) === undefined,
          )
          .map(({ Name }) =>
            error(
              [path, "containers"],
              undeclared(`${Name} is connected, it should not be: PostgreSQL admits this network`, Name),
              { why: "disconnect it", command: `docker network disconnect --force ${want.name} ${Name}` },
            ),
          ),
      ];
    }),
    ...networks
      .filter(({ Name }) => !DOCKERS_OWN.includes(Name) && !declared.some(({ name }) => name === Name))
      .map(({ Name }) =>
        warning(`networks.${Name}`, undeclared("is not one of this stack's, it should not be here"), {
          why: "remove it if nobody needs it, or ignore it with driftIgnore",
          command: `docker network rm ${Name}`,
        }),
      ),
  ];
}

/** A network's properties that nothing declares, without the options that some releases of Docker add themselves. */
function beside(network: Network): [name: string, value: unknown][] {
  const { Internal, Attachable, Ingress, ConfigOnly, EnableIPv6, Labels, IPAM } = network;
  const options = Object.entries(network.Options ?? {}).filter(([name]) => !/enable_ipv[46]$/.test(name));
  const [addresses] = IPAM.Config ?? [];
  const all = {
    ...{ Internal, Attachable, Ingress, ConfigOnly, EnableIPv6, Labels, Options: Object.fromEntries(options) },
    ...{ IPRange: addresses?.IPRange, AuxiliaryAddresses: addresses?.AuxiliaryAddresses },
    ...{ IpamOptions: IPAM.Options, IpamDriver: IPAM.Driver === "default" ? "" : IPAM.Driver },
  };
  return Object.entries(all).filter(([, value]) => !isEmpty(value));
}

interface Declared {
  name: string;
  driver: string;
  ipamConfigs: { subnet: string; gateway: string }[];
}

function differ(subject: string, property: string, found: unknown, expected: unknown): Finding[] {
  return found === expected ? [] : [error([subject, property], { expected, found }, ANEW)];
}

/** The declared addresses of each network. */
export function declaredNetworks(state: State): { name: string; subnet: string; gateway: string }[] {
  return state.all(TYPES.network).flatMap(({ inputs }) => {
    const { name, ipamConfigs } = inputs as unknown as Declared;
    return ipamConfigs.map(({ subnet, gateway }) => ({ name, subnet, gateway }));
  });
}

/** The bridges, subnets and addresses of Docker's networks, as routes and packet rules name them. */
export interface Ends {
  bridges: string[];
  subnets: string[];
  addresses: string[];
  networks: Map<string, { bridge: string }>;
  /** Addresses of running containers, by name: one for each network of the container. */
  byName: Map<string, string[]>;
}

export function ends(inside: Inside): Ends {
  const networks = json<Network[]>(inside, "docker.networks") ?? [];
  const bridge = ({ Id, Options }: Network) => Options?.["com.docker.network.bridge.name"] ?? `br-${Id.slice(0, 12)}`;
  const containers = networks.flatMap(({ Containers }) => Object.values(Containers ?? {}));
  const byName = new Map<string, string[]>();
  for (const { Name, IPv4Address } of containers) {
    byName.set(Name, [...(byName.get(Name) ?? []), IPv4Address.replace(/\/.*/, "")]);
  }
  return {
    bridges: networks.map(bridge),
    subnets: networks.flatMap(({ IPAM }) => (IPAM.Config ?? []).map(({ Subnet = "" }) => Subnet)),
    addresses: [...byName.values()].flat(),
    networks: new Map(networks.map((network) => [network.Name, { bridge: bridge(network) }])),
    byName,
  };
}
