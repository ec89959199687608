import { resource } from "../framework/definition.ts";
import { failed, initializing } from "../framework/errors.ts";
import { type Client, orGone } from "./client.ts";
import { updateTags } from "./tags.ts";
import { notEmpty } from "./validation.ts";

interface Snapshot {
  id: string;
  name: string;
  resource_id: string;
  regions: string[];
  size_gigabytes: number;
  created_at: string;
  min_disk_size: number;
  tags: string[];
}

async function read({ api }: Client, id: string) {
  const answer = await orGone(
    api.request<{ snapshot: Snapshot }>("GET", `/v2/snapshots/${id}`).catch(failed("Error retrieving volume snapshot")),
  );
  return (
    answer && {
      name: answer.snapshot.name,
      volumeId: answer.snapshot.resource_id,
      regions: answer.snapshot.regions,
      size: answer.snapshot.size_gigabytes,
      createdAt: answer.snapshot.created_at,
      minDiskSize: answer.snapshot.min_disk_size,
      tags: answer.snapshot.tags,
    }
  );
}

export const volumeSnapshot = resource<Client>()({
  inputs: {
    name: { type: "string", replaces: true, autoname: { maxLength: 255 } },
    volumeId: { type: "string", required: true, replaces: true },
    tags: { type: "set", items: { type: "string" } },
  },
  outputs: {
    regions: { type: "set", items: { type: "string" } },
    size: { type: "number" },
    createdAt: { type: "string" },
    minDiskSize: { type: "integer" },
  },

  check: notEmpty("name", "volumeId"),

  create: async ({ client }, { name, volumeId, tags = [] }) => {
    const { snapshot } = await client.api
      .request<{ snapshot: Snapshot }>("POST", `/v2/volumes/${volumeId}/snapshots`, { name, tags })
      .catch(failed("Error creating Volume Snapshot"));
    const { id } = snapshot;
    return { id, outputs: (await initializing(id, {}, () => read(client, id))) ?? {} };
  },

  read: ({ client }, { id }) => read(client, id),

  update: async ({ client }, { id, state }, { tags = [] }) => {
    await updateTags(client.api, { type: "volume_snapshot", id }, state.tags ?? [], tags).catch(
      failed("Error updating tags"),
    );
    return (await read(client, id)) ?? {};
  },

  delete: async ({ client }, { id }) => {
    await client.api.request("DELETE", `/v2/snapshots/${id}`).catch(failed("Error deleting snapshot"));
  },
});
