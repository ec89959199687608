import { SIZES } from "./sizes.ts";

export interface Region {
  slug: string;
  name: string;
  available: boolean;
  features: string[];
  /** Slugs of the sizes offered here. */
  sizes: string[];
}

function region(slug: string, name: string, available = true): Region {
  return {
    slug,
    name,
    available,
    features: ["backups", "ipv6", "metadata", "install_agent", "storage", "image_transfer"],
    sizes: SIZES.filter((size) => size.regions.includes(slug)).map((size) => size.slug),
  };
}

/** DigitalOcean's regions; ams2 and sfo1 accept no new droplets. */
export const REGIONS: readonly Region[] = [
  region("nyc1", "New York 1"),
  region("sfo1", "San Francisco 1", false),
  region("nyc2", "New York 2"),
  region("ams2", "Amsterdam 2", false),
  region("sgp1", "Singapore 1"),
  region("lon1", "London 1"),
  region("nyc3", "New York 3"),
  region("ams3", "Amsterdam 3"),
  region("fra1", "Frankfurt 1"),
  region("tor1", "Toronto 1"),
  region("sfo2", "San Francisco 2"),
  region("blr1", "Bangalore 1"),
  region("sfo3", "San Francisco 3"),
  region("syd1", "Sydney 1"),
  region("atl1", "Atlanta 1"),
];

export function findRegion(slug: string): Region | undefined {
  return REGIONS.find((region) => region.slug === slug);
}

/** The region of an existing droplet or volume, as clients expect it in full. */
export function regionOf(slug: string): Region {
  const region = findRegion(slug);
  if (!region) throw new Error(`${slug}: a resource's region, must be in the catalogue. Was the catalogue cut short?`);
  return region;
}
