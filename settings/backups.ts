import { authorityFault } from "./kinds/authority.ts";
import { ENDPOINT, endpointFault, keyFault, regionFault, s3Region, setSecret, spacesRegion } from "./kinds/s3.ts";
import { type Fault, matches, type Reader } from "./reader.ts";
import { onThisStack } from "./on-this-stack.ts";

/** Where backups are kept, and for how long. */
export function readBackups(read: Reader, region: string) {
  const backups = read.choice("backups", ["spaces", "s3", "off"]);
  const settings = {
    backups,
    backupRegion: read.text("backupRegion", regionFault),
    backupEndpoint: read.text("backupEndpoint", endpointFault),
    backupBucket: read.text("backupBucket", bucketFault),
    backupAccessKey: read.text("backupAccessKey", keyFault),
    backupSecretKey: read.text("backupSecretKey", keyFault),
    backupAuthority: read.text("backupAuthority", authorityFault),
    backupDays: read.integer("backupDays", 1, 365),
  };
  for (const key of ["backupEndpoint", "backupBucket", "backupAccessKey", "backupSecretKey"] as const) {
    if (backups === "s3" && settings[key] === "") read.refuse(key, missing(key));
    if (backups === "spaces" && settings[key] !== "") read.refuse(key, unused(key));
  }
  const set = settings.backupRegion;
  return {
    ...settings,
    backupRegion: backups === "spaces" ? spacesRegion(read, "backupRegion", set, region) : s3Region(set),
  };
}

/** A bucket's name without dots, because they do not fit a certificate. */
const bucketFault = matches(
  /^(?:[a-z0-9][a-z0-9-]{1,61}[a-z0-9])?$/,
  "the name of a bucket: 3 to 63 lower-case letters, digits and dashes",
  "my-convex-backups",
);

function missing(key: string): Fault {
  const sentence = "is not set, it should be, because backups is s3.";
  if (key === "backupAccessKey" || key === "backupSecretKey") return { sentence, fix: setSecret(key) };
  return { sentence, value: key === "backupBucket" ? "my-convex-backups" : ENDPOINT };
}

function unused(key: string): Fault {
  return {
    sentence: "has no effect, because backups is spaces, and the stack makes its own bucket and keys.",
    fix: `Remove it with: ${onThisStack("config rm", key)}, or use it with: ${onThisStack("config set", "backups s3")}`,
  };
}
