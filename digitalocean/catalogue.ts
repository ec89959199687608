import * as digitalocean from "@pulumi/digitalocean";
import * as pulumi from "@pulumi/pulumi";
import { onThisStack } from "../settings/on-this-stack.ts";

/** A droplet size. */
export interface Offer {
  slug: string;
  diskGb: number;
  memoryMb: number;
  /** Its list price. */
  monthlyUsd: number;
}

/**
 * Looks up a droplet size in DigitalOcean's catalogue, so that a preview reports a misspelt slug, a region without that size or
 * a refused token before a deployment fails halfway.
 *
 * @returns the memory of a droplet of that size, in MiB, its processors, and all sizes of the region, the cheapest first
 * @throws pulumi.RunError with the setting to change
 */
export async function findSize(
  size: string,
  region: string,
): Promise<{ memoryMb: number; vcpus: number; offers: Offer[] }> {
  const { sizes } = await digitalocean.getSizes().catch((error: unknown) => {
    throw new pulumi.RunError(explain(String(error)));
  });
  const offered = sizes.find(({ slug }) => slug === size);
  if (offered === undefined) {
    throw new pulumi.RunError(
      `convex-droplet:size: ${size} is not a droplet size of DigitalOcean, it should be one such as s-2vcpu-4gb. ` +
        `Set it with: ${onThisStack("config set", "size s-2vcpu-4gb")}`,
    );
  }
  if (!offered.regions.includes(region)) {
    throw new pulumi.RunError(
      `convex-droplet:region: ${region} does not offer droplets of size ${size}, it should be one of ` +
        `${offered.regions.toSorted().join(", ")}. Set it with: ${onThisStack("config set", `region ${offered.regions[0] ?? "nyc3"}`)}`,
    );
  }
  const offers = sizes
    .filter(({ regions }) => regions.includes(region))
    .toSorted((one, other) => one.priceMonthly - other.priceMonthly)
    .map(({ slug, disk, memory, priceMonthly }) => ({
      slug,
      diskGb: disk,
      memoryMb: memory,
      monthlyUsd: priceMonthly,
    }));
  return { memoryMb: offered.memory, vcpus: offered.vcpus, offers };
}

function explain(reason: string): string {
  return /unable to authenticate/i.test(reason)
    ? "digitalocean:token: is refused by DigitalOcean, it should be a valid API token that may read and write. " +
        `Set it with: ${onThisStack("config set", "--secret digitalocean:token")}`
    : `DigitalOcean: cannot list its droplet sizes. ${reason}`;
}
