import type { StackValidationPolicy } from "@pulumi/policy";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { isProduction, onStack } from "../resource.ts";

export const backupsInProduction: StackValidationPolicy = {
  name: "backups-on-in-production",
  description: "In production, database and files are backed up.",
  enforcementLevel: "mandatory",
  validateStack: ({ resources }, reportViolation) => {
    const [first] = resources;
    if (first === undefined || !isProduction(first)) return;
    const names = new Set(resources.map(({ name }) => name));
    // DigitalOcean itself backs up a managed database, and buckets keep what is deleted.
    const isElsewhere = resources.some(({ type }) => type === TYPES.cluster) && names.has(RESOURCES.buckets);
    // The secret that encrypts the backups is there if, and only if, there are any.
    if (isElsewhere || names.has(RESOURCES.backupPassphrase)) return;
    const volume = resources.find(({ type }) => type === TYPES.volume);
    reportViolation(
      `${volume?.name ?? "the stack"}: nothing backs it up, it should have backups in a bucket. ` +
        `Switch them on with: ${onStack(first, "config set", "backups spaces")}`,
      volume?.urn,
    );
  },
};
