import { resource } from "../framework/definition.ts";
import { failed, initializing } from "../framework/errors.ts";
import { waitForState } from "../framework/state-change.ts";
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

async function read({ api }: Client, id: string) {
  const answer = await orGone(
    api.request<{ ssh_key: SshKey }>("GET", `/v2/account/keys/${id}`).catch(failed("Error retrieving SSH key")),
  );
  return answer && outputs(answer.ssh_key);
}

/** The time for a new key to be found; in seconds. */
const CREATE_TIMEOUT = 120;

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

  timeouts: { create: CREATE_TIMEOUT },

  create: async ({ client, signal, timeoutSeconds }, { name, publicKey }) => {
    const { ssh_key: key } = await client.api
      .request<{ ssh_key: SshKey }>("POST", "/v2/account/keys", { name, public_key: publicKey })
      .catch(failed("Error creating SSH Key"));
    const id = String(key.id);
    const found = await initializing(id, {}, async () => {
      await waitForState(
        {
          delay: 0,
          minTimeout: 0.5,
          timeout: timeoutSeconds ?? CREATE_TIMEOUT,
          pending: ["missing"],
          target: "found",
          refresh: async () => ((await read(client, id)) === undefined ? "missing" : "found"),
        },
        client.clock,
        signal,
      );
      return read(client, id);
    });
    return { id, outputs: found ?? {} };
  },

  read: ({ client }, { id }) => read(client, id),

  update: async ({ client }, { id }, { name }) => {
    await client.api.request("PUT", `/v2/account/keys/${id}`, { name }).catch(failed("Failed to update SSH key"));
    return (await read(client, id)) ?? {};
  },

  delete: async ({ client }, { id }) => {
    await client.api.request("DELETE", `/v2/account/keys/${id}`).catch(failed("Error deleting SSH key"));
  },
});
