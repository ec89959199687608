/** A size of droplets: memory in megabytes, disk in gigabytes, monthly transfer in terabytes, prices in US dollars. */
export interface Size {
  slug: string;
  memory: number;
  vcpus: number;
  disk: number;
  transfer: number;
  price_monthly: number;
  price_hourly: number;
  regions: string[];
  available: boolean;
  description: string;
}

// prettier-ignore
const EVERYWHERE = ["ams3", "atl1", "blr1", "fra1", "lon1", "nyc1", "nyc2", "nyc3", "sfo2", "sfo3", "sgp1", "syd1", "tor1"];
const WITHOUT_OLD_HALLS = EVERYWHERE.filter((region) => region !== "nyc2" && region !== "sfo2");
const SMALLEST = ["ams3", "fra1", "nyc1", "sfo3", "sgp1", "syd1"];

type Row = [slug: string, memory: number, vcpus: number, disk: number, transfer: number, priceMonthly: number];

function offer(description: string, regions: string[], rows: Row[]): Size[] {
  return rows.map(([slug, memory, vcpus, disk, transfer, priceMonthly]) => ({
    slug,
    memory,
    vcpus,
    disk,
    transfer,
    price_monthly: priceMonthly,
    // A month is billed as 28 days at most.
    price_hourly: Number((priceMonthly / (28 * 24)).toFixed(5)),
    regions,
    available: true,
    description,
  }));
}

/**
 * The common sizes, with slugs, resources and prices from DigitalOcean's price list. Their availability is simplified to
 * three groups of regions.
 */
export const SIZES: readonly Size[] = [
  ...offer("Basic", SMALLEST, [["s-1vcpu-512mb-10gb", 512, 1, 10, 0.5, 4]]),
  ...offer("Basic", EVERYWHERE, [
    ["s-1vcpu-1gb", 1024, 1, 25, 1, 6],
    ["s-1vcpu-2gb", 2048, 1, 50, 2, 12],
    ["s-2vcpu-2gb", 2048, 2, 60, 3, 18],
    ["s-2vcpu-4gb", 4096, 2, 80, 4, 24],
    ["s-4vcpu-8gb", 8192, 4, 160, 5, 48],
    ["s-8vcpu-16gb", 16384, 8, 320, 6, 96],
  ]),
  ...offer("Premium Intel", WITHOUT_OLD_HALLS, [
    ["s-1vcpu-1gb-intel", 1024, 1, 25, 1, 7],
    ["s-1vcpu-2gb-intel", 2048, 1, 50, 2, 14],
    ["s-2vcpu-2gb-intel", 2048, 2, 60, 3, 21],
    ["s-2vcpu-4gb-intel", 4096, 2, 80, 4, 28],
    ["s-2vcpu-8gb-160gb-intel", 8192, 2, 160, 5, 48],
    ["s-4vcpu-8gb-intel", 8192, 4, 160, 5, 56],
    ["s-4vcpu-16gb-320gb-intel", 16384, 4, 320, 8, 96],
    ["s-8vcpu-16gb-intel", 16384, 8, 320, 6, 112],
    ["s-8vcpu-32gb-640gb-intel", 32768, 8, 640, 10, 192],
  ]),
  ...offer("Premium AMD", WITHOUT_OLD_HALLS, [
    ["s-1vcpu-1gb-amd", 1024, 1, 25, 1, 7],
    ["s-1vcpu-2gb-amd", 2048, 1, 50, 2, 14],
    ["s-2vcpu-2gb-amd", 2048, 2, 60, 3, 21],
    ["s-2vcpu-4gb-amd", 4096, 2, 80, 4, 28],
    ["s-2vcpu-8gb-amd", 8192, 2, 100, 5, 42],
    ["s-4vcpu-8gb-amd", 8192, 4, 160, 5, 56],
    ["s-4vcpu-16gb-amd", 16384, 4, 200, 8, 84],
    ["s-8vcpu-16gb-amd", 16384, 8, 320, 6, 112],
    ["s-8vcpu-32gb-amd", 32768, 8, 400, 10, 168],
  ]),
  ...offer("General Purpose", WITHOUT_OLD_HALLS, [
    ["g-2vcpu-8gb", 8192, 2, 25, 4, 63],
    ["gd-2vcpu-8gb", 8192, 2, 50, 4, 68],
    ["g-4vcpu-16gb", 16384, 4, 50, 5, 126],
    ["gd-4vcpu-16gb", 16384, 4, 100, 5, 136],
    ["g-8vcpu-32gb", 32768, 8, 100, 6, 252],
    ["gd-8vcpu-32gb", 32768, 8, 200, 6, 272],
    ["g-16vcpu-64gb", 65536, 16, 200, 7, 504],
  ]),
  ...offer("CPU-Optimized", WITHOUT_OLD_HALLS, [
    ["c-2", 4096, 2, 25, 4, 42],
    ["c-4", 8192, 4, 50, 5, 84],
    ["c-8", 16384, 8, 100, 6, 168],
  ]),
  ...offer("Memory-Optimized", WITHOUT_OLD_HALLS, [
    ["m-2vcpu-16gb", 16384, 2, 50, 4, 84],
    ["m-4vcpu-32gb", 32768, 4, 100, 6, 168],
  ]),
];

export function findSize(slug: string): Size | undefined {
  return SIZES.find((size) => size.slug === slug);
}

/** The size of an existing droplet. */
export function sizeOf(slug: string): Size {
  const size = findSize(slug);
  if (!size) throw new Error(`${slug}: a droplet's size, must be in the catalogue. Was the catalogue cut short?`);
  return size;
}
