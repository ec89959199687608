import type { Policies } from "@pulumi/policy";

import { backupsInProduction } from "./rules/backups.ts";
import { dataProtectedInProduction } from "./rules/data.ts";
import { databaseHasFirewall, noPublicDatabasePort } from "./rules/database-port.ts";
import { imagesByDigest } from "./rules/images.ts";
import { noSecretInClear } from "./rules/secrets.ts";
import { noOpenSshInProduction } from "./rules/ssh.ts";
import { tlsInProduction } from "./rules/tls.ts";

/**
 * The rules of the pack. They look at resources, as the engine gets them, so they also hold for what the settings' checks do not see: a
 * change of a component or of `index.ts`.
 */
export const RULES: Policies = [
  noPublicDatabasePort,
  databaseHasFirewall,
  imagesByDigest,
  noSecretInClear,
  noOpenSshInProduction,
  tlsInProduction,
  dataProtectedInProduction,
  backupsInProduction,
];
