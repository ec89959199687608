import { onThisStack } from "../on-this-stack.ts";
import { type Fault, matches, type Reader } from "../reader.ts";

/** Checks of what names a place in Spaces or on another S3 server, for all settings that do. */

/** Regions with Spaces, https://docs.digitalocean.com/products/spaces/details/availability/. Others can be set. */
const SPACES = ["ams3", "atl1", "blr1", "fra1", "lon1", "nyc3", "ric1", "sfo2", "sfo3", "sgp1", "syd1", "tor1"];

export const regionFault = matches(
  /^(?:[a-z0-9]+(?:-[a-z0-9]+)*)?$/,
  "a region's slug such as nyc3 or us-east-1",
  "nyc3",
);

/** The region of buckets that the stack makes: the set one, or that of the droplet, if it has Spaces. */
export function spacesRegion(read: Reader, key: string, set: string, droplet: string): string {
  if (set === "" && !SPACES.includes(droplet)) {
    read.refuse(key, {
      sentence: `is not set, and region ${droplet} has no Spaces, it should be a region that has them: ${SPACES.join(", ")}.`,
      value: SPACES.find((slug) => slug.slice(0, 3) === droplet.slice(0, 3)) ?? "nyc3",
    });
  }
  return set || droplet;
}

/** S3 servers without regions accept any. */
export function s3Region(set: string): string {
  return set || "us-east-1";
}

export const ENDPOINT = "https://s3.us-east-1.amazonaws.com";

export function endpointFault(text: string): Fault | undefined {
  if (text === "") return undefined;
  const url = URL.parse(text);
  if (url?.protocol === "https:" && url.origin === text) return undefined;
  const is = url?.protocol === "http:" ? "is plain HTTP" : "is not valid";
  return {
    sentence: `"${text}" ${is}, it should be an https:// URL without a path, and without the bucket's name.`,
    value: ENDPOINT,
  };
}

/** Never shows the value, because it is a secret. */
export function keyFault(text: string, path: string): Fault | undefined {
  if (/^[\w+/=.-]*$/.test(text)) return undefined;
  return { sentence: "contains other characters than a key of S3 has, it should be one.", fix: setSecret(path) };
}

export function setSecret(key: string): string {
  return `Set it with: ${onThisStack("config set", `--secret ${key}`)}`;
}
