import type { Reader } from "../reader.ts";
import type { Origins } from "./hosts.ts";

/**
 * The two URLs at which clients reach the backend: only scheme, host and port, because Convex appends paths to them. The URLs
 * must differ, because Convex distinguishes API and HTTP actions by them, and so must the proposed ones.
 *
 * @returns undefined for a URL that is not set
 */
export function readOrigins(read: Reader): Origins {
  const cloud = read.raw("cloudOrigin");
  const site = read.raw("siteOrigin");

  const cloudFault = originFault(cloud);
  const cloudFixed = other([originOf(cloud), "https://api.example.com", "https://cloud.example.com"], [site]);
  if (cloudFault !== undefined) read.refuse("cloudOrigin", { sentence: cloudFault, value: cloudFixed });

  const isTaken = site !== "" && originOf(site) !== undefined && originOf(site) === originOf(cloud);
  const siteFault = isTaken
    ? `${shown(site)} equals cloudOrigin, it should have another host or port, or HTTP actions and sign-in break.`
    : originFault(site);
  const siteFixed = other(
    [originOf(site), "https://site.example.com", "https://actions.example.com"],
    [cloud, originOf(cloud), cloudFixed],
  );
  if (siteFault !== undefined) read.refuse("siteOrigin", { sentence: siteFault, value: siteFixed });

  return { cloudOrigin: cloud === "" ? undefined : cloud, siteOrigin: site === "" ? undefined : site };
}

function originFault(text: string): string | undefined {
  const origin = originOf(text);
  if (text === "" || text === origin) return undefined;
  if (origin === undefined) return `"${shown(text)}" is not a URL, it should be https:// or http:// and a host.`;
  if (text === `${origin}/`) return `${text} ends with a slash, it should end with the host or port.`;
  return `${shown(text)} is more than scheme, host and port, it should be ${origin}.`;
}

/** Scheme, host and port as browsers write them; undefined if they would not open the URL. */
function originOf(text: string): string | undefined {
  const url = URL.parse(text);
  const isReachable = url !== null && /^https?:$/.test(url.protocol) && /^([\w.-]+|\[[\da-f:]+\])$/.test(url.hostname);
  return isReachable && url.port !== "0" ? url.origin : undefined;
}

/** A URL without name and password. */
function shown(text: string): string {
  return text.replace(/\/\/[^/]*@/, "//…@");
}

/** The first candidate that is not taken. */
function other(candidates: (string | undefined)[], taken: (string | undefined)[]): string {
  return candidates.find((candidate) => candidate !== undefined && !taken.includes(candidate)) ?? "";
}
