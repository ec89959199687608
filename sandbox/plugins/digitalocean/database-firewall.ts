import { randomBytes } from "node:crypto";

import { resource, type ValuesOf } from "../framework/definition.ts";
import { failed, initializing } from "../framework/errors.ts";
import { type Client, orGone } from "./client.ts";

/** A trusted source as the API returns it. */
interface Rule {
  uuid: string;
  type: string;
  value: string;
  created_at: string;
}

const TYPES = ["ip_addr", "droplet", "k8s", "tag", "app"] as const;

const inputs = {
  clusterId: { type: "string", required: true, replaces: true },
  rules: {
    type: "set",
    required: true,
    items: {
      type: "object",
      properties: {
        type: { type: "string", required: true, values: TYPES },
        value: { type: "string", required: true },
        uuid: { type: "string", computed: true },
        createdAt: { type: "string", computed: true },
      },
    },
  },
} as const;

async function read({ api }: Client, clusterId: string) {
  const answer = await orGone(
    api
      .request<{ rules: Rule[] }>("GET", `/v2/databases/${clusterId}/firewall`)
      .catch(failed("Error retrieving DatabaseFirewall")),
  );
  return (
    answer && {
      clusterId,
      rules: answer.rules.map((rule) => ({
        type: rule.type as (typeof TYPES)[number],
        value: rule.value,
        uuid: rule.uuid,
        createdAt: rule.created_at,
      })),
    }
  );
}

async function write({ api }: Client, clusterId: string, rules: ValuesOf<typeof inputs>["rules"]): Promise<void> {
  await api.request("PUT", `/v2/databases/${clusterId}/firewall`, {
    rules: rules.map(({ type, value, uuid }) => ({ type, value, uuid: uuid ?? "" })),
  });
}

/** All trusted sources of a cluster; without this resource, or with an empty list, everyone is trusted. */
export const databaseFirewall = resource<Client>()({
  inputs,
  outputs: {},

  create: async ({ client }, { clusterId, rules }) => {
    await write(client, clusterId, rules).catch(failed("Error creating DatabaseFirewall"));
    const id = `${clusterId}-${uniqueSuffix()}`;
    return { id, outputs: (await initializing(id, {}, () => read(client, clusterId))) ?? {} };
  },

  read: ({ client }, { state }) => read(client, state.clusterId ?? ""),

  update: async ({ client }, _existing, { clusterId, rules }) => {
    await write(client, clusterId, rules).catch(failed("Error updating DatabaseFirewall"));
    return (await read(client, clusterId)) ?? {};
  },

  delete: async ({ client }, { state }) => {
    await write(client, state.clusterId ?? "", []).catch(failed("Error deleting DatabaseFirewall"));
  },
});

/** In Terraform's form: the time, and a number of eight hexadecimal digits. */
function uniqueSuffix(): string {
  const time = new Date().toISOString().replace(/\D/g, "").padEnd(18, "0");
  return time + randomBytes(4).toString("hex");
}
