import { resource } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import { waitForState } from "../framework/state-change.ts";
import { ApiError } from "./api.ts";
import { type Action, type Client, orGone, waitForAction } from "./client.ts";
import type { Volume } from "./volume.ts";

/** Attaches or detaches; as long as the droplet is busy with something else it is asked again, for 5 minutes. */
async function act(
  client: Client,
  signal: AbortSignal,
  type: "attach" | "detach",
  volumeId: string,
  dropletId: number,
) {
  let accepted: Action | undefined;
  await waitForState(
    {
      pending: ["busy"],
      target: "accepted",
      delay: 0,
      minTimeout: 0.5,
      timeout: 300,
      refresh: async () => {
        try {
          const body = { type, droplet_id: dropletId };
          const answer = await client.api.request<{ action: Action }>(
            "POST",
            `/v2/volumes/${volumeId}/actions`,
            signal,
            body,
          );
          accepted = answer.action;
          return "accepted";
        } catch (error) {
          if (error instanceof ApiError && error.message.includes("Droplet already has a pending event")) return "busy";
          throw error;
        }
      },
    },
    client.clock,
    signal,
  );
  if (accepted !== undefined) await waitForAction(client, accepted, signal);
}

export const volumeAttachment = resource<Client>()({
  inputs: {
    dropletId: { type: "integer", required: true, replaces: true },
    volumeId: { type: "string", required: true, replaces: true },
  },
  outputs: {},

  create: async ({ client, signal }, { dropletId, volumeId }) => {
    await act(client, signal, "attach", volumeId, dropletId).catch(
      failed(`Error attaching volume (${volumeId}) to droplet (${dropletId})`),
    );
    return { id: `${dropletId}-${volumeId}-${Date.now()}`, outputs: {} };
  },

  read: async ({ client, signal }, { state }) => {
    const answer = await orGone(
      client.api.request<{ volume: Volume }>("GET", `/v2/volumes/${String(state.volumeId)}`, signal),
    );
    return answer?.volume.droplet_ids[0] === state.dropletId ? {} : undefined;
  },

  delete: async ({ client, signal }, { inputs: { dropletId, volumeId } }) => {
    await act(client, signal, "detach", volumeId, dropletId).catch(
      failed(`Error detaching volume (${volumeId}) from droplet (${dropletId})`),
    );
  },
});
