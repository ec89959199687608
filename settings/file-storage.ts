import { ENDPOINT, endpointFault, keyFault, regionFault, s3Region, setSecret, spacesRegion } from "./kinds/s3.ts";
import { type Fault, matches, type Reader } from "./reader.ts";
import { onThisStack } from "./on-this-stack.ts";

/** The settings that only another S3 server needs. */
const OF_S3 = ["fileEndpoint", "fileBucketPrefix", "fileAccessKey", "fileSecretKey"] as const;

/** Where Convex keeps its files: on the volume, or in buckets. */
export function readFileStorage(read: Reader, region: string) {
  const fileStorage = read.choice("fileStorage", ["volume", "spaces", "s3"]);
  const settings = {
    fileStorage,
    fileRegion: read.text("fileRegion", regionFault),
    fileEndpoint: read.text("fileEndpoint", endpointFault),
    fileBucketPrefix: read.text("fileBucketPrefix", prefixFault),
    fileAccessKey: read.text("fileAccessKey", keyFault),
    fileSecretKey: read.text("fileSecretKey", keyFault),
  };
  for (const key of OF_S3) {
    if (fileStorage === "s3" && settings[key] === "") read.refuse(key, missing(key));
    if (fileStorage !== "s3" && settings[key] !== "") read.refuse(key, unused(key, fileStorage, "s3"));
  }
  if (fileStorage === "volume" && settings.fileRegion !== "") {
    read.refuse("fileRegion", unused("fileRegion", fileStorage, "spaces"));
  }
  const set = settings.fileRegion;
  return {
    ...settings,
    fileRegion: fileStorage === "spaces" ? spacesRegion(read, "fileRegion", set, region) : s3Region(set),
  };
}

/** What the names of the five buckets end with: what the backend keeps there. */
export const USES = ["exports", "files", "modules", "search", "snapshot-imports"] as const;

/** The names of buckets on another server. */
export function bucketsWith(prefix: string): string[] {
  return USES.map((use) => `${prefix}-${use}`);
}

/** Where backups and files are. */
interface Places {
  backups: "spaces" | "s3" | "off";
  backupEndpoint: string;
  backupBucket: string;
  fileStorage: "volume" | "spaces" | "s3";
  fileEndpoint: string;
  fileBucketPrefix: string;
}

/** Refuses backups in a bucket with files: what cleans up one would delete the other, and one key could read both. */
export function refuseSharedBucket(read: Reader, places: Places): void {
  const { backups, backupEndpoint, backupBucket, fileStorage, fileEndpoint, fileBucketPrefix } = places;
  if (backups !== "s3" || fileStorage !== "s3" || backupEndpoint !== fileEndpoint) return;
  if (!bucketsWith(fileBucketPrefix).includes(backupBucket)) return;
  read.refuse("backupBucket", {
    sentence: `is ${backupBucket}, where Convex's files are, it should be a bucket for backups alone.`,
    value: `${fileBucketPrefix}-backups`,
  });
}

/** Leaves room for `-snapshot-imports`, and has no dots, because they do not fit a certificate. */
const prefixFault = matches(
  /^(?:[a-z0-9][a-z0-9-]{0,45})?$/,
  "what the names of the five buckets begin with: up to 46 lower-case letters, digits and dashes",
  "my-convex",
);

function missing(key: (typeof OF_S3)[number]): Fault {
  const sentence = "is not set, it should be, because fileStorage is s3.";
  if (key === "fileAccessKey" || key === "fileSecretKey") return { sentence, fix: setSecret(key) };
  return { sentence, value: key === "fileBucketPrefix" ? "my-convex" : ENDPOINT };
}

function unused(key: string, fileStorage: string, user: string): Fault {
  const why = fileStorage === "spaces" ? ", and the stack makes its own buckets and key" : "";
  return {
    sentence: `has no effect, because fileStorage is ${fileStorage}${why}.`,
    fix: `Remove it with: ${onThisStack("config rm", key)}, or use it with: ${onThisStack("config set", `fileStorage ${user}`)}`,
  };
}
