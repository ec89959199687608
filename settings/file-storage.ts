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
