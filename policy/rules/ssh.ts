import type { ResourceValidationPolicy } from "@pulumi/policy";

import { isWorld, openingsOf } from "../firewall.ts";
import { isProduction, onStack } from "../resource.ts";

/** Only a warning: GitHub's own runners have no fixed addresses, and SSH accepts only keys. */
export const noOpenSshInProduction: ResourceValidationPolicy = {
  name: "no-open-ssh-in-production",
  description: "In production, SSH is open to some networks and not to the whole internet.",
  enforcementLevel: "advisory",
  validateResource: (args, reportViolation) => {
    if (!isProduction(args)) return;
    for (const { path, first, last, networks } of openingsOf(args)) {
      const open = networks.filter(isWorld);
      if (first > 22 || last < 22 || open.length === 0) continue;
      const set = onStack(args, "config set", "--path 'adminCidrs[0]' 203.0.113.0/24");
      reportViolation(
        `${args.name}: ${path} opens port 22 to ${open.join(", ")}, it should be open to the networks that deploy. ` +
          `Set them in place of this example: ${set}`,
      );
    }
  },
};
