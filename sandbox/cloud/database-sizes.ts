/** A size of database servers. */
export interface DatabaseSize {
  slug: string;
  /** Megabytes. */
  memory: number;
  vcpus: number;
  /** The storage that belongs to it, in mebibytes. */
  storage: number;
  /** The most servers of this size that a cluster may have. */
  maxNodes: number;
}

/** The step in which storage is added, in mebibytes. */
export const STORAGE_STEP = 10_240;

type Row = [slug: string, gigabytes: number, vcpus: number, storageGibibytes: number, maxNodes?: number];

// prettier-ignore
const ROWS: Row[] = [
  ["db-s-1vcpu-1gb", 1, 1, 10, 1],
  ["db-s-1vcpu-2gb", 2, 1, 30],
  ["db-s-2vcpu-4gb", 4, 2, 60],
  ["db-s-4vcpu-8gb", 8, 4, 140],
  ["db-s-6vcpu-16gb", 16, 6, 290],
  ["db-intel-1vcpu-1gb", 1, 1, 10, 1],
  ["db-intel-1vcpu-2gb", 2, 1, 30],
  ["db-intel-2vcpu-4gb", 4, 2, 60],
  ["db-intel-2vcpu-8gb", 8, 2, 100],
  ["db-intel-4vcpu-8gb", 8, 4, 140],
  ["db-intel-4vcpu-16gb", 16, 4, 220],
  ["db-intel-8vcpu-32gb", 32, 8, 460],
  ["db-amd-1vcpu-1gb", 1, 1, 10, 1],
  ["db-amd-1vcpu-2gb", 2, 1, 30],
  ["db-amd-2vcpu-4gb", 4, 2, 60],
  ["db-amd-2vcpu-8gb", 8, 2, 100],
  ["db-amd-4vcpu-8gb", 8, 4, 140],
  ["db-amd-4vcpu-16gb", 16, 4, 220],
  ["db-amd-8vcpu-32gb", 32, 8, 460],
  ["gd-2vcpu-8gb", 8, 2, 30],
  ["gd-4vcpu-16gb", 16, 4, 60],
  ["gd-8vcpu-32gb", 32, 8, 140],
  ["so1_5-2vcpu-16gb", 16, 2, 400],
  ["so1_5-4vcpu-32gb", 32, 4, 820],
];

/** The common sizes for PostgreSQL. The smallest has no standby. How much storage belongs to a size is partly a guess. */
export const DATABASE_SIZES: readonly DatabaseSize[] = ROWS.map(([slug, gigabytes, vcpus, storage, maxNodes = 3]) => ({
  ...{ slug, vcpus, maxNodes },
  memory: gigabytes * 1024,
  storage: storage * 1024,
}));

export function findDatabaseSize(slug: string): DatabaseSize | undefined {
  return DATABASE_SIZES.find((size) => size.slug === slug);
}

/** The size of an existing cluster. */
export function databaseSizeOf(slug: string): DatabaseSize {
  const size = findDatabaseSize(slug);
  if (!size)
    throw new Error(`${slug}: a database cluster's size, must be in the catalogue. Was the catalogue cut short?`);
  return size;
}

/** The connections that a server accepts: 25 for each gigabyte, including three for maintenance. */
export function maxConnections({ memory }: DatabaseSize): number {
  return (memory / 1024) * 25;
}
