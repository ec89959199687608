import * as pulumi from "@pulumi/pulumi";

import type { FurtherDatabase } from "./kinds/databases.ts";
import { setWith } from "./reader.ts";
import { onThisStack } from "./on-this-stack.ts";

/** For administration, monitoring, backups and drift, besides the pool and the shares. */
const RESERVED = 20;
/** What a connection that works takes, beside the server's own memory and the containers'. */
const MB_EACH = 8;

/** The same on a managed database, which has no drift of its settings, and no backups of ours. */
const RESERVED_MANAGED = 10;

/** Who may open connections. */
interface Budget {
  postgresPoolSize: number;
  databases: FurtherDatabase[];
}

/** The server's max_connections: all who may connect, at the same time. */
export function connectionsOf({ postgresPoolSize, databases }: Budget): number {
  return postgresPoolSize + RESERVED + databases.reduce((sum, { connections }) => sum + connections, 0);
}

/**
 * Refuses further databases whose shares are more than a droplet of this size can serve. Without further databases, the pool has its
 * own limits.
 *
 * @param offers  sizes, the cheapest first
 * @throws pulumi.RunError
 */
export function refuseConnections(
  budget: Budget,
  size: string,
  memoryMb: number,
  offers: readonly { slug: string; memoryMb: number }[],
): void {
  const { postgresPoolSize, databases } = budget;
  const [most, needed] = [Math.floor(memoryMb / MB_EACH), connectionsOf(budget)];
  const largest = databases.toSorted((one, other) => other.connections - one.connections)[0];
  if (largest === undefined || needed <= most) return;
  const shares = databases.map(({ name, connections }) => `${connections} of ${name}`).join(", ");
  const larger = offers.find((offer) => offer.memoryMb >= needed * MB_EACH);
  const left = largest.connections - (needed - most);
  throw new pulumi.RunError(
    `convex-droplet:databases: need ${needed} connections (${postgresPoolSize} of postgresPoolSize, ${shares}, ${RESERVED} in reserve), ` +
      `they should be at most ${most} on a droplet of size ${size}, ${MB_EACH} MB of memory for each. ` +
      (left > 1
        ? setWith(`databases.${largest.name}.connections`, String(left))
        : "Lower the shares and postgresPoolSize") +
      (larger === undefined
        ? ""
        : `, or use the cheapest size that can: ${onThisStack("config set", `size ${larger.slug}`)}`),
  );
}

/**
 * Refuses a pool and shares that are together more than a managed database of this size admits.
 *
 * @param offers  sizes, the smallest first, with the chosen one
 * @throws pulumi.RunError
 */
export function refuseManagedConnections(
  { postgresPoolSize, databases }: Budget,
  size: string,
  offers: readonly { slug: string; connections: number }[],
): void {
  const admitted = offers.find(({ slug }) => slug === size)?.connections ?? 0;
  const taken = databases.reduce((sum, { connections }) => sum + connections, 0) + RESERVED_MANAGED;
  const needed = postgresPoolSize + taken;
  if (needed <= admitted) return;
  const shares = databases.map(({ name, connections }) => `${connections} of ${name}, `).join("");
  const larger = offers.find(({ connections }) => connections >= needed);
  const left = admitted - taken;
  throw new pulumi.RunError(
    `convex-droplet:databaseSize: ${size} admits ${admitted} connections, it should admit ${needed} (${postgresPoolSize} of postgresPoolSize, ${shares}${RESERVED_MANAGED} in reserve). ` +
      (larger === undefined
        ? "Lower postgresPoolSize or the shares"
        : `Use the smallest size that does: ${onThisStack("config set", `databaseSize ${larger.slug}`)}`) +
      (left >= 8 ? `, or lower the pool: ${onThisStack("config set", `postgresPoolSize ${left}`)}` : ""),
  );
}
