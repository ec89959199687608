import type { ResourceValidationPolicy } from "@pulumi/policy";

import { TYPES } from "../../contract/names.ts";
import { isPublic, openingsOf } from "../firewall.ts";
import { inputsOf, isKnown, isProduction, onStack } from "../resource.ts";

/** SSH, the port that only redirects to HTTPS and proves names, and HTTPS. */
const ENCRYPTED = [22, 80, 443];

export const tlsInProduction: ResourceValidationPolicy = {
  name: "tls-in-production",
  description: "In production, nothing crosses a public network unencrypted.",
  enforcementLevel: "mandatory",
  validateResource: (args, reportViolation) => {
    if (!isProduction(args)) return;
    for (const { path, first, last, networks } of openingsOf(args)) {
      const open = networks.filter(isPublic);
      if ((first === last && ENCRYPTED.includes(first)) || open.length === 0) continue;
      const ports = first === last ? `port ${first}` : `ports ${first} to ${last}`;
      reportViolation(
        `${args.name}: ${path} opens ${ports} to ${open.join(", ")} without TLS, it should open only port 443. ` +
          `Serve under a domain: ${onStack(args, "config set", "domain example.com")}; or close the ports: ${onStack(args, "config rm", "allowedCidrs")}`,
      );
    }
    const inputs = inputsOf(args);
    if (args.type === TYPES.container && Array.isArray(inputs["envs"])) {
      if ((inputs["envs"] as unknown[]).some((entry) => String(entry).startsWith("DO_NOT_REQUIRE_SSL="))) {
        reportViolation(
          `${args.name}: envs has DO_NOT_REQUIRE_SSL, it should not: with any value, the backend's connection to PostgreSQL needs no TLS. Remove it.`,
        );
      }
    }
    if (args.type === TYPES.postgresql) {
      const { sslmode = "", host = "" } = inputs as { sslmode?: string; host?: string };
      const isHere = host === "localhost" || host.startsWith("127.") || host === "::1";
      if (host === "" || !isKnown(host) || isHere || !/^(disable|allow|prefer)$/.test(sslmode)) return;
      reportViolation(
        `${args.name}: sslmode is ${sslmode} for ${host}, it should be verify-full. Set it, or connect through the run's tunnel at 127.0.0.1.`,
      );
    }
  },
};
