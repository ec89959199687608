import { authorityFault } from "./kinds/authority.ts";
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
  if (backups === "spaces" && settings.backupRegion === "" && !SPACES.includes(region)) {
    read.refuse("backupRegion", {
      sentence: `is not set, and region ${region} has no Spaces, it should be a region that has them: ${SPACES.join(", ")}.`,
      value: SPACES.find((slug) => slug.slice(0, 3) === region.slice(0, 3)) ?? "nyc3",
    });
  }
  // S3 servers without regions accept any.
  return { ...settings, backupRegion: settings.backupRegion || (backups === "spaces" ? region : "us-east-1") };
}

/** Regions with Spaces, https://docs.digitalocean.com/products/spaces/details/availability/. Others can be set. */
const SPACES = ["ams3", "atl1", "blr1", "fra1", "lon1", "nyc3", "ric1", "sfo2", "sfo3", "sgp1", "syd1", "tor1"];

const regionFault = matches(/^(?:[a-z0-9]+(?:-[a-z0-9]+)*)?$/, "a region's slug such as nyc3 or us-east-1", "nyc3");

function endpointFault(text: string): Fault | undefined {
  if (text === "") return undefined;
  const url = URL.parse(text);
  if (url?.protocol === "https:" && url.origin === text) return undefined;
  const is = url?.protocol === "http:" ? "is plain HTTP" : "is not valid";
  return {
    sentence: `"${text}" ${is}, it should be an https:// URL without a path, and without the bucket's name.`,
    value: "https://s3.us-east-1.amazonaws.com",
  };
}

/** A bucket's name without dots, because they do not fit a certificate. */
const bucketFault = matches(
  /^(?:[a-z0-9][a-z0-9-]{1,61}[a-z0-9])?$/,
  "the name of a bucket: 3 to 63 lower-case letters, digits and dashes",
  "my-convex-backups",
);

/** Never shows the value, because it is a secret. */
function keyFault(text: string, path: string): Fault | undefined {
  if (/^[\w+/=.-]*$/.test(text)) return undefined;
  return { sentence: "contains other characters than a key of S3 has, it should be one.", fix: setSecret(path) };
}

function missing(key: string): Fault {
  const sentence = "is not set, it should be, because backups is s3.";
  if (key === "backupAccessKey" || key === "backupSecretKey") return { sentence, fix: setSecret(key) };
  return { sentence, value: key === "backupBucket" ? "my-convex-backups" : "https://s3.us-east-1.amazonaws.com" };
}

function unused(key: string): Fault {
  return {
    sentence: "has no effect, because backups is spaces, and the stack makes its own bucket and keys.",
    fix: `Remove it with: ${onThisStack("config rm", key)}, or use it with: ${onThisStack("config set", "backups s3")}`,
  };
}

function setSecret(key: string): string {
  return `Set it with: ${onThisStack("config set", `--secret ${key}`)}`;
}
