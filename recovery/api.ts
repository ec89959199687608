import * as pulumi from "@pulumi/pulumi";

import { apiToken } from "../settings.ts";

/**
 * One call of DigitalOcean's API: the provider can only read for a program, not delete.
 *
 * @throws Error where it is refused
 */
export async function api<T>(method: string, route: string, body?: object): Promise<T> {
  const root =
    new pulumi.Config("digitalocean").get("apiEndpoint") ??
    process.env["DIGITALOCEAN_API_URL"] ??
    "https://api.digitalocean.com";
  const response = await fetch(new URL(route, root), {
    method,
    headers: { authorization: `Bearer ${apiToken()}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(30_000),
  });
  if (!response.ok) throw new Error(`DigitalOcean: answered ${response.status} to ${method} ${route}`);
  return (response.status === 204 ? undefined : await response.json()) as T;
}
