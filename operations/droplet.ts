import type { Target } from "../ssh/connect.ts";
import type { Resource, State } from "./state.ts";
import { RESOURCES, TYPES } from "../contract/names.ts";

const DROPLET = [TYPES.droplet, RESOURCES.droplet] as const;

/** Undefined where the stack was not deployed that far. */
export function findDroplet(state: State): Resource | undefined {
  return state.find(...DROPLET);
}

/**
 * The way to a stack's droplet, which there is as soon as the droplet is: where the first `up` failed half-way, too.
 *
 * @throws Error when the stack has none
 */
export function dropletTarget(state: State): Target {
  const key = (name: string) => state.get(TYPES.key, name).outputs;
  return {
    host: String(state.get(...DROPLET).outputs["ipv4Address"]),
    privateKey: String(key(RESOURCES.deployKey)["privateKeyOpenssh"]),
    hostKey: String(key(RESOURCES.hostKey)["publicKeyOpenssh"]).trim(),
  };
}

/**
 * What DigitalOcean says of a stack's droplet: `active`, `off`, `new`, `archive`, or `gone` where it has none of its id.
 * Undefined where the stack has no droplet, or DigitalOcean cannot be asked.
 */
export async function dropletStatus(state: State): Promise<string | undefined> {
  try {
    const response = await askOfDroplet(state, "");
    if (response?.status === 404) return "gone";
    return ((await response?.json()) as { droplet?: { status: string } } | undefined)?.droplet?.status;
  } catch {
    return undefined;
  }
}

/**
 * Asks DigitalOcean of a stack's droplet.
 *
 * @param what  the path behind the droplet's
 * @returns undefined where the stack has no droplet or no token
 */
export async function askOfDroplet(state: State, what: string): Promise<Response | undefined> {
  const droplet = findDroplet(state);
  return droplet && askCloud(state, `/v2/droplets/${droplet.id}${what}`);
}

/**
 * Asks DigitalOcean with DIGITALOCEAN_TOKEN, or with the token that a stack was deployed with.
 *
 * @returns undefined where the stack has no token
 */
export async function askCloud(state: State, route: string): Promise<Response | undefined> {
  const [provider] = state.all("pulumi:providers:digitalocean");
  const token = process.env["DIGITALOCEAN_TOKEN"] ?? (provider?.inputs["token"] as string | undefined);
  if (token === undefined) return undefined;
  const api = process.env["DIGITALOCEAN_API_URL"] ?? "https://api.digitalocean.com";
  return fetch(`${api}${route}`, {
    headers: { authorization: `Bearer ${token}` },
    signal: AbortSignal.timeout(10_000),
  });
}
