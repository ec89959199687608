import { resource } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import { type Action, type Client, ignoringCase, orGone, waitForAction } from "./client.ts";
import { updateTags } from "./tags.ts";

/** A volume as the API gives it. */
export interface Volume {
  id: string;
  region: { slug: string };
  name: string;
  size_gigabytes: number;
  description: string;
  droplet_ids: number[];
  filesystem_type: string;
  filesystem_label: string;
  tags: string[];
}

const outputs = (volume: Volume) => ({
  region: volume.region.slug,
  name: volume.name,
  size: volume.size_gigabytes,
  description: volume.description,
  tags: volume.tags,
  dropletIds: volume.droplet_ids,
  filesystemType: volume.filesystem_type,
  filesystemLabel: volume.filesystem_label,
  volumeUrn: `do:volume:${volume.id}`,
});

async function get({ api }: Client, id: string, signal: AbortSignal) {
  const { volume } = await api.request<{ volume: Volume }>("GET", `/v2/volumes/${id}`, signal);
  return outputs(volume);
}

export const volume = resource<Client>()({
  inputs: {
    region: { type: "string", required: true, replaces: true, same: ignoringCase },
    size: { type: "integer", required: true },
    name: { type: "string", replaces: true, autoname: { maxLength: 64, lowerCase: true } },
    description: { type: "string", replaces: true },
    snapshotId: { type: "string", replaces: true },
    initialFilesystemType: { type: "string", values: ["ext4", "xfs"], replaces: true },
    initialFilesystemLabel: { type: "string", replaces: true },
    filesystemType: { type: "string", replaces: true, computed: true },
    tags: { type: "set", items: { type: "string" } },
  },
  outputs: {
    dropletIds: { type: "set", items: { type: "integer" }, changesOnUpdate: true },
    filesystemLabel: { type: "string" },
    volumeUrn: { type: "string" },
  },

  diff: (changes, olds, news) => {
    if (typeof olds["size"] === "number" && typeof news["size"] === "number" && news["size"] < olds["size"]) {
      throw new Error("volumes `size` can only be expanded and not shrunk");
    }
    return changes;
  },

  create: async ({ client, signal }, inputs) => {
    const { volume: created } = await client.api
      .request<{ volume: Volume }>("POST", "/v2/volumes", signal, {
        region: inputs.region.toLowerCase(),
        name: inputs.name,
        description: inputs.description ?? "",
        size_gigabytes: inputs.size,
        snapshot_id: inputs.snapshotId,
        filesystem_type: inputs.initialFilesystemType ?? inputs.filesystemType,
        filesystem_label: inputs.initialFilesystemLabel,
        tags: inputs.tags ?? [],
      })
      .catch(failed("Error creating Volume"));
    return { id: created.id, outputs: outputs(created) };
  },

  read: ({ client, signal }, { id }) => orGone(get(client, id, signal)).catch(failed("Error retrieving volume")),

  update: async ({ client, signal }, { id, state }, inputs, changed) => {
    if (changed.has("size")) {
      const { action } = await client.api
        .request<{ action: Action }>("POST", `/v2/volumes/${id}/actions`, signal, {
          type: "resize",
          size_gigabytes: inputs.size,
          region: inputs.region.toLowerCase(),
        })
        .catch(failed(`Error resizing volume (${id})`));
      await waitForAction(client, action, signal).catch(failed(`Error resizing volume (${id})`));
    }
    if (changed.has("tags")) {
      await updateTags(client.api, { type: "volume", id }, state.tags ?? [], inputs.tags ?? [], signal).catch(
        failed("Error updating tags"),
      );
    }
    return get(client, id, signal);
  },

  delete: async ({ client, signal }, { id }) => {
    await orGone(client.api.request("DELETE", `/v2/volumes/${id}`, signal)).catch(failed("Error deleting volume"));
  },
});
