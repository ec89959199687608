import { randomUUID } from "node:crypto";

import type { FastifyInstance } from "fastify";

import type { Cloud } from "../cloud.ts";
import { ApiError, badRequest, unprocessable } from "../errors.ts";
import { ensureTags, recordedSnapshot, recordedVolume } from "../lookups.ts";
import type { SnapshotRecord } from "../records.ts";
import { timestamp } from "../time.ts";
import { Fields } from "./fields.ts";
import { paginate, queryParameter } from "./pagination.ts";

interface Id {
  Params: { id: string };
}

/** Snapshots of volumes; there are none of droplets. */
export function snapshotRoutes(api: FastifyInstance, { hypervisor, store }: Cloud): void {
  api.get("/v2/snapshots", (request) => {
    const isOfDroplets = queryParameter(request, "resource_type") === "droplet";
    return paginate(request, "snapshots", isOfDroplets ? [] : store.state.snapshots.map(view));
  });

  api.get<Id>("/v2/volumes/:id/snapshots", (request) => {
    const { id } = recordedVolume(store.state, request.params.id);
    const found = store.state.snapshots.filter(({ volume_id }) => volume_id === id);
    return paginate(request, "snapshots", found.map(view));
  });

  api.post<Id>("/v2/volumes/:id/snapshots", async (request, reply) => {
    const body = new Fields(request.body);
    const name = body.text("name");
    if (name === "") throw badRequest("name is required");
    const volume = recordedVolume(store.state, request.params.id);
    refuseTooMany(store.state.snapshots.filter(({ volume_id }) => volume_id === volume.id));
    const snapshot: SnapshotRecord = {
      ...{ id: randomUUID(), name, volume_id: volume.id, region: volume.region },
      ...{ filesystem_type: volume.filesystem_type, filesystem_label: volume.filesystem_label },
      ...{ size_gigabytes: 0, min_disk_size: volume.size_gigabytes, tags: [], created_at: timestamp() },
    };
    const size = await hypervisor.snapshotVolume(volume.id, snapshot.id);
    snapshot.size_gigabytes = Math.round(size * 100) / 100;
    await store.change((draft) => {
      draft.snapshots.push({ ...snapshot, tags: ensureTags(draft, body.texts("tags")) });
    });
    void reply.code(201);
    return { snapshot: view(recordedSnapshot(store.state, snapshot.id)) };
  });

  for (const path of ["/v2/snapshots/:id", "/v2/volumes/snapshots/:id"]) {
    api.get<Id>(path, (request) => ({ snapshot: view(recordedSnapshot(store.state, request.params.id)) }));

    api.delete<Id>(path, async (request, reply) => {
      await store.change((draft) => {
        const snapshot = recordedSnapshot(draft, request.params.id);
        draft.snapshots = draft.snapshots.filter((other) => other !== snapshot);
      });
      await hypervisor.deleteSnapshot(request.params.id);
      return reply.code(204).send();
    });
  }
}

/** The limits of one volume; the first message is DigitalOcean's. */
function refuseTooMany(snapshots: SnapshotRecord[]): void {
  const since = Date.now() - 10 * 60_000;
  if (snapshots.some(({ created_at: made }) => Date.parse(made) > since)) {
    throw new ApiError(429, "failed to create snapshot: this operation is rate-limited - one request per 10m0s");
  }
  if (snapshots.length >= 25) throw unprocessable("volume has reached its limit of 25 snapshots");
}

function view(snapshot: SnapshotRecord) {
  const { id, name, volume_id, region, size_gigabytes, min_disk_size, tags, created_at } = snapshot;
  return {
    ...{ id, name, created_at, regions: [region], min_disk_size, size_gigabytes, tags },
    ...{ resource_id: volume_id, resource_type: "volume" },
  };
}
