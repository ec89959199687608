import { authorityFault } from "./kinds/authority.ts";
import { type Hosts, nameFault, namesOf } from "./kinds/hosts.ts";
import { readNetworks } from "./kinds/networks.ts";
import { type Fault, matches, type Reader } from "./reader.ts";
import { onThisStack } from "./on-this-stack.ts";

/** The names' DNS records and certificate, and the proxies in front of the droplet. */
export function readEdge(read: Reader, hosts: Hosts | undefined) {
  const dns = read.choice("dns", ["digitalocean", "manual"]);
  const dnsZone = read.text("dnsZone", (text) => (text === "" ? undefined : nameFault(text, "example.com")));
  const createDnsZone = read.flag("createDnsZone");
  const zone = dnsZone === "" ? read.raw("domain") : dnsZone;
  if (hosts !== undefined && dns === "digitalocean") {
    read.refuse("dnsZone", namesOf(hosts).flatMap((host) => outside(host, zone) ?? [])[0]);
  } else if (hosts !== undefined && createDnsZone) {
    read.refuse("createDnsZone", { sentence: "has no effect with dns manual, it should be false.", value: "false" });
  }
  return {
    dns,
    dnsZone: zone,
    createDnsZone,
    acmeDirectory: read.text("acmeDirectory", directoryFault),
    acmeEmail: read.text(
      "acmeEmail",
      matches(/^(?:[^\s@,]+@[^\s@,]+\.[^\s@,.]+)?$/, "one e-mail address", "me@example.com"),
    ),
    acmeAuthority: read.text("acmeAuthority", authorityFault),
    trustedProxyCidrs: readNetworks(read, "trustedProxyCidrs"),
  };
}

/** What is wrong with the domain that should contain a host. */
export function outside(host: string, zone: string): Fault | undefined {
  if (nameFault(host, "") !== undefined || nameFault(zone, "") !== undefined) return undefined;
  if (host === zone || host.endsWith(`.${zone}`)) return undefined;
  return {
    sentence: `"${zone}" does not contain ${host}, it should be the domain of the DigitalOcean account that gets its record.`,
    fix: `Set it with: ${onThisStack("config set", "dnsZone DOMAIN")}, or make the records yourself with: ${onThisStack("config set", "dns manual")}`,
  };
}

const LETS_ENCRYPT = "https://acme-v02.api.letsencrypt.org/directory";

function directoryFault(text: string): Fault | undefined {
  const url = URL.parse(text);
  if (url?.protocol === "https:" && url.username === "" && url.href === text) return undefined;
  const is = url?.protocol === "http:" ? "is plain HTTP" : "is not valid";
  return { sentence: `"${text}" ${is}, it should be an https:// URL such as ${LETS_ENCRYPT}.`, value: LETS_ENCRYPT };
}
