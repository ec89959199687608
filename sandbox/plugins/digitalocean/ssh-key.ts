import { resource } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import { type Client, orGone } from "./client.ts";

interface SshKey {
  id: number;
  name: string;
  fingerprint: string;
  public_key: string;
}

const outputs = (key: SshKey) => ({
  name: key.name,
  publicKey: key.public_key.trim(),
  fingerprint: key.fingerprint,
});

export const sshKey = resource<Client>()({
  inputs: {
    name: { type: "string", autoname: { maxLength: 255 } },
    publicKey: {
      type: "string",
      required: true,
      replaces: true,
      same: (state: unknown, input: unknown) => typeof input === "string" && input.trim() === state,
    },
  },
  outputs: { fingerprint: { type: "string" } },

  create: async ({ client, signal }, { name, publicKey }) => {
    const { ssh_key: key } = await client.api
      .request<{ ssh_key: SshKey }>("POST", "/v2/account/keys", signal, { name, public_key: publicKey })
      .catch(failed("Error creating SSH Key"));
    return { id: String(key.id), outputs: outputs(key) };
  },

  read: async ({ client, signal }, { id }) => {
    const answer = await orGone(client.api.request<{ ssh_key: SshKey }>("GET", `/v2/account/keys/${id}`, signal));
    return answer && outputs(answer.ssh_key);
  },

  update: async ({ client, signal }, { id }, { name }) => {
    const { ssh_key: key } = await client.api
      .request<{ ssh_key: SshKey }>("PUT", `/v2/account/keys/${id}`, signal, { name })
      .catch(failed("Failed to update SSH key"));
    return outputs(key);
  },

  delete: async ({ client, signal }, { id }) => {
    await orGone(client.api.request("DELETE", `/v2/account/keys/${id}`, signal)).catch(
      failed("Error deleting SSH key"),
    );
  },
});
