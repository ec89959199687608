import type { State } from "./drift/state.ts";

/**
 * What DigitalOcean says of a stack's droplet: `active`, `off`, `new`, `archive`, or `gone` where it has none of its id.
 * Undefined where the stack has no droplet, or DigitalOcean cannot be asked: with DIGITALOCEAN_TOKEN, as the provider does.
 */
export async function dropletStatus(state: State): Promise<string | undefined> {
  const droplet = state.find("digitalocean:index/droplet:Droplet", "convex-droplet");
  const token = process.env["DIGITALOCEAN_TOKEN"] ?? "";
  if (droplet === undefined || token === "") return undefined;
  const api = process.env["DIGITALOCEAN_API_URL"] ?? "https://api.digitalocean.com";
  try {
    const response = await fetch(`${api}/v2/droplets/${droplet.id}`, {
      headers: { authorization: `Bearer ${token}` },
      signal: AbortSignal.timeout(10_000),
    });
    if (response.status === 404) return "gone";
    return ((await response.json()) as { droplet?: { status: string } }).droplet?.status;
  } catch {
    return undefined;
  }
}
