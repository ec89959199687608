import { invokable } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import type { Client } from "./client.ts";

export const getDatabaseCa = invokable<Client>()({
  inputs: { clusterId: { type: "string", required: true } },
  call: async ({ client }, { clusterId }) => {
    const { ca } = await client.api
      .request<{ ca: { certificate: string } }>("GET", `/v2/databases/${clusterId}/ca`)
      .catch(failed("Error retrieving database CA certificate"));
    return { id: clusterId, clusterId, certificate: Buffer.from(ca.certificate, "base64").toString("utf8") };
  },
});
