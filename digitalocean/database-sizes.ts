import * as pulumi from "@pulumi/pulumi";

import { onThisStack } from "../settings/on-this-stack.ts";
import { nearestOf } from "../settings/reader.ts";
import { account } from "./own-account.ts";

/** A size of the nodes of a managed database. */
export interface DatabaseOffer {
  slug: string;
  memoryGb: number;
  /** How many connections a database of this size admits, without those that DigitalOcean keeps for itself. */
  connections: number;
}

/** What the API offers of one engine. */
interface Options {
  regions: string[];
  versions: string[];
  layouts: { num_nodes: number; sizes: string[] }[];
}

/** The version of new clusters, which is that of the droplet's distribution, too. */
export const DATABASE_VERSION = "17";

/**
 * Looks up the size of a managed database in what DigitalOcean offers, so that a preview reports a size, a region or a number of
 * standby nodes that a deployment would fail with.
 *
 * @returns all sizes with so many standby nodes, the smallest first
 * @throws pulumi.RunError with the setting to change
 */
export async function findDatabaseSize(size: string, region: string, standbys: number): Promise<DatabaseOffer[]> {
  const { options } = await account()
    .ask<{ options: { pg: Options } }>("GET", "/v2/databases/options")
    .catch((error: unknown) => {
      throw new pulumi.RunError(`DigitalOcean: cannot list the sizes of its managed databases. ${String(error)}`);
    });
  const fault = databaseFault(options.pg, size, region, standbys);
  if (fault !== undefined) throw new pulumi.RunError(`convex-droplet:${fault}`);
  return sizesOf(options.pg, standbys).map(offerOf).toSorted(bySize);
}

/** Why there can be no such database, and what to do; undefined if there can. */
export function databaseFault(offered: Options, size: string, region: string, standbys: number): string | undefined {
  const set = (setting: string) => `Set it with: ${onThisStack("config set", setting)}`;
  if (!offered.regions.includes(region)) {
    return (
      `region: ${region} has no managed databases, and the database should be in the droplet's network, so it should be one of ` +
      `${offered.regions.toSorted().join(", ")}. Use the droplet's own server: ${onThisStack("config set", "database droplet")}`
    );
  }
  if (!offered.versions.includes(DATABASE_VERSION)) {
    return (
      `database: managed cannot be deployed, because DigitalOcean offers PostgreSQL ${offered.versions.join(", ")}, it should be ${DATABASE_VERSION}. ` +
      `Use the droplet's own server: ${onThisStack("config set", "database droplet")}`
    );
  }
  const fitting = sizesOf(offered, standbys).map(offerOf).toSorted(bySize);
  if (fitting.some(({ slug }) => slug === size)) return undefined;
  if (offered.layouts.some(({ sizes }) => sizes.includes(size))) {
    const most =
      Math.max(...offered.layouts.filter(({ sizes }) => sizes.includes(size)).map(({ num_nodes: n }) => n)) - 1;
    const larger = fitting.find(({ memoryGb }) => memoryGb >= memoryOf(size)) ?? fitting[0];
    return (
      `databaseStandbys: ${standbys} is more than size ${size} can have, it should be at most ${most}. ${set(`databaseStandbys ${most}`)}` +
      (larger === undefined
        ? ""
        : `, or use the smallest size that can: ${onThisStack("config set", `databaseSize ${larger.slug}`)}`)
    );
  }
  const slugs = fitting.map(({ slug }) => slug);
  return (
    `databaseSize: ${size} is not a size of DigitalOcean's managed PostgreSQL, it should be one of ${slugs.join(", ")}. ` +
    set(`databaseSize ${nearestOf(size, slugs) ?? "db-s-2vcpu-4gb"}`)
  );
}

/**
 * For the `beforeUpdate` of a cluster. Refuses, also in a preview, a smaller size, which DigitalOcean would refuse in the middle of a run.
 */
export function refuseSmallerDatabase(name: string): pulumi.ResourceHook {
  const refuse = ({ oldOutputs, newInputs }: pulumi.ResourceHookArgs) => {
    const [from, to] = [oldOutputs, newInputs].map((properties) => String((properties as { size: unknown }).size));
    if (from === undefined || to === undefined || memoryOf(to) >= memoryOf(from)) return;
    throw new Error(
      `convex-droplet:databaseSize: ${to} is smaller than ${from}, which the database has, and it cannot shrink. Set it with: ${onThisStack("config set", `databaseSize ${from}`)}`,
    );
  };
  return new pulumi.ResourceHook(`${name}-database-size`, refuse, { onDryRun: true });
}

function sizesOf({ layouts }: Options, standbys: number): string[] {
  return layouts.find(({ num_nodes: nodes }) => nodes === standbys + 1)?.sizes ?? [];
}

/**
 * DigitalOcean admits 25 connections for each GB of memory, at most 1000, and keeps three of them for itself:
 * https://docs.digitalocean.com/products/databases/postgresql/details/limits/
 */
function offerOf(slug: string): DatabaseOffer {
  const memoryGb = memoryOf(slug);
  return { slug, memoryGb, connections: Math.min(25 * memoryGb, 1000) - 3 };
}

/** A slug ends with the memory of a node. */
function memoryOf(slug: string): number {
  return Number(/-(\d+)gb$/.exec(slug)?.[1] ?? 0);
}

/** The cheapest ones, on shared processors, before others with the same memory. */
function bySize(one: DatabaseOffer, other: DatabaseOffer): number {
  const isShared = ({ slug }: DatabaseOffer) => Number(!slug.startsWith("db-s-"));
  return one.memoryGb - other.memoryGb || isShared(one) - isShared(other) || one.slug.localeCompare(other.slug);
}
