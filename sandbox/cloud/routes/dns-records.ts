import type { FastifyInstance } from "fastify";

import type { Cloud } from "../cloud.ts";
import { unprocessable } from "../errors.ts";
import { recordedDnsRecord, recordedDomain } from "../lookups.ts";
import { fullName, touch } from "../zone.ts";
import { addDnsRecord, updateDnsRecord } from "./dns-record-requests.ts";
import { Fields } from "./fields.ts";
import { paginate, queryParameter } from "./pagination.ts";

/** A change must send at least one of these. */
const FIELDS = ["type", "name", "data", "priority", "port", "ttl", "weight", "flags", "tag"];

interface OfDomain {
  Params: { domain: string };
}

interface Id {
  Params: { domain: string; id: string };
}

export function dnsRecordRoutes(api: FastifyInstance, { store }: Cloud): void {
  api.get<OfDomain>("/v2/domains/:domain/records", (request) => {
    const domain = recordedDomain(store.state, request.params.domain);
    const type = queryParameter(request, "type");
    // A full name, such as `www.example.com`.
    const name = queryParameter(request, "name")?.toLowerCase();
    const found = domain.records.filter(
      (record) =>
        (type === undefined || record.type === type) && (name === undefined || fullName(domain, record.name) === name),
    );
    return paginate(request, "domain_records", found);
  });

  api.post<OfDomain>("/v2/domains/:domain/records", async (request, reply) => {
    const body = new Fields(request.body);
    const record = await store.change((draft) =>
      addDnsRecord(draft, recordedDomain(draft, request.params.domain), body),
    );
    void reply.code(201);
    return { domain_record: record };
  });

  api.get<Id>("/v2/domains/:domain/records/:id", (request) => ({
    domain_record: recordedDnsRecord(recordedDomain(store.state, request.params.domain), request.params.id),
  }));

  // Both change only the fields that they get, and the official clients send no type.
  for (const method of ["PUT", "PATCH"] as const) {
    api.route<Id>({
      method,
      url: "/v2/domains/:domain/records/:id",
      handler: async (request) => {
        const body = new Fields(request.body).needing(...FIELDS);
        return store.change((draft) => {
          const domain = recordedDomain(draft, request.params.domain);
          const record = recordedDnsRecord(domain, request.params.id);
          updateDnsRecord(domain, record, body);
          return { domain_record: record };
        });
      },
    });
  }

  api.delete<Id>("/v2/domains/:domain/records/:id", async (request, reply) => {
    await store.change((draft) => {
      const domain = recordedDomain(draft, request.params.domain);
      const record = recordedDnsRecord(domain, request.params.id);
      if (record.type === "SOA") throw unprocessable("SOA records cannot be deleted");
      domain.records = domain.records.filter((other) => other !== record);
      touch(domain);
    });
    return reply.code(204).send();
  });
}
