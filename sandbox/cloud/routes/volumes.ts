import type { FastifyInstance, FastifyReply } from "fastify";

import { volumeIsBusy } from "../actions.ts";
import { finishVolume, removeVolume } from "../changes.ts";
import type { Cloud } from "../cloud.ts";
import { conflict } from "../errors.ts";
import { recordedVolume, volumeByName } from "../lookups.ts";
import type { CloudState, VolumeRecord } from "../records.ts";
import { regionOf } from "../regions.ts";
import { volumeSpec } from "../specs.ts";
import { Fields } from "./fields.ts";
import { paginate, queryParameter } from "./pagination.ts";
import { addVolume } from "./volume-requests.ts";

export function volumeRoutes(api: FastifyInstance, { hypervisor, store }: Cloud): void {
  const finish = (id: string) =>
    store.change((draft) => {
      finishVolume(draft, id);
    });
  const forget = (id: string) =>
    store.change((draft) => {
      removeVolume(draft, id);
    });

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
      await finish(id);
      throw error;
    }
    await forget(id);
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
      await forget(volume.id);
      throw error;
    }
    await finish(volume.id);
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
