import { DATABASE_SIZES } from "./database-sizes.ts";
import { REGIONS } from "./regions.ts";

/** The version of PostgreSQL that clusters have; a database node's image contains it. */
export const DATABASE_VERSION = "17";

/** The versions of PostgreSQL that can be chosen, with the dates until when. */
const VERSIONS = [
  { version: DATABASE_VERSION, end_of_life: "2029-11-08T00:00:00Z", end_of_availability: "2029-05-08T00:00:00Z" },
];

export function databaseVersion(version: string) {
  return VERSIONS.find((candidate) => candidate.version === version);
}

/** The regions with database clusters. */
export const DATABASE_REGIONS: readonly string[] = REGIONS.filter(({ available }) => available).map(({ slug }) => slug);

/** What can be chosen for a cluster. */
export function databaseOptions() {
  const layouts = [1, 2, 3].map((nodes) => ({
    num_nodes: nodes,
    sizes: DATABASE_SIZES.filter(({ maxNodes }) => nodes <= maxNodes).map(({ slug }) => slug),
  }));
  const versions = VERSIONS.map(({ version }) => version);
  return {
    options: { pg: { regions: DATABASE_REGIONS, versions, layouts, default_version: DATABASE_VERSION } },
    version_availability: { pg: VERSIONS },
  };
}
