import type { ResourceValidationPolicy } from "@pulumi/policy";
import * as pulumi from "@pulumi/pulumi";

import { TYPES } from "../../contract/names.ts";
import { isProduction, onStack } from "../resource.ts";

/** What has data, and the settings during which it is not protected: something else takes its place, or it is not the stack's alone. */
const DATA: Record<string, string[]> = {
  [TYPES.volume]: ["adoptVolume", "volumeSnapshot"],
  [TYPES.cluster]: ["moveDatabase"],
  "digitalocean:index/spacesBucket:SpacesBucket": [],
};

export const dataProtectedInProduction: ResourceValidationPolicy = {
  name: "data-protected-in-production",
  description: "In production, volume, managed database and buckets are protected from deletion.",
  enforcementLevel: "mandatory",
  validateResource: (args, reportViolation) => {
    const settings = DATA[args.type];
    if (settings === undefined || args.opts.protect || !isProduction(args)) return;
    const config = new pulumi.Config("convex-droplet");
    if (settings.some((key) => !["", "false"].includes(config.get(key) ?? ""))) return;
    reportViolation(
      `${args.name}: protect is false, it should be true. Set it with: ${onStack(args, "config set", "protectData true")}; ` +
        `or, if you want to delete the data, run Pulumi without this policy pack: ${onStack(args, "up")}`,
    );
  },
};
