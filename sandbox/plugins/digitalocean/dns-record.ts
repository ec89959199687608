import { resource, type ValuesOf } from "../framework/definition.ts";
import { failed, initializing } from "../framework/errors.ts";
import type { PropertyBag, Value } from "../framework/values.ts";
import { type Client, orGone } from "./client.ts";
import { atLeast, checks, notEmpty, within } from "./validation.ts";

interface DnsRecord {
  id: number;
  type: string;
  name: string;
  data: string;
  priority: number | null;
  port: number | null;
  ttl: number;
  weight: number | null;
  flags: number | null;
  tag: string | null;
}

const TYPES = ["A", "AAAA", "CAA", "CNAME", "MX", "NS", "TXT", "SRV", "SOA"] as const;
/** The types whose data is a host name, which the API returns without its final dot. */
const TYPES_WITH_HOST = ["CNAME", "MX", "NS", "SRV", "CAA"];
const TAGS = ["issue", "issuewild", "iodef"] as const;

const inputs = {
  domain: { type: "string", required: true, replaces: true },
  type: { type: "string", required: true, replaces: true, values: TYPES },
  name: { type: "string", autoname: { maxLength: 255 } },
  value: { type: "string", required: true },
  port: { type: "integer" },
  priority: { type: "integer" },
  weight: { type: "integer" },
  ttl: { type: "integer", computed: true },
  flags: { type: "integer" },
  tag: { type: "string", values: TAGS },
} as const;

/** What a type needs in addition, checked by a plan. The official provider looks for an SRV's port only in a create. */
const NEEDS: Record<string, string[]> = {
  MX: ["priority"],
  SRV: ["priority", "weight"],
  CAA: ["flags", "tag"],
};

function requireFields(news: PropertyBag): void {
  const { type } = news;
  if (typeof type !== "string") return;
  const missing = NEEDS[type]?.find((name) => news[name] === undefined);
  if (missing !== undefined) throw new Error(`\`${missing}\` is required for when type is \`${type}\``);
}

/** Whether a name or value of the state, where names are relative to the domain and hosts complete, means the input. */
function isSame(
  property: string,
  old: Value | undefined,
  input: Value | undefined,
  domain: Value | undefined,
): boolean {
  if (typeof domain !== "string" || typeof old !== "string" || typeof input !== "string") return false;
  if (property === "name") return (old === "@" && input === `${domain}.`) || `${old}.${domain}.` === input;
  return property === "value" && ((old === "@" && input === `${domain}.`) || old === `${input}.${domain}.`);
}

/** As the official client sends it: zeros for absent numbers, except for the time to live. */
const body = ({ name, value, port, priority, weight, ttl, flags, tag }: ValuesOf<typeof inputs>) => ({
  name,
  data: value,
  port: port ?? 0,
  priority: priority ?? 0,
  weight: weight ?? 0,
  ttl,
  flags: flags ?? 0,
  tag,
});

function fullName(name: string, domain: string): string {
  if (name === "@") return domain;
  const lower = name.toLowerCase();
  return lower.endsWith(`${domain}.`) ? lower.slice(0, -1) : `${name}.${domain}`;
}

const path = (domain: string, id: string): string => `/v2/domains/${domain}/records/${id}`;

async function read({ api }: Client, domain: string, id: string) {
  const answer = await orGone(api.request<{ domain_record: DnsRecord }>("GET", path(domain, id)));
  if (!answer) return undefined;
  const record = answer.domain_record;
  const isHost = TYPES_WITH_HOST.includes(record.type) && record.data !== "@" && record.tag !== "iodef";
  return {
    domain,
    type: record.type as (typeof TYPES)[number],
    name: record.name,
    value: isHost ? `${record.data}.` : record.data,
    port: record.port ?? undefined,
    priority: record.priority ?? undefined,
    weight: record.weight ?? undefined,
    ttl: record.ttl,
    flags: record.flags ?? undefined,
    tag: (record.tag ?? undefined) as (typeof TAGS)[number] | undefined,
    fqdn: fullName(record.name, domain),
  };
}

export const dnsRecord = resource<Client>()({
  inputs,
  outputs: { fqdn: { type: "string" } },

  check: checks(
    notEmpty("domain", "name"),
    within(0, 65_535, "port", "priority", "weight"),
    within(0, 255, "flags"),
    atLeast(1, "ttl"),
  ),
  plan: requireFields,

  diff: (changes, olds, news) =>
    changes.filter(({ path: property }) => !isSame(property, olds[property], news[property], news["domain"])),

  create: async ({ client }, properties) => {
    const { domain, type, port } = properties;
    if (type === "SRV" && port === undefined) throw new Error("`port` is required for when type is `SRV`");
    const { domain_record: created } = await client.api
      .request<{ domain_record: DnsRecord }>("POST", `/v2/domains/${domain}/records`, { type, ...body(properties) })
      .catch(failed("Failed to create record"));
    const id = String(created.id);
    return { id, outputs: (await initializing(id, {}, () => read(client, domain, id))) ?? {} };
  },

  read: ({ client }, { id, state }) => read(client, state.domain ?? "", id),

  update: async ({ client }, { id, state }, properties) => {
    const { domain, ttl = state.ttl } = properties;
    await client.api
      .request("PUT", path(domain, id), body({ ...properties, ttl }))
      .catch(failed("Failed to update record"));
    return (await read(client, domain, id)) ?? {};
  },

  delete: async ({ client }, { id, state }) => {
    await orGone(client.api.request("DELETE", path(state.domain ?? "", id)).catch(failed("Error deleting record")));
  },
});
