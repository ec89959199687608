import * as command from "@pulumi/command";
import * as digitalocean from "@pulumi/digitalocean";
import * as pulumi from "@pulumi/pulumi";

import { explainExistingZone, refuseOtherRecords, TTL } from "../digitalocean/dns.ts";
import { deleteLostFromCloud } from "../error-hooks/cloud.ts";
import { reportGone } from "../error-hooks/gone.ts";
import { reportHalfDone } from "../error-hooks/half-done.ts";
import type { Exposure } from "../settings/exposure.ts";
import { type Hosts, namesOf } from "../settings/kinds/hosts.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, runScript } from "./machine.ts";
import { generatedPassword } from "./password.ts";

export interface EdgeArgs {
  /** Name of the firewall in the account, unique there. */
  label: string;
  /** Connection to the machine that serves. */
  connection: Connection;
  /** The droplet's id. */
  machineId: pulumi.Input<string>;
  /** Mount point of the volume that keeps the certificate. */
  mountpoint: pulumi.Input<string>;
  /** The machine's public address, to which the names lead. */
  publicIp: pulumi.Output<string>;
  /** Names, ports, URLs, and who may reach them. Without names, the machine has no proxy. */
  exposure: Exposure;
  /** The names of apps, which are in the certificate and lead here, too. */
  appHosts: string[];
  /** Who makes the DNS records. */
  dns: "digitalocean" | "manual";
  /** Domain of the account that gets the records. */
  dnsZone: string;
  /** Whether to add that domain to the account. It is never deleted. */
  createDnsZone: boolean;
  /** URL of the ACME server. Changing it gets another certificate. */
  acmeDirectory: string;
  /** E-mail address for the account there; may be empty. */
  acmeEmail: string;
  /** Certificates of a private authority, in PEM; may be empty. */
  acmeAuthority: string;
  /** Networks of proxies in front, whose X-Forwarded-For is believed. */
  trustedProxyCidrs: string[];
  /** Lifetime of the proxy on the machine. */
  onMachine: Lifetime;
}

/**
 * The way from outside to an instance: the open ports, and with a domain its DNS records, its certificate, and nginx as a
 * reverse proxy.
 *
 * *Owns* the public ports' firewall, DNS records, the dashboard's password, nginx and certbot.
 * *Survives* a replaced droplet: the certificate, which is on the volume.
 * *Replacing it means* that nginx is installed again, with the certificate from the volume.
 */
export class Edge extends pulumi.ComponentResource {
  /** Ready: the URLs of API and HTTP actions, once the proxy serves the names with a valid certificate. */
  readonly origins: { cloud: pulumi.Output<string>; site: pulumi.Output<string> };
  /** The dashboard's URL: at its name, or at the local end of the tunnel. */
  readonly dashboardUrl: pulumi.Output<string>;
  /** The password of user `convex`; secret. Empty unless the dashboard has one. */
  readonly dashboardPassword: pulumi.Output<string>;
  /** The DNS records that the names need, as lines of a zone file. */
  readonly dnsRecords: pulumi.Output<string[]>;

  constructor(name: string, args: EdgeArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:Edge", name, {}, opts);
    const child = { parent: this };
    const { hosts, openings, ports, dashboardAccess } = args.exposure;
    const reports = [reportGone(`${name}-edge`), reportHalfDone(`${name}-edge`)];

    const records = hosts !== undefined && args.dns === "digitalocean" ? this.#records(name, args, hosts, reports) : [];
    const password =
      dashboardAccess === "password" ? generatedPassword(`${name}-dashboard-password`, child) : undefined;
    const proxy = this.#proxy(name, args, password?.result, records);

    if (openings.length > 0) {
      // One for each way, so that a move between them first opens the new one, and closes the other one at its end.
      const way = hosts === undefined ? "public" : "https";
      new digitalocean.Firewall(
        `${name}-${way}-firewall`,
        {
          name: `${args.label}-${way}`,
          dropletIds: [pulumi.output(args.machineId).apply(Number)],
          inboundRules: openings.map(({ port, networks }) => ({
            protocol: "tcp",
            portRange: String(port),
            sourceAddresses: networks,
          })),
        },
        { ...child, deleteBeforeReplace: true, hooks: { onError: [deleteLostFromCloud(`${name}-edge`), ...reports] } },
      );
    }

    const { cloud, site } = args.exposure.originsAt(args.publicIp);
    const served = (url: pulumi.Input<string>) =>
      hosts === undefined ? pulumi.output(url) : pulumi.all([url, proxy.id]).apply(([known]) => known);
    this.origins = { cloud: served(cloud), site: served(site) };
    this.dashboardUrl = served(
      hosts?.dashboard === undefined ? `http://127.0.0.1:${ports.dashboard}` : `https://${hosts.dashboard}`,
    );
    this.dashboardPassword = pulumi.secret(password?.result ?? "");
    this.dnsRecords = args.publicIp.apply((address) =>
      (hosts === undefined ? [] : [...namesOf(hosts), ...args.appHosts]).map(
        (host) => `${host}. ${TTL} IN A ${address}`,
      ),
    );
    this.registerOutputs({
      origins: this.origins,
      dashboardUrl: this.dashboardUrl,
      dashboardPassword: this.dashboardPassword,
      dnsRecords: this.dnsRecords,
    });
  }

  /** The names' records in a domain of the account. */
  #records(
    name: string,
    { createDnsZone, dnsZone, publicIp, appHosts }: EdgeArgs,
    hosts: Hosts,
    reports: pulumi.ErrorHook[],
  ): digitalocean.DnsRecord[] {
    const child = { parent: this };
    const zone = createDnsZone
      ? new digitalocean.Domain(
          `${name}-zone`,
          { name: dnsZone },
          { ...child, retainOnDelete: true, hooks: { onError: [explainExistingZone(name)] } },
        )
      : undefined;
    const isFree = refuseOtherRecords(`${name}-other-records`, createDnsZone);
    const named = [...Object.entries(hosts), ...appHosts.map((host) => [`app-${host}`, host] as const)];
    return named.flatMap(([role, host]: readonly [string, string | undefined]) =>
      host === undefined
        ? []
        : new digitalocean.DnsRecord(
            `${name}-${role}-record`,
            {
              domain: zone?.name ?? dnsZone,
              type: "A",
              name: host === dnsZone ? "@" : host.slice(0, -dnsZone.length - 1),
              value: publicIp,
              ttl: TTL,
            },
            {
              ...child,
              // A name that is served stays until the new one is.
              replaceOnChanges: ["name"],
              deleteBeforeReplace: false,
              hooks: { beforeCreate: [isFree], onError: reports },
            },
          ),
    );
  }

  /** nginx and the certificate on the machine; without names, neither of them. */
  #proxy(
    name: string,
    args: EdgeArgs,
    password: pulumi.Output<string> | undefined,
    records: pulumi.Resource[],
  ): command.remote.Command {
    const { hosts, ports, dashboardAccess, dashboardCidrs } = args.exposure;
    const run = runScript("edge/edge.sh", {
      mountpoint: args.mountpoint,
      address: hosts === undefined ? "" : args.publicIp,
      api_host: hosts?.api ?? "",
      site_host: hosts?.site ?? "",
      dashboard_host: hosts?.dashboard ?? "",
      app_hosts: args.appHosts,
      api_port: ports.api,
      site_port: ports.site,
      dashboard_port: ports.dashboard,
      dashboard_access: dashboardAccess,
      dashboard_networks: dashboardCidrs,
      dashboard_password: password ?? "",
      trusted_proxies: args.trustedProxyCidrs,
      acme_directory: args.acmeDirectory,
      acme_email: args.acmeEmail,
      acme_authority: args.acmeAuthority.trim().split("\n"),
      acme_authority_file: args.exposure.acmeAuthorityFile ?? "",
    });
    return new command.remote.Command(
      `${name}-edge`,
      {
        connection: args.connection,
        ...run,
        triggers: [args.machineId],
        addPreviousOutputInEnv: false,
      },
      {
        parent: this,
        ...args.onMachine,
        dependsOn: [...[args.onMachine.dependsOn ?? []].flat(), ...records] as pulumi.Resource[],
        customTimeouts: { create: "20m", update: "20m" },
      },
    );
  }
}
