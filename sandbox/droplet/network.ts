import { writeFile } from "node:fs/promises";
import Docker from "dockerode";
import { execa } from "execa";
import { SANDBOX_LABEL, type SandboxHome } from "../home.ts";
import { hasStatus } from "../docker.ts";

/** The Docker bridge of all droplets of one sandbox. */
export interface SandboxNetwork {
  name: string;
  /** The bridge's interface on this computer. */
  bridge: string;
  /** In CIDR notation; this computer is in the lower half, the droplets are in the upper half. */
  subnet: string;
  /** This computer's address in the network; the sandbox's services for droplets listen on it. */
  gateway: string;
}

/** The droplets' name for this computer's image registry. */
export const REGISTRY_HOST = "registry.sandbox";

/** Finds the sandbox's network, or makes it. Idempotent; several processes may call it at the same time. */
export async function ensureNetwork(home: SandboxHome): Promise<SandboxNetwork> {
  const docker = new Docker();
  const name = `sandbox-${home.id}`;
  // The kernel allows 15 characters.
  const bridge = `sb-${home.id}`;
  const network = (await findNetwork(docker, name)) ?? (await createNetwork(docker, home, name, bridge));
  // A droplet's public address is a loopback address, and by default the kernel routes these over no other interface.
  await writeFile(`/proc/sys/net/ipv4/conf/${bridge}/route_localnet`, "1");
  return { name, bridge, ...network };
}

/** A droplet's address in the network. It follows from the public one, so it never changes. */
export function privateAddress(network: SandboxNetwork, publicAddress: string): string {
  const [first, second, third] = network.gateway.split(".").map(Number);
  return [first, second, Number(third) + 1, publicAddress.split(".")[3]].join(".");
}

/** A database server's address in the network, in this computer's half. */
export function databaseAddress(network: SandboxNetwork, node: number): string {
  return [...network.gateway.split(".").slice(0, 3), node].join(".");
}

/** Gives this computer one more address in the network; does nothing if it has it. */
export async function addAddress(network: SandboxNetwork, address: string): Promise<void> {
  await execa("ip", ["address", "replace", `${address}/32`, "dev", network.bridge]);
}

/** Takes it away again. */
export async function removeAddress(network: SandboxNetwork, address: string): Promise<void> {
  // If it fails, there is no such address, or no network any more.
  await execa("ip", ["address", "delete", `${address}/32`, "dev", network.bridge], { reject: false });
}

/**
 * Disconnects a droplet until its next boot, because without power, a computer does not close its connections.
 *
 * @param init  this computer's id of the droplet's first process
 */
export async function silence(init: number): Promise<void> {
  // If it fails, the droplet has ended by itself.
  await execa("nsenter", ["--target", String(init), "--net", "ip", "link", "set", "eth0", "down"], { reject: false });
}

async function findNetwork(docker: Docker, name: string) {
  try {
    const [config] = (await docker.getNetwork(name).inspect()).IPAM?.Config ?? [];
    if (!config?.Subnet || !config.Gateway) throw new Error(`Docker network ${name}: it has no subnet. Remove it.`);
    return { subnet: config.Subnet, gateway: config.Gateway };
  } catch (error) {
    if (hasStatus(error, 404)) return undefined;
    throw error;
  }
}

async function createNetwork(docker: Docker, home: SandboxHome, name: string, bridge: string) {
  for (const prefix of subnetPrefixes(home)) {
    try {
      await docker.createNetwork({
        Name: name,
        CheckDuplicate: true,
        Driver: "bridge",
        IPAM: { Driver: "default", Config: [{ Subnet: `${prefix}.0/23`, Gateway: `${prefix}.1` }] },
        Options: { "com.docker.network.bridge.name": bridge, "com.docker.network.bridge.enable_icc": "false" },
        Labels: { [SANDBOX_LABEL]: home.id },
      });
    } catch (error) {
      // 409: another process just made the network. 403: the subnet is in use, so try the next one.
      if (!hasStatus(error, 409) && !hasStatus(error, 403)) throw error;
    }
    const network = await findNetwork(docker, name);
    if (network) return network;
  }
  throw new Error(`Docker network ${name}: no free subnet in 198.18.0.0/15. Free some with: docker network prune`);
}

/**
 * The 256 subnets `198.18.0.0/23`, `198.18.2.0/23`, … of 198.18.0.0/15; each sandbox starts at another one. RFC 2544
 * reserves that range for tests, so it is neither a network of Docker inside droplets nor one of an office.
 */
function subnetPrefixes(home: SandboxHome): string[] {
  const first = parseInt(home.id.slice(0, 2), 16);
  return Array.from({ length: 256 }, (_, offset) => {
    const subnet = (first + offset) % 256;
    return `198.${18 + (subnet >> 7)}.${(subnet & 127) * 2}`;
  });
}
