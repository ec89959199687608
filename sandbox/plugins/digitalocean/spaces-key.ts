import { resource } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import { type Client, orGone } from "./client.ts";

/** A key as the API returns it; only the answer to a create has the secret. */
interface SpacesKey {
  name: string;
  access_key: string;
  secret_key?: string;
  grants: { bucket: string; permission: string }[];
  created_at: string;
}

const outputs = (key: SpacesKey) => ({
  name: key.name,
  accessKey: key.access_key,
  grants: key.grants,
  createdAt: key.created_at,
});

export const spacesKey = resource<Client>()({
  inputs: {
    name: { type: "string", autoname: { maxLength: 255 } },
    grants: {
      type: "list",
      items: {
        type: "object",
        properties: { bucket: { type: "string", required: true }, permission: { type: "string", required: true } },
      },
    },
  },
  outputs: {
    accessKey: { type: "string" },
    secretKey: { type: "string", secret: true },
    createdAt: { type: "string" },
  },

  create: async ({ client }, { name, grants = [] }) => {
    const { key } = await client.api
      .request<{ key: SpacesKey }>("POST", "/v2/spaces/keys", { name, grants })
      .catch(failed("Error creating Spaces key"));
    return { id: key.access_key, outputs: { ...outputs(key), secretKey: key.secret_key } };
  },

  read: async ({ client }, { id }) => {
    const answer = await orGone(
      client.api.request<{ key: SpacesKey }>("GET", `/v2/spaces/keys/${id}`).catch(failed("Error reading Spaces key")),
    );
    return answer && outputs(answer.key);
  },

  update: async ({ client }, { id }, { name, grants = [] }) => {
    const { key } = await client.api
      .request<{ key: SpacesKey }>("PUT", `/v2/spaces/keys/${id}`, { name, grants })
      .catch(failed("Error updating Spaces key"));
    return outputs(key);
  },

  delete: async ({ client }, { id }) => {
    await client.api.request("DELETE", `/v2/spaces/keys/${id}`).catch(failed("Error deleting Spaces key"));
  },
});
