import { resource } from "../framework/definition.ts";
import { failed, initializing } from "../framework/errors.ts";
import { type Client, orGone } from "./client.ts";
import { notEmpty } from "./validation.ts";

interface Domain {
  name: string;
  ttl: number;
}

async function read({ api }: Client, name: string) {
  const answer = await orGone(
    api.request<{ domain: Domain }>("GET", `/v2/domains/${name}`).catch(failed("Error retrieving domain")),
  );
  return answer && { name: answer.domain.name, ttl: answer.domain.ttl, domainUrn: `do:domain:${answer.domain.name}` };
}

export const domain = resource<Client>()({
  inputs: {
    name: { type: "string", required: true, replaces: true },
    // The API does not return it, so a refresh keeps it.
    ipAddress: { type: "string", replaces: true },
  },
  outputs: { domainUrn: { type: "string" }, ttl: { type: "integer" } },

  check: notEmpty("name", "ipAddress"),

  create: async ({ client }, { name, ipAddress }) => {
    const { domain: created } = await client.api
      .request<{ domain: Domain }>("POST", "/v2/domains", { name, ip_address: ipAddress })
      .catch(failed("Error creating Domain"));
    return {
      id: created.name,
      outputs: (await initializing(created.name, {}, () => read(client, created.name))) ?? {},
    };
  },

  read: ({ client }, { id }) => read(client, id),

  delete: async ({ client }, { id }) => {
    await client.api.request("DELETE", `/v2/domains/${id}`).catch(failed("Error deleting Domain"));
  },
});
