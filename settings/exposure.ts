import * as pulumi from "@pulumi/pulumi";

import { contentHash } from "../contract/content-hash.ts";
import { type Hosts, needsDomain, readHosts } from "./kinds/hosts.ts";
import { EVERYWHERE, readNetworks } from "./kinds/networks.ts";
import { readOrigins } from "./kinds/origins.ts";
import { readPorts } from "./kinds/ports.ts";
import type { Reader } from "./reader.ts";
import { onThisStack } from "./on-this-stack.ts";

/** How people open the dashboard: through `npm run tunnel`, or at its own name, from some networks or with a password. */
export type DashboardAccess = "tunnel" | "allowlist" | "password";

/**
 * The access to an instance from outside: its ports, its names and URLs, and who may reach them. Only settings decide it, and
 * only here. Who may reach SSH is a setting of the host.
 */
export interface Exposure {
  /** Ports on the droplet. The dashboard's is always bound to loopback. */
  ports: { api: number; site: number; dashboard: number };
  /** Address that the ports of the API and the HTTP actions are bound to. */
  bindAddress: string;
  /** The names that are served over HTTPS, on ports 80 and 443; undefined if there is no domain. */
  hosts: Hosts | undefined;
  /** On the droplet and in the backend's container: the private authority of the names' certificate, if it has one. */
  acmeAuthorityFile: string | undefined;
  /** TCP ports that the cloud firewall opens besides SSH and port 80, and the networks that it opens them to. */
  openings: { port: number; networks: string[] }[];
  /** How people open the dashboard. */
  dashboardAccess: DashboardAccess;
  /** With `allowlist`: the networks that may open the dashboard. */
  dashboardCidrs: string[];
  /** The URLs of API and HTTP actions: those that are set, otherwise derived from the names, or from address and port. */
  originsAt: (publicIp: pulumi.Output<string>) => { cloud: pulumi.Output<string>; site: pulumi.Output<string> };
}

/** Ports, names, URLs, and the networks that may reach them. */
export function readExposure(read: Reader): Exposure {
  const networks = readNetworks(read, "allowedCidrs");
  const origins = readOrigins(read);
  const { cloudOrigin, siteOrigin } = origins;
  const dashboard = readDashboard(read);
  const hosts = readHosts(read, origins, dashboard.dashboardAccess !== "tunnel");
  if (hosts === undefined) needsDomain(read, "dashboardAccess", "tunnel");
  const { apiPort, sitePort, dashboardPort } = readPorts(read, ["apiPort", "sitePort", "dashboardPort"]);

  const { urls, ...reach } =
    hosts !== undefined
      ? named(hosts, networks)
      : networks.length > 0
        ? open([apiPort, sitePort], networks)
        : closed([apiPort, sitePort]);
  return {
    ...reach,
    ...dashboard,
    hosts,
    acmeAuthorityFile: hosts && authorityFile(read.raw("acmeAuthority")),
    ports: { api: apiPort, site: sitePort, dashboard: dashboardPort },
    originsAt: (publicIp) => {
      const [cloud, site] = urls(publicIp);
      return { cloud: pulumi.output(cloudOrigin ?? cloud), site: pulumi.output(siteOrigin ?? site) };
    },
  };
}

/** The name changes with the content, so that a change replaces the container, which keeps the file that it was started with. */
function authorityFile(pem: string): string | undefined {
  if (pem.trim() === "") return undefined;
  return `/usr/local/share/ca-certificates/convex-acme-${contentHash(pem.trim())}.crt`;
}

type Urls = [pulumi.Input<string>, pulumi.Input<string>];
type Reach = Pick<Exposure, "bindAddress" | "openings"> & { urls: (publicIp: pulumi.Output<string>) => Urls };

/** The allowed networks, by default everybody, reach the names over HTTPS. Only the proxy on the droplet reaches the ports. */
function named(hosts: Hosts, networks: string[]): Reach {
  return {
    bindAddress: "127.0.0.1",
    openings: [{ port: 443, networks: networks.length > 0 ? networks : EVERYWHERE }],
    urls: () => [`https://${hosts.api}`, `https://${hosts.site}`],
  };
}

/** The allowed networks reach the ports at the droplet's own address. */
function open(ports: [number, number], networks: string[]): Reach {
  return {
    bindAddress: "0.0.0.0",
    openings: ports.map((port) => ({ port, networks })),
    urls: (publicIp) => [
      pulumi.interpolate`http://${publicIp}:${ports[0]}`,
      pulumi.interpolate`http://${publicIp}:${ports[1]}`,
    ],
  };
}

/** Nobody reaches the ports from outside. The URLs are those of the local end of `npm run tunnel`. */
function closed([api, site]: [number, number]): Reach {
  return {
    bindAddress: "127.0.0.1",
    openings: [],
    urls: () => [`http://127.0.0.1:${api}`, `http://127.0.0.1:${site}`],
  };
}

function readDashboard(read: Reader): Pick<Exposure, "dashboardAccess" | "dashboardCidrs"> {
  const dashboardAccess = read.choice("dashboardAccess", ["tunnel", "allowlist", "password"]);
  const dashboardCidrs = readNetworks(
    read,
    "dashboardCidrs",
    dashboardAccess === "allowlist" ? "it should list the networks that may open the dashboard" : undefined,
  );
  if (dashboardAccess !== "allowlist" && dashboardCidrs.length > 0) {
    read.refuse("dashboardCidrs", {
      sentence: `has no effect with dashboardAccess ${dashboardAccess}, it should come with allowlist.`,
      fix: `Set that with: ${onThisStack("config set", "dashboardAccess allowlist")}, or remove this with: ${onThisStack("config rm", "dashboardCidrs")}`,
    });
  }
  return { dashboardAccess, dashboardCidrs };
}
