import * as pulumi from "@pulumi/pulumi";

import { RefusedError } from "./account.ts";
import { account } from "./own-account.ts";
import { onThisStack } from "../settings/on-this-stack.ts";

/** In seconds: how long resolvers may keep an old address after a change. */
export const TTL = 60;

/** An entry of a domain's list of records. */
interface DnsRecord {
  id: number;
  type: string;
  data: string;
  ttl: number;
}

/** The types that decide where a name leads. */
const ADDRESSES = ["A", "AAAA", "CNAME"];

/**
 * Before a record is created, also in a preview: refuses it if the domain is not in the account, or if the name already leads
 * somewhere. DigitalOcean would add the record to the others, and clients would choose one of them at random. A record that
 * equals this one was left by a run that was killed, and is replaced.
 *
 * @param isZoneMade  whether this program adds the domain to the account
 */
export function refuseOtherRecords(name: string, isZoneMade: boolean): pulumi.ResourceHook {
  const check = async ({ newInputs }: pulumi.ResourceHookArgs) => {
    const { domain, name: label, value } = newInputs as { domain: string; name: string; value?: string };
    const host = label === "@" ? domain : `${label}.${domain}`;
    const records = await recordsOf(domain, host);
    if (records === undefined) {
      if (!isZoneMade) throw new Error(missingZone(domain));
      return;
    }
    for (const { id, type, data, ttl } of records.filter(({ type }) => ADDRESSES.includes(type))) {
      const isOwn = type === "A" && ttl === TTL && data === value;
      if (!isOwn) throw new Error(otherRecord(host, domain, { id, type, data }));
      if (pulumi.runtime.isDryRun()) continue;
      await pulumi.log.warn(
        `the record ${type} ${host} ${data} is not in the stack's state: a run was killed while creating it. Replacing it.`,
      );
      await account().ask("DELETE", `/v2/domains/${domain}/records/${id}`);
    }
  };
  return new pulumi.ResourceHook(name, check, { onDryRun: true });
}

/** Undefined if the domain is not in the account. */
async function recordsOf(domain: string, host: string): Promise<DnsRecord[] | undefined> {
  try {
    return await account().list<DnsRecord>(`/v2/domains/${domain}/records?name=${host}`, "domain_records");
  } catch (error) {
    if (error instanceof RefusedError && error.status === 404) return undefined;
    throw error;
  }
}

function missingZone(domain: string): string {
  return (
    `convex-droplet:dnsZone: ${domain} is not a domain of this DigitalOcean account, it should be one. ` +
    `If a larger domain of the account contains it, set that: ${onThisStack("config set", "dnsZone DOMAIN")}. Otherwise add it with: ` +
    `${onThisStack("config set", "createDnsZone true")}, and let its registrar name ns1, ns2 and ns3.digitalocean.com; or make the records elsewhere with: ${onThisStack("config set", "dns manual")}`
  );
}

function otherRecord(
  host: string,
  domain: string,
  { id, type, data }: Pick<DnsRecord, "id" | "type" | "data">,
): string {
  return (
    `convex-droplet:dns: ${host} already has the record ${type} ${data}, which this stack did not make, so it is not touched. ` +
    `If it is right, keep it with: ${onThisStack("config set", "dns manual")}. If nobody needs it, delete it with: ` +
    `doctl compute domain records delete ${domain} ${id}. Otherwise choose another name`
  );
}

/**
 * For the `onError` of a domain: explains that it is already in the account.
 */
export function explainExistingZone(name: string): pulumi.ErrorHook {
  return new pulumi.ErrorHook(`${name}-zone-exists`, async ({ failedOperation, newInputs = {}, errors }) => {
    if (failedOperation === "create" && / 422 /.test(errors[0] ?? "")) {
      await pulumi.log.error(
        `convex-droplet:createDnsZone: DigitalOcean does not add ${String(newInputs["name"])}: it is already in this account or in another. ` +
          `If it is in this one, use it with: ${onThisStack("config set", "createDnsZone false")}`,
      );
    }
    return false;
  });
}
