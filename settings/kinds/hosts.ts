import { isIP } from "node:net";
import { domainToASCII } from "node:url";

import type { Fault, Reader } from "../reader.ts";
import { onThisStack } from "../on-this-stack.ts";

/** The host names at which the machine serves. They differ, because Convex distinguishes API and HTTP actions by them. */
export interface Hosts {
  /** The API's, such as api.example.com. */
  api: string;
  /** The HTTP actions', such as site.example.com. */
  site: string;
  /** The dashboard's, such as dash.example.com; undefined if only `npm run tunnel` reaches it. */
  dashboard: string | undefined;
}

/** All names. */
export function namesOf({ api, site, dashboard }: Hosts): string[] {
  return [api, site, ...(dashboard === undefined ? [] : [dashboard])];
}

/** A URL that clients use instead of the one that is derived from a host. */
export interface Origins {
  cloudOrigin: string | undefined;
  siteOrigin: string | undefined;
}

/** The keys that set one host each. */
const KEYS = { api: "apiHost", site: "siteHost", dashboard: "dashboardHost" } as const;

/**
 * The host names: those that are set, otherwise those of the URLs that are set, otherwise api, site and dash in the domain.
 *
 * @param hasDashboard  whether the dashboard has a host name
 * @returns undefined without a domain
 */
export function readHosts(read: Reader, origins: Origins, hasDashboard: boolean): Hosts | undefined {
  const domain = read.text("domain", domainFault);
  if (domain === "") {
    for (const key of Object.values(KEYS)) needsDomain(read, key, "");
    return undefined;
  }
  requireTls(read, "cloudOrigin", origins.cloudOrigin, "api");
  requireTls(read, "siteOrigin", origins.siteOrigin, "site");

  const hosts = {
    api: read.raw(KEYS.api) || (hostOf(origins.cloudOrigin) ?? `api.${domain}`),
    site: read.raw(KEYS.site) || (hostOf(origins.siteOrigin) ?? `site.${domain}`),
    dashboard: read.raw(KEYS.dashboard) || `dash.${domain}`,
  };
  for (const role of ["api", "site", "dashboard"] as const) {
    // A domain that is wrong is reported once, and not again for each host in it.
    const isReported = read.raw(KEYS[role]) === "" && domainFault(domain) !== undefined;
    const isUsed = role !== "dashboard" || hasDashboard || read.raw(KEYS[role]) !== "";
    if (isUsed && !isReported) read.refuse(KEYS[role], hostFault(hosts, role, domain));
  }
  return { ...hosts, dashboard: hasDashboard ? hosts.dashboard : undefined };
}

/** Refuses a setting that has no effect without a domain, if it is not the default. */
export function needsDomain(read: Reader, key: string, standard: string): void {
  if (read.raw(key) === standard) return;
  read.refuse(key, {
    sentence: "has no effect without a domain, it should come with one.",
    fix: `Set the domain with: ${onThisStack("config set", "domain example.com")}, or remove this with: ${onThisStack("config rm", key)}`,
  });
}

function domainFault(text: string): Fault | undefined {
  if (text === "") return undefined;
  const fault = nameFault(text, "example.com");
  if (fault !== undefined || `site.${text}`.length <= LONGEST) return fault;
  return {
    sentence: `has ${text.length} characters, it should have at most ${LONGEST - "site.".length}, so that the names in it are not too long.`,
    value: "example.com",
  };
}

function hostFault(hosts: Record<keyof Hosts, string>, role: keyof Hosts, domain: string): Fault | undefined {
  const free = freeHost(hosts, role, domain);
  const fault = nameFault(hosts[role], free);
  if (fault !== undefined) return fault;
  const same = (["api", "site", "dashboard"] as const).find((other) => hosts[other] === hosts[role]);
  if (same !== undefined && same !== role) {
    return { sentence: `"${hosts[role]}" is also ${KEYS[same]}, it should be another name.`, value: free };
  }
  if (role === "dashboard" && (hosts.dashboard === domain || hosts.dashboard.split(".").length < 3)) {
    return {
      sentence: `"${hosts.dashboard}" is a domain itself, it should be a name in it, so that the domain stays free for an app.`,
      value: free,
    };
  }
  return undefined;
}

/** A name in the domain that no host has. */
function freeHost(hosts: Record<keyof Hosts, string>, role: keyof Hosts, domain: string): string {
  const within = nameFault(domain, "") === undefined ? domain : "example.com";
  const labels = { api: ["api", "convex"], site: ["site", "actions"], dashboard: ["dash", "dashboard"] }[role];
  const taken = Object.values(hosts);
  return (
    [...labels, "convex-dashboard"].map((label) => `${label}.${within}`).find((name) => !taken.includes(name)) ?? ""
  );
}

/** A page that was loaded over HTTPS cannot call a URL over plain HTTP. */
function requireTls(read: Reader, key: string, origin: string | undefined, label: string): void {
  if (origin?.startsWith("http:") !== true) return;
  const host = new URL(origin).hostname;
  read.refuse(key, {
    sentence: `"${origin}" is plain HTTP, it should be https:// with a domain, because browsers refuse to call it from a page over HTTPS.`,
    value: `https://${nameFault(host, "") === undefined ? host : `${label}.example.com`}`,
  });
}

/** The host of a URL that this machine can serve itself: over HTTPS, at the usual port. */
function hostOf(origin: string | undefined): string | undefined {
  const url = origin === undefined ? null : URL.parse(origin);
  return url?.protocol === "https:" && url.port === "" ? url.hostname : undefined;
}

/** Of a name, in characters. */
const LONGEST = 253;
const LABEL = "[a-z\\d](?:[a-z\\d-]{0,61}[a-z\\d])?";
const NAME = new RegExp(`^(?:${LABEL}\\.)+[a-z](?:[a-z\\d-]{0,61}[a-z\\d])$`);

/** What is wrong with a host name: certificates contain only ASCII, and at most 253 characters. */
export function nameFault(text: string, example: string): Fault | undefined {
  const fault = (is: string, value = example): Fault => ({
    sentence: `"${shortened(text)}" ${is}, it should be a name such as ${example}.`,
    value,
  });
  if (text.length > LONGEST) return fault(`has ${text.length} characters, and a name has at most ${LONGEST}`);
  if (NAME.test(text)) return undefined;
  if (isIP(text.replaceAll(/[[\]]/g, "")) !== 0) return fault("is an address, for which there is no certificate");
  if (text.includes("*")) return fault("is a wildcard, for which this program gets no certificate");
  const host = /^(?:[a-z][a-z\d+.-]*:)?\/\/([^/:@]+)/i.exec(text)?.[1] ?? text;
  const plain = domainToASCII(host.replace(/\.$/, ""));
  const proposal = NAME.test(plain) && plain.length <= LONGEST ? plain : example;
  if (text.includes("/") || text.includes(":")) return fault("is more than a name", proposal);
  return fault("is not valid", proposal);
}

function shortened(text: string): string {
  return text.length > 60 ? `${text.slice(0, 60)}…` : text;
}
