import { onThisStack } from "../on-this-stack.ts";
import { type Fault, matches, nearestOf, type Reader } from "../reader.ts";

/** Checks of what names a place in Spaces or on another S3 server, for all settings that do. */

/** Regions with Spaces, https://docs.digitalocean.com/products/spaces/details/availability/. Others of DigitalOcean can be set. */
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
  } else if (set !== "" && regionFault(set) === undefined && !/^[a-z]{3}\d$/.test(set)) {
    read.refuse(key, {
      sentence: `${set} is no region of DigitalOcean, it should be a region that has them: ${SPACES.join(", ")}.`,
      value: (SPACES.includes(droplet) ? droplet : nearestOf(set, SPACES)) ?? "nyc3",
    });
  }
  return set || droplet;
}

/** S3 servers without regions accept any. */
export function s3Region(set: string): string {
  return set || "us-east-1";
}

export const ENDPOINT = "https://s3.us-east-1.amazonaws.com";

/** Proposes the same server, without what is wrong. */
export function endpointFault(text: string): Fault | undefined {
  if (text === "") return undefined;
  const url = URL.parse(text);
  const host = (url ?? URL.parse(`https://${text.trim()}`))?.host ?? "";
  const value = host === "" || isOnItself(host) ? ENDPOINT : `https://${host}`;
  const should = "it should be an https:// URL without a path, and without the bucket's name.";
  // What stands before an @ may be a secret.
  if (text.includes("@")) return { sentence: `contains an @, ${should}`, value };
  if (isOnItself(host)) {
    return {
      sentence: `"${text}" is the machine itself that uses it, it should be another server's https:// URL.`,
      value,
    };
  }
  if (url?.protocol === "https:" && url.origin === text) return undefined;
  return { sentence: `"${text}" ${url?.protocol === "http:" ? "is plain HTTP" : "is not valid"}, ${should}`, value };
}

/** Whether a host leads to the container or to the droplet that asks for it. */
function isOnItself(host: string): boolean {
  return /^(?:localhost|[^:]*\.localhost|127(?:\.\d+){3}|0\.0\.0\.0|\[::1?\]|host\.docker\.internal)(?::\d+)?$/.test(
    host,
  );
}

/** Never shows the value, because it is a secret. */
export function keyFault(text: string, path: string): Fault | undefined {
  if (/^[\w+/=.-]*$/.test(text)) return undefined;
  return { sentence: "contains other characters than a key of S3 has, it should be one.", fix: setSecret(path) };
}

export function setSecret(key: string): string {
  return `Set it with: ${onThisStack("config set", `--secret ${key}`)}`;
}
