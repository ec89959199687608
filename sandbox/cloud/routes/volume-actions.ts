import type { FastifyInstance } from "fastify";

import { actionList, actionView, beginAction, findAction } from "../actions.ts";
import type { Cloud } from "../cloud.ts";
import { MAX_VOLUMES_PER_DROPLET } from "../../droplet/hypervisor.ts";
import { unprocessable } from "../errors.ts";
import { ensureTags, recordedVolume, volumeByName, volumesOf } from "../lookups.ts";
import type { CloudState, VolumeRecord, Work } from "../records.ts";
import { Fields } from "./fields.ts";
import { paginate } from "./pagination.ts";
import { MAX_VOLUME_GIGABYTES } from "./volume-requests.ts";

interface Id {
  Params: { id: string };
}

export function volumeActionRoutes(api: FastifyInstance, cloud: Cloud): void {
  const { store } = cloud;

  const begin = async (find: (state: CloudState) => VolumeRecord, body: Fields) => {
    const action = await store.change((draft) => {
      const volume = find(draft);
      const work = readVolumeWork(draft, volume, body);
      // Only an attachment may name tags; they are for the volume.
      if (work.kind === "attach_volume")
        volume.tags = [...new Set([...volume.tags, ...ensureTags(draft, body.texts("tags"))])];
      return beginAction(draft, volume.region, work);
    });
    cloud.actions.start(action);
    return { action: actionView(action) };
  };

  api.post<Id>("/v2/volumes/:id/actions", (request, reply) => {
    void reply.code(202);
    return begin((state) => recordedVolume(state, request.params.id), new Fields(request.body));
  });

  api.post("/v2/volumes/actions", (request, reply) => {
    const body = new Fields(request.body);
    // The API reference allows to resize a volume by its id only.
    if (body.text("type") === "resize") throw unprocessable("Unsupported action type");
    void reply.code(202);
    return begin((state) => volumeByName(state, body.text("volume_name"), body.text("region")), body);
  });

  api.get<Id>("/v2/volumes/:id/actions", (request) => {
    const { id } = recordedVolume(store.state, request.params.id);
    return paginate(
      request,
      "actions",
      actionList(store.state, (work) => "volume_id" in work && work.volume_id === id),
    );
  });

  api.get<{ Params: { id: string; action: string } }>("/v2/volumes/:id/actions/:action", (request) => {
    const { id } = recordedVolume(store.state, request.params.id);
    return findAction(store.state, request.params.action, (work) => "volume_id" in work && work.volume_id === id);
  });
}

/** Reads the requested action, and checks that it is possible for the volume. */
function readVolumeWork(state: CloudState, volume: VolumeRecord, body: Fields): Work {
  const region = body.optionalText("region") ?? volume.region;
  if (region !== volume.region) throw unprocessable(`The volume is in ${volume.region}, not in ${region}.`);
  const kind = body.text("type");
  switch (kind) {
    case "attach":
      return readAttach(state, volume, body.integer("droplet_id"));
    case "detach": {
      const dropletId = body.integer("droplet_id");
      if (volume.droplet_id !== dropletId) throw unprocessable("Attachment not found");
      return { kind: "detach_volume", volume_id: volume.id, droplet_id: dropletId };
    }
    case "resize": {
      const size = body.integer("size_gigabytes");
      if (size <= volume.size_gigabytes) {
        throw unprocessable(`size_gigabytes: is ${size}, must be greater than the current ${volume.size_gigabytes}.`);
      }
      if (size > MAX_VOLUME_GIGABYTES) {
        throw unprocessable(`size_gigabytes: is ${size}, must be ${MAX_VOLUME_GIGABYTES} at most.`);
      }
      return { kind: "resize_volume", volume_id: volume.id, droplet_id: volume.droplet_id, size_gigabytes: size };
    }
    default:
      throw unprocessable("Unsupported action type");
  }
}

function readAttach(state: CloudState, volume: VolumeRecord, dropletId: number): Work {
  const droplet = state.droplets.find((candidate) => candidate.id === dropletId);
  if (!droplet) throw unprocessable("Droplet not found");
  if (volume.droplet_id !== null) throw unprocessable("This volume is already attached");
  if (droplet.region !== volume.region) throw unprocessable("Droplet and volume must be in the same region");
  if (volumesOf(state, dropletId).length >= MAX_VOLUMES_PER_DROPLET) throw unprocessable("exceed max volume count");
  return { kind: "attach_volume", volume_id: volume.id, droplet_id: dropletId };
}
