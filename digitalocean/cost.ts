import type { Offer } from "./catalogue.ts";

/**
 * DigitalOcean's list prices in USD a month, without taxes, of what its API names no prices for. Those of Spaces and of snapshots are from
 * its own pages, as stored in November 2026. For volumes and database nodes, only price tables of others were at hand, and these
 * round the prices of nodes.
 */
export const PRICES = {
  /** For each GB of a volume, whatever is on it. */
  volumeGb: 0.1,
  /**
   * Once for all buckets of an account, up to 250 GiB:
   * https://www.digitalocean.com/community/questions/prices-explanation-5-per-space-or-5-for-spaces
   */
  spaces: 5,
  /** For each GiB of data in a snapshot: https://docs.digitalocean.com/products/images/snapshots/details/pricing/ */
  snapshotGib: 0.06,
  /** For each node of a managed PostgreSQL, with the storage that belongs to its size. */
  nodes: new Map([
    ["db-s-1vcpu-1gb", 15],
    ["db-s-1vcpu-2gb", 30],
    ["db-s-2vcpu-4gb", 60],
    ["db-s-4vcpu-8gb", 120],
  ]),
};

/**
 * What a stack has that DigitalOcean charges for by the month, whatever it stores and sends. A reserved address is free while a droplet has it;
 * firewalls, projects, DNS and monitoring are free.
 */
export interface Charged {
  /** Size of the droplet. */
  size: string;
  volumeSizeGb: number;
  cluster: Nodes | undefined;
  usesSpaces: boolean;
}

/** The nodes of a managed database. */
export interface Nodes {
  size: string;
  count: number;
}

/** USD a month, by part. */
export type MonthlyCost = Record<string, number | "unknown">;

/** What each part costs. */
export function monthlyCost(
  { size, volumeSizeGb, cluster, usesSpaces }: Charged,
  offers: readonly Pick<Offer, "slug" | "monthlyUsd">[],
): MonthlyCost {
  return {
    [`droplet ${size}`]: offers.find(({ slug }) => slug === size)?.monthlyUsd ?? "unknown",
    [`volume ${volumeSizeGb} GB`]: cents(volumeSizeGb * PRICES.volumeGb),
    ...(cluster && { [`database ${cluster.count} x ${cluster.size}`]: costOfNodes(cluster) }),
    ...(usesSpaces && { Spaces: PRICES.spaces }),
  };
}

function costOfNodes({ size, count }: Nodes): number | "unknown" {
  const price = PRICES.nodes.get(size);
  return price === undefined ? "unknown" : cents(count * price);
}

/** The sum, for a person. */
export function totalOf(cost: MonthlyCost): string {
  const least = isKnown(cost) ? "" : "at least ";
  return `${least}${sum(cost).toFixed(2)} USD a month at list prices`;
}

/**
 * For a person: the sum, the difference, and each part.
 *
 * @param former  what is deployed; empty if nothing is, or if nobody knows
 * @param snapshots  how many snapshots of the volume the program keeps
 */
export function costReport(cost: MonthlyCost, former: MonthlyCost, snapshots: number): string {
  const isCompared = Object.keys(former).length > 0;
  const gone = Object.entries(former).filter(([name, usd]) => cost[name] !== usd);
  const isChanged = isCompared && (gone.length > 0 || Object.keys(cost).some((name) => !(name in former)));
  const rows = [
    ...Object.entries(cost).map(([name, usd]) => ({ mark: isChanged && former[name] !== usd ? "+" : " ", name, usd })),
    ...gone.map(([name, usd]) => ({ mark: "-", name, usd })),
  ];
  const texts = rows.map((row) => ({ ...row, usd: row.usd === "unknown" ? row.usd : row.usd.toFixed(2) }));
  const [name, usd] = [
    Math.max(...texts.map((row) => row.name.length)),
    Math.max(...texts.map((row) => row.usd.length)),
  ];
  return [
    `cost: ${totalOf(cost)}${isChanged ? difference(cost, former) : ""}`,
    ...texts.map((row) => `  ${row.mark} ${row.name.padEnd(name)}  ${row.usd.padStart(usd)}`),
    ...(snapshots === 0
      ? []
      : [`    and up to ${snapshots} snapshots of the volume: ${PRICES.snapshotGib} for each GiB of data in each`]),
  ].join("\n");
}

function difference(cost: MonthlyCost, former: MonthlyCost): string {
  if (!isKnown(cost) || !isKnown(former)) return ", and an unknown difference to what is deployed";
  const more = cents(sum(cost) - sum(former));
  if (more === 0) return ", as much as deployed";
  return `, ${Math.abs(more).toFixed(2)} ${more > 0 ? "more" : "less"} than deployed`;
}

function isKnown(cost: MonthlyCost): boolean {
  return !Object.values(cost).includes("unknown");
}

function sum(cost: MonthlyCost): number {
  return Object.values(cost).reduce<number>((total, usd) => total + (usd === "unknown" ? 0 : usd), 0);
}

function cents(usd: number): number {
  return Math.round(usd * 100) / 100;
}
