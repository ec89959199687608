import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import type { Shape } from "../settings/postgres.ts";

/**
 * Records in the state to which place the latest run has begun to bring the database, also if that run was killed. Each place's script runs
 * again whenever it changes: so after a move that was interrupted and given up, it looks where the rows really are, before anything of
 * the other place is deleted.
 *
 * @returns what the script has to get on stdin
 */
export function databasePlace(name: string, database: Shape): pulumi.Output<string> {
  return new random.RandomUuid(`${name}-database-place`, { keepers: { database } }).result;
}
