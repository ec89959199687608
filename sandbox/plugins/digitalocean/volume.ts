import { resource } from "../framework/definition.ts";
import { failed, initializing } from "../framework/errors.ts";
import { type Action, type Client, ignoringCase, orGone, waitForAction } from "./client.ts";
import { updateTags } from "./tags.ts";

/** A volume as the API returns it. */
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

async function get({ api }: Client, id: string) {
  const { volume } = await api
    .request<{ volume: Volume }>("GET", `/v2/volumes/${id}`)
    .catch(failed("Error retrieving volume"));
  return outputs(volume);
}

export const volume = resource<Client>()({
  inputs: {
    region: { type: "string", required: true, replaces: true, same: ignoringCase, rewritten: true },
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

  create: async ({ client }, inputs) => {
    const { volume: created } = await client.api
      .request<{ volume: Volume }>("POST", "/v2/volumes", {
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
    const { id } = created;
    return { id, outputs: await initializing(id, {}, () => get(client, id)) };
  },

  read: ({ client }, { id }) => orGone(get(client, id)),

  update: async ({ client }, { id, state }, inputs, changed) => {
    if (changed.has("size")) {
      const { action } = await client.api
        .request<{ action: Action }>("POST", `/v2/volumes/${id}/actions`, {
          type: "resize",
          size_gigabytes: inputs.size,
          region: inputs.region.toLowerCase(),
        })
        .catch(failed(`Error resizing volume (${id})`));
      await waitForAction(client, action).catch(failed(`Error waiting for resize volume (${id}) to finish`));
    }
    if (changed.has("tags")) {
      await updateTags(client.api, { type: "volume", id }, state.tags ?? [], inputs.tags ?? []).catch(
        failed("Error updating tags"),
      );
    }
    return get(client, id);
  },

  delete: async ({ client }, { id }) => {
    await client.api.request("DELETE", `/v2/volumes/${id}`).catch(failed("Error deleting volume"));
  },
});
