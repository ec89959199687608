import type { ResourceValidationPolicy, StackValidationPolicy } from "@pulumi/policy";

import { POSTGRES_PORT, TYPES } from "../../contract/names.ts";
import { isPublic, openingsOf } from "../firewall.ts";
import { inputsOf, isKnown, listIn } from "../resource.ts";

/** The ports of database servers, also of those that an app may bring. */
const DATABASES: Record<number, string> = {
  [POSTGRES_PORT]: "PostgreSQL",
  3306: "MySQL",
  6379: "Redis",
  27017: "MongoDB",
};

const CLUSTER_FIREWALL = "digitalocean:index/databaseFirewall:DatabaseFirewall";

interface Port {
  internal: number;
  ip: string;
}

interface ClusterRule {
  type: string;
  value: string;
}

export const noPublicDatabasePort: ResourceValidationPolicy = {
  name: "no-public-database-port",
  description: "No database server can be reached from a public address.",
  enforcementLevel: "mandatory",
  validateResource: (args, reportViolation) => {
    for (const { path, first, last, networks } of openingsOf(args)) {
      const found = Object.entries(DATABASES).find(([port]) => first <= Number(port) && Number(port) <= last);
      const open = networks.filter(isPublic);
      if (found === undefined || open.length === 0) continue;
      reportViolation(
        `${args.name}: ${path} opens port ${found[0]} (${found[1]}) to ${open.join(", ")}, it should be closed. ` +
          "Remove the port from the firewall; reach the database through npm run tunnel.",
      );
    }
    const inputs = inputsOf(args);
    if (args.type === TYPES.container) {
      for (const [index, { internal = 0, ip = "0.0.0.0" }] of listIn<Port>(inputs, "ports").entries()) {
        const server = DATABASES[internal];
        if (server === undefined || !isKnown(ip) || !isPublic(ip)) continue;
        reportViolation(
          `${args.name}: ports[${index}] publishes port ${internal} (${server}) at ${ip}, it should be published at 127.0.0.1 or not at all, ` +
            'because Docker passes by the droplet\'s own firewall. Set its ip to "127.0.0.1".',
        );
      }
    }
    if (args.type === CLUSTER_FIREWALL) {
      for (const [index, { type, value = "" }] of listIn<ClusterRule>(inputs, "rules").entries()) {
        if (type !== "ip_addr" || !isKnown(value) || !isPublic(value)) continue;
        reportViolation(
          `${args.name}: rules[${index}] admits ${value}, it should admit only the droplet. Use a rule of type droplet with the droplet's id.`,
        );
      }
    }
  },
};

export const databaseHasFirewall: StackValidationPolicy = {
  name: "managed-database-has-firewall",
  description: "A managed database has a firewall: without one, it admits every address.",
  enforcementLevel: "mandatory",
  validateStack: ({ resources }, reportViolation) => {
    const clusters = resources.filter(({ type }) => type === TYPES.cluster);
    const firewalls = resources.filter(({ type }) => type === CLUSTER_FIREWALL);
    if (firewalls.length >= clusters.length) return;
    for (const { name, urn } of clusters) {
      reportViolation(
        `${name}: has no DatabaseFirewall, it should have one that admits only the droplet. Declare it as components/managed-cluster.ts does.`,
        urn,
      );
    }
  },
};
