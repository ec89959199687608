import { createServer } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import type { DropletSpec } from "./hypervisor.ts";

/** The metadata service's address for droplets, as in the real cloud. */
export const METADATA_ADDRESS = "169.254.169.254";

export interface MetadataService extends AsyncDisposable {
  port: number;
}

/**
 * Serves each droplet its metadata, by the address of the request.
 *
 * @param address where to listen; the network redirects {@link METADATA_ADDRESS} there
 * @param dropletAt finds a droplet by its address in the network
 */
export async function serveMetadata(
  address: string,
  dropletAt: (address: string) => DropletSpec | undefined,
): Promise<MetadataService> {
  const server = createServer((request, response) => {
    const droplet = dropletAt(request.socket.remoteAddress ?? "");
    const answer = droplet && metadataAnswer(droplet, request.url ?? "");
    response.statusCode = answer === undefined ? 404 : 200;
    response.end(answer ?? "not found");
  });
  server.listen(0, address);
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

interface MetadataFolder {
  [name: string]: string | MetadataFolder;
}

/**
 * The answer for a path: a value, or the names in a folder, one on each line; undefined if the path does not exist. The
 * paths are those of https://docs.digitalocean.com/reference/api/metadata/ that a simulated droplet has.
 */
export function metadataAnswer(droplet: DropletSpec, path: string): string | undefined {
  if (path === "/metadata/v1.json") return JSON.stringify(metadataDocument(droplet));
  let entry: string | MetadataFolder | undefined = { metadata: { v1: metadataTree(droplet) } };
  for (const name of path.split("/").filter(Boolean)) {
    entry = typeof entry === "object" && Object.hasOwn(entry, name) ? entry[name] : undefined;
  }
  if (typeof entry !== "object") return entry;
  return Object.entries(entry)
    .map(([name, value]) => (typeof value === "string" ? name : `${name}/`))
    .join("\n");
}

function metadataTree(droplet: DropletSpec): MetadataFolder {
  return {
    id: String(droplet.id),
    hostname: droplet.name,
    ...(droplet.userData === undefined ? {} : { "user-data": droplet.userData }),
    "public-keys": droplet.sshKeys.join("\n"),
    region: droplet.region,
    interfaces: { public: { 0: { ipv4: { address: droplet.publicAddress }, type: "public" } } },
    reserved_ip: {
      ipv4: {
        active: String(droplet.reservedAddress !== undefined),
        ...(droplet.reservedAddress === undefined ? {} : { ip_address: droplet.reservedAddress }),
      },
    },
  };
}

function metadataDocument(droplet: DropletSpec) {
  return {
    droplet_id: droplet.id,
    hostname: droplet.name,
    user_data: droplet.userData,
    public_keys: droplet.sshKeys,
    region: droplet.region,
    interfaces: { public: [{ ipv4: { ip_address: droplet.publicAddress }, type: "public" }] },
    reserved_ip: { ipv4: { active: droplet.reservedAddress !== undefined, ip_address: droplet.reservedAddress } },
  };
}
