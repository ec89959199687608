import { randomUUID } from "node:crypto";

import type { FastifyInstance, FastifyReply } from "fastify";

import { volumeIsBusy } from "./actions.ts";
import type { Cloud, CloudCore } from "./cloud.ts";
import { conflict, notFound, notSimulated, unprocessable } from "./errors.ts";
import { Fields } from "./fields.ts";
import type { VolumeSpec } from "./hypervisor.ts";
import { paginate, queryParameter } from "./pagination.ts";
import { assignToDefault, unassign } from "./projects.ts";
import { findRegion, regionOf } from "./regions.ts";
import type { CloudState } from "./state.ts";
import { ensureTags } from "./tags.ts";
import { timestamp } from "./time.ts";
import { volumeActionRoutes } from "./volume-actions.ts";

export interface VolumeRecord {
  id: string;
  name: string;
  region: string;
  size_gigabytes: number;
  description: string;
  filesystem_type: "" | "ext4" | "xfs";
  filesystem_label: string;
  droplet_id: number | null;
  tags: string[];
  created_at: string;
  /** Clients see available ones only; the others are for whoever goes on after a crash. */
  phase: "creating" | "available" | "deleting";
}

/** The API reference of 2024-08 on; it was seven before. */
export const MAX_VOLUMES_PER_DROPLET = 15;
/** 16 TiB. */
export const MAX_VOLUME_GIGABYTES = 16384;

const MAX_LABEL = { ext4: 16, xfs: 12 };

export function recordedVolume(state: CloudState, id: string): VolumeRecord {
  const volume = findVolume(state, id);
  if (!volume) throw notFound();
  return volume;
}

export function findVolume(state: CloudState, id: string): VolumeRecord | undefined {
  return state.volumes.find((volume) => volume.id === id && volume.phase === "available");
}

/** Ids of the volumes attached to a droplet, or about to be with its creation. */
export function volumesOf(state: CloudState, dropletId: number): string[] {
  return state.volumes.filter((volume) => volume.droplet_id === dropletId).map((volume) => volume.id);
}

export function volumeSpec(volume: VolumeRecord): VolumeSpec {
  return {
    id: volume.id,
    name: volume.name,
    sizeGigabytes: volume.size_gigabytes,
    ...(volume.filesystem_type !== "" && {
      filesystem: {
        type: volume.filesystem_type,
        ...(volume.filesystem_label !== "" && { label: volume.filesystem_label }),
      },
    }),
  };
}

function volumeView(volume: VolumeRecord) {
  return {
    id: volume.id,
    name: volume.name,
    created_at: volume.created_at,
    description: volume.description,
    droplet_ids: volume.droplet_id === null ? [] : [volume.droplet_id],
    region: regionOf(volume.region),
    size_gigabytes: volume.size_gigabytes,
    filesystem_type: volume.filesystem_type,
    filesystem_label: volume.filesystem_label,
    tags: volume.tags,
  };
}

export function volumeRoutes(api: FastifyInstance, cloud: Cloud): void {
  const { hypervisor, store } = cloud;

  const remove = async (find: (state: CloudState) => VolumeRecord, reply: FastifyReply) => {
    const { id } = await store.change((draft) => {
      const volume = find(draft);
      if (volume.droplet_id !== null || volumeIsBusy(draft, volume.id)) {
        throw conflict("failed to delete volume: attached volume cannot be deleted");
      }
      volume.phase = "deleting";
      return volume;
    });
    try {
      await hypervisor.deleteVolume(id);
    } catch (error) {
      await finishVolume(cloud, id);
      throw error;
    }
    await removeVolume(cloud, id);
    return reply.code(204).send();
  };

  api.get("/v2/volumes", (request) => {
    const name = queryParameter(request, "name");
    const region = queryParameter(request, "region");
    const found = store.state.volumes.filter(
      (volume) =>
        volume.phase === "available" &&
        (name === undefined || volume.name === name) &&
        (region === undefined || volume.region === region),
    );
    return paginate(request, "volumes", found.map(volumeView));
  });

  api.post("/v2/volumes", async (request, reply) => {
    const body = new Fields(request.body);
    const volume = await store.change((draft) => addVolume(draft, body));
    try {
      await hypervisor.createVolume(volumeSpec(volume));
    } catch (error) {
      await removeVolume(cloud, volume.id);
      throw error;
    }
    await finishVolume(cloud, volume.id);
    void reply.code(201);
    return { volume: volumeView(recordedVolume(store.state, volume.id)) };
  });

  api.delete("/v2/volumes", (request, reply) => {
    const name = queryParameter(request, "name");
    const region = queryParameter(request, "region");
    return remove((state) => volumeByName(state, name, region), reply);
  });

  api.get<{ Params: { id: string } }>("/v2/volumes/:id", (request) => ({
    volume: volumeView(recordedVolume(store.state, request.params.id)),
  }));

  api.delete<{ Params: { id: string } }>("/v2/volumes/:id", (request, reply) =>
    remove((state) => recordedVolume(state, request.params.id), reply),
  );

  api.get<{ Params: { id: string } }>("/v2/volumes/:id/snapshots", (request) => {
    recordedVolume(store.state, request.params.id);
    return paginate(request, "snapshots", []);
  });

  volumeActionRoutes(api, cloud);
}

export function volumeByName(state: CloudState, name: string | undefined, region: string | undefined): VolumeRecord {
  const volume = state.volumes.find(
    (candidate) => candidate.name === name && candidate.region === region && candidate.phase === "available",
  );
  if (!volume) throw notFound();
  return volume;
}

/** Records that a volume's disk is there. */
export async function finishVolume({ store }: CloudCore, id: string): Promise<void> {
  await store.change((draft) => {
    const volume = draft.volumes.find((candidate) => candidate.id === id);
    if (volume) volume.phase = "available";
  });
}

/** Records that a volume's disk is gone. */
export async function removeVolume({ store }: CloudCore, id: string): Promise<void> {
  await store.change((draft) => {
    draft.volumes = draft.volumes.filter((volume) => volume.id !== id);
    unassign(draft, `do:volume:${id}`);
  });
}

function addVolume(draft: CloudState, body: Fields): VolumeRecord {
  const name = body.text("name");
  if (!/^[a-z][a-z0-9-]{0,63}$/.test(name)) {
    throw unprocessable(
      "Name must start with a letter, be lower case letters, digits and hyphens only, and have 64 characters at most.",
    );
  }
  const region = findRegion(body.text("region"));
  if (!region) throw unprocessable("You specified an invalid region for Volume creation.");
  if (!region.available) throw unprocessable("Region is not available");
  const sizeGigabytes = body.integer("size_gigabytes");
  if (sizeGigabytes < 1 || sizeGigabytes > MAX_VOLUME_GIGABYTES) {
    throw unprocessable(`size_gigabytes: is ${sizeGigabytes}, must be from 1 to ${MAX_VOLUME_GIGABYTES}.`);
  }
  if (body.optionalText("snapshot_id")) throw notSimulated("A volume from a snapshot");
  if (draft.volumes.some((volume) => volume.name === name && volume.region === region.slug)) {
    throw conflict("already exists");
  }
  const volume: VolumeRecord = {
    id: randomUUID(),
    name,
    region: region.slug,
    size_gigabytes: sizeGigabytes,
    description: body.optionalText("description") ?? "",
    ...readFilesystem(body),
    droplet_id: null,
    tags: ensureTags(draft, body.texts("tags")),
    created_at: timestamp(),
    phase: "creating",
  };
  draft.volumes.push(volume);
  assignToDefault(draft, `do:volume:${volume.id}`);
  return volume;
}

function readFilesystem(body: Fields): Pick<VolumeRecord, "filesystem_type" | "filesystem_label"> {
  const type = body.optionalText("filesystem_type") ?? "";
  const label = body.optionalText("filesystem_label") ?? "";
  if (type !== "" && type !== "ext4" && type !== "xfs") {
    throw unprocessable(`filesystem_type: is ${type}, must be ext4 or xfs.`);
  }
  const longest = type === "" ? 0 : MAX_LABEL[type];
  if (label.length > longest) {
    throw unprocessable(`filesystem_label: has ${label.length} characters, must have ${longest} at most.`);
  }
  return { filesystem_type: type, filesystem_label: label };
}
