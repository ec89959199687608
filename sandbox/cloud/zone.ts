import type { DnsRecord, DnsRecordType, DomainRecord } from "./records.ts";

/** The time to live of records that name no other; in seconds. */
export const DEFAULT_TTL = 1800;

const NAME_SERVERS = ["ns1.digitalocean.com", "ns2.digitalocean.com", "ns3.digitalocean.com"];

/** The types whose data is a host name. */
export const TYPES_WITH_HOST: readonly DnsRecordType[] = ["CAA", "CNAME", "MX", "NS", "SRV"];

/** The records that every new domain has. */
export function initialRecords(nextId: () => number): DnsRecord[] {
  const none = { priority: null, port: null, ttl: DEFAULT_TTL, weight: null, flags: null, tag: null };
  return [
    { id: nextId(), type: "SOA", name: "@", data: String(DEFAULT_TTL), ...none },
    ...NAME_SERVERS.map((data): DnsRecord => ({ id: nextId(), type: "NS", name: "@", data, ...none })),
  ];
}

/** A record's full name, without final dot. */
export function fullName(domain: DomainRecord, name: string): string {
  return name === "@" ? domain.name : `${name}.${domain.name}`;
}

/** Marks the domain as changed now. */
export function touch(domain: DomainRecord): void {
  domain.serial = Math.max(Math.floor(Date.now() / 1000), domain.serial + 1);
}

/** The domain as a zone file of RFC 1035. */
export function zoneFile(domain: DomainRecord): string {
  const ttl = ttlOf(domain);
  const timers = `${domain.serial} 10800 3600 604800 1800`;
  return [
    `$ORIGIN ${domain.name}.`,
    `$TTL ${ttl}`,
    `${domain.name}. IN SOA ${NAME_SERVERS[0]}. hostmaster.${domain.name}. ${timers}`,
    ...domain.records
      .filter(({ type }) => type !== "SOA")
      .map((record) => `${fullName(domain, record.name)}. ${record.ttl} IN ${record.type} ${zoneData(domain, record)}`),
    "",
  ].join("\n");
}

/** The domain's own time to live, in seconds. */
export function ttlOf(domain: DomainRecord): number {
  return domain.records.find(({ type }) => type === "SOA")?.ttl ?? DEFAULT_TTL;
}

function zoneData(domain: DomainRecord, record: DnsRecord): string {
  const { type, data, priority, weight, port, flags, tag } = record;
  const host = data === "@" ? `${domain.name}.` : `${data}.`;
  switch (type) {
    case "CNAME":
    case "NS":
      return host;
    case "MX":
      return `${priority} ${host}`;
    case "SRV":
      return `${priority} ${weight} ${port} ${host}`;
    case "CAA":
      return `${flags} ${tag} ${JSON.stringify(data)}`;
    case "TXT":
      // A text of the zone has 255 bytes at most.
      return (data.match(/.{1,60}/gsu) ?? []).map((part) => JSON.stringify(part)).join(" ");
    default:
      return data;
  }
}
