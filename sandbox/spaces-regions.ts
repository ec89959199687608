/** The regions that have Spaces, as the official provider lists them. */
export const SPACES_REGIONS = [
  ...["ams3", "atl1", "blr1", "fra1", "lon1", "nyc3", "sfo2", "sfo3", "sgp1", "syd1", "tor1"],
] as const;

export const SPACES_DOMAIN = "digitaloceanspaces.com";
