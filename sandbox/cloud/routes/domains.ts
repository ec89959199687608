import { isIPv4 } from "node:net";

import type { FastifyInstance } from "fastify";

import type { Cloud } from "../cloud.ts";
import { unprocessable } from "../errors.ts";
import { recordedDomain } from "../lookups.ts";
import { assignToDefault, unassign } from "../project-resources.ts";
import type { CloudState, DomainRecord } from "../records.ts";
import { initialRecords, touch, ttlOf, zoneFile } from "../zone.ts";
import { addDnsRecord } from "./dns-record-requests.ts";
import { Fields } from "./fields.ts";
import { paginate } from "./pagination.ts";

interface Name {
  Params: { name: string };
}

export function domainRoutes(api: FastifyInstance, { store }: Cloud): void {
  api.get("/v2/domains", (request) => paginate(request, "domains", store.state.domains.map(domainView)));

  api.post("/v2/domains", async (request, reply) => {
    const body = new Fields(request.body);
    const domain = await store.change((draft) => addDomain(draft, body));
    void reply.code(201);
    // The zone is only made later.
    return { domain: { ...domainView(domain), zone_file: null } };
  });

  api.get<Name>("/v2/domains/:name", (request) => ({
    domain: domainView(recordedDomain(store.state, request.params.name)),
  }));

  api.delete<Name>("/v2/domains/:name", async (request, reply) => {
    await store.change((draft) => {
      const domain = recordedDomain(draft, request.params.name);
      draft.domains = draft.domains.filter((other) => other !== domain);
      unassign(draft, urnOf(domain));
    });
    return reply.code(204).send();
  });
}

function domainView(domain: DomainRecord) {
  return { name: domain.name, ttl: ttlOf(domain), zone_file: zoneFile(domain) };
}

function addDomain(draft: CloudState, body: Fields): DomainRecord {
  const name = body.text("name").toLowerCase();
  const labels = name.split(".");
  if (name === "") throw unprocessable("Name can't be blank");
  if (
    labels.length < 2 ||
    name.length > 253 ||
    !labels.every((label) => /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(label))
  ) {
    throw unprocessable("Name is invalid");
  }
  if (draft.domains.some((other) => other.name === name)) throw unprocessable("Name already exists");
  const address = body.optionalText("ip_address");
  if (address !== undefined && !isIPv4(address)) throw unprocessable("IP address is invalid");

  const domain: DomainRecord = { name, serial: 0, records: initialRecords(() => draft.next.dns_record++) };
  touch(domain);
  if (address !== undefined) addDnsRecord(draft, domain, new Fields({ type: "A", name: "@", data: address }));
  draft.domains.push(domain);
  assignToDefault(draft, urnOf(domain));
  return domain;
}

function urnOf({ name }: DomainRecord): string {
  return `do:domain:${name}`;
}
