import { isIPv4, isIPv6 } from "node:net";

import { unprocessable } from "../errors.ts";
import type { CloudState, DnsRecord, DnsRecordType, DomainRecord } from "../records.ts";
import { DEFAULT_TTL, touch, TYPES_WITH_HOST } from "../zone.ts";
import type { Fields } from "./fields.ts";

/** The types of records that clients can create: a domain has exactly one SOA record. */
const CREATED = ["A", "AAAA", "CAA", "CNAME", "MX", "NS", "SRV", "TXT"] as const;
type Created = (typeof CREATED)[number];

/** The numbers that a type has, with their largest values. */
const NUMBERS: Partial<Record<DnsRecordType, Partial<Record<"priority" | "port" | "weight" | "flags", number>>>> = {
  CAA: { flags: 255 },
  MX: { priority: 65_535 },
  SRV: { priority: 65_535, port: 65_535, weight: 65_535 },
};

const CAA_TAGS = ["issue", "issuewild", "iodef"];
const MIN_TTL = 30;

/** Adds a record to a domain. */
export function addDnsRecord(draft: CloudState, domain: DomainRecord, body: Fields): DnsRecord {
  const type = body.text("type");
  if (!isCreated(type)) throw unprocessable("Record type is not included in the list");
  const record: DnsRecord = {
    id: draft.next.dns_record++,
    type,
    ...{ name: "", data: "", ttl: DEFAULT_TTL },
    ...{ priority: null, port: null, weight: null, flags: null, tag: null },
  };
  updateDnsRecord(domain, record, body);
  domain.records.push(record);
  return record;
}

/**
 * Changes a record as a request says; its type stays. A field that the request does not have keeps its value, but is
 * checked like a new one. So a host name must always be sent: the stored one has no final dot, and is refused.
 */
export function updateDnsRecord(domain: DomainRecord, record: DnsRecord, body: Fields): void {
  record.ttl = readTtl(body) ?? record.ttl;
  if (record.type !== "SOA") {
    record.name = readName(domain, body.optionalText("name") ?? record.name);
    for (const [name, max] of Object.entries(NUMBERS[record.type] ?? {})) {
      const field = name as "priority" | "port" | "weight" | "flags";
      record[field] = readNumber(field, body.optionalInteger(field) ?? record[field], max);
    }
    if (record.type === "CAA") record.tag = readTag(body.optionalText("tag") ?? record.tag);
    record.data = readData(domain, record, body.optionalText("data") ?? record.data);
    checkAlias(domain, record);
  }
  touch(domain);
}

/** The data of a record whose other fields are read. */
function readData(domain: DomainRecord, { type, tag }: DnsRecord, data: string): string {
  if (data === "") throw unprocessable("Data can't be blank");
  if (type === "A" && !isIPv4(data)) {
    throw unprocessable("Data IP address did not match IPv4 format (e.g. 255.255.255.255).");
  }
  if (type === "AAAA" && !isIPv6(data)) {
    throw unprocessable("Data IP address did not match IPv6 format (e.g. 2001:db8::ff00:42:8329).");
  }
  return TYPES_WITH_HOST.includes(type) && tag !== "iodef" ? readHost(domain, data) : data;
}

/** A host name: complete and with a final dot, a label of the domain, or `@`. */
function readHost(domain: DomainRecord, data: string): string {
  if (data === "@" || data.toLowerCase() === `${domain.name}.`) return "@";
  if (!/^[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?$/i.test(data)) throw unprocessable("Data is invalid");
  if (data.endsWith(".")) return data.slice(0, -1);
  if (data.includes(".")) throw unprocessable("Data needs to end with a dot (.)");
  return `${data}.${domain.name}`;
}

function readName(domain: DomainRecord, text: string): string {
  if (text === "") throw unprocessable("Name can't be blank");
  const name = text.toLowerCase();
  if (name === "@" || name === `${domain.name}.`) return "@";
  const relative = name.endsWith(`.${domain.name}.`) ? name.slice(0, -domain.name.length - 2) : name;
  if (!/^(\*|[a-z0-9_-]{1,63})(\.[a-z0-9_-]{1,63})*$/.test(relative)) {
    throw unprocessable(
      "Name Only valid hostname characters are allowed. (a-z, A-Z, 0-9, ., _ and -) Or a single record of '@'.",
    );
  }
  return relative;
}

function readTtl(body: Fields): number | undefined {
  const ttl = body.optionalInteger("ttl");
  if (ttl !== undefined && ttl < MIN_TTL) throw unprocessable(`Ttl must be greater than or equal to ${MIN_TTL}`);
  return ttl;
}

function readNumber(field: string, value: number | null, max: number): number {
  const label = field.charAt(0).toUpperCase() + field.slice(1);
  if (value === null) throw unprocessable(`${label} can't be blank`);
  if (value < 0 || value > max) throw unprocessable(`${label} must be between 0 and ${max}`);
  return value;
}

function readTag(tag: string | null): string {
  if (tag === null || tag === "") throw unprocessable("Tag can't be blank");
  if (!CAA_TAGS.includes(tag)) throw unprocessable("Tag is not included in the list");
  return tag;
}

/** A name with a CNAME record has no other record (RFC 1034). */
function checkAlias(domain: DomainRecord, record: DnsRecord): void {
  const shares = domain.records.some(
    (other) =>
      other.id !== record.id && other.name === record.name && (other.type === "CNAME" || record.type === "CNAME"),
  );
  if (shares) throw unprocessable("CNAME records cannot share a name with other records");
}

function isCreated(type: string): type is Created {
  return (CREATED as readonly string[]).includes(type);
}
