import * as pulumi from "@pulumi/pulumi";

import { readNetworks } from "./kinds/networks.ts";
import { readOrigins } from "./kinds/origins.ts";
import { readPorts } from "./kinds/ports.ts";
import type { Reader } from "./reader.ts";

/**
 * The access to an instance from outside: its ports, its URLs, and who may reach them. Only settings decide it, and only
 * here. Who may reach SSH is a setting of the host.
 */
export interface Exposure {
  /** Ports on the droplet. The dashboard's is always bound to loopback. */
  ports: { api: number; site: number; dashboard: number };
  /** Address that the ports of the API and the HTTP actions are bound to. */
  bindAddress: string;
  /** TCP ports that the cloud firewall opens besides SSH, and the networks that it opens them to. */
  openings: { port: number; networks: string[] }[];
  /** The URLs of API and HTTP actions: those that are set, otherwise derived from address and port. */
  originsAt: (publicIp: pulumi.Output<string>) => { cloud: pulumi.Output<string>; site: pulumi.Output<string> };
}

/** Ports, URLs, and the networks that may reach them. */
export function readExposure(read: Reader): Exposure {
  const networks = readNetworks(read, "allowedCidrs");
  const { cloudOrigin, siteOrigin } = readOrigins(read);
  const { apiPort, sitePort, dashboardPort } = readPorts(read, ["apiPort", "sitePort", "dashboardPort"]);

  const { address, ...reach } = networks.length > 0 ? open([apiPort, sitePort], networks) : closed();
  return {
    ...reach,
    ports: { api: apiPort, site: sitePort, dashboard: dashboardPort },
    originsAt: (publicIp) => {
      const at = (port: number) => pulumi.interpolate`http://${address ?? publicIp}:${port}`;
      return { cloud: pulumi.output(cloudOrigin ?? at(apiPort)), site: pulumi.output(siteOrigin ?? at(sitePort)) };
    },
  };
}

/** The allowed networks reach the ports at the droplet's own address. */
function open(ports: number[], networks: string[]) {
  return { bindAddress: "0.0.0.0", openings: ports.map((port) => ({ port, networks })), address: undefined };
}

/** Nobody reaches the ports from outside. The URLs are those of the local end of `npm run tunnel`. */
function closed() {
  return { bindAddress: "127.0.0.1", openings: [], address: "127.0.0.1" };
}
