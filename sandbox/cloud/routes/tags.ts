import type { FastifyInstance } from "fastify";

import { removeTag } from "../changes.ts";
import type { Cloud } from "../cloud.ts";
import { notSimulated, unprocessable } from "../errors.ts";
import {
  ensureTags,
  recordedDatabase,
  recordedDroplet,
  recordedSnapshot,
  recordedTag,
  recordedVolume,
  visibleDatabases,
} from "../lookups.ts";
import type { CloudState } from "../records.ts";
import { Fields } from "./fields.ts";
import { apiUrl, paginate } from "./pagination.ts";

/** Kinds of resources that have tags in the real API, but are not simulated. */
const NOT_SIMULATED = ["image", "load_balancer"];

function tagView(state: CloudState, url: string, tag: string) {
  const summary = (kind: string, ids: (string | number)[]) => {
    const last = ids.at(-1);
    return { count: ids.length, ...(last !== undefined && { last_tagged_uri: `${url}/v2/${kind}/${last}` }) };
  };
  const tagged = (resources: { id: string | number; tags: string[] }[]) =>
    resources.filter((resource) => resource.tags.includes(tag)).map((resource) => resource.id);
  const droplets = summary("droplets", tagged(state.droplets));
  const volumes = summary("volumes", tagged(state.volumes));
  const snapshots = summary("snapshots", tagged(state.snapshots));
  const databases = summary("databases", tagged(visibleDatabases(state)));
  const none = { count: 0 };
  return {
    name: tag,
    resources: {
      ...volumes,
      ...droplets,
      count: droplets.count + volumes.count + snapshots.count + databases.count,
      droplets,
      images: none,
      volumes,
      volume_snapshots: snapshots,
      databases,
    },
  };
}

interface Name {
  Params: { name: string };
}

export function tagRoutes(api: FastifyInstance, { store }: Cloud): void {
  api.get("/v2/tags", (request) => {
    const page = paginate(request, "tags", store.state.tags);
    return { ...page, tags: page.tags.map((tag) => tagView(store.state, apiUrl(request), tag)) };
  });

  api.post("/v2/tags", async (request, reply) => {
    const name = new Fields(request.body).text("name");
    const [tag = name] = await store.change((draft) => ensureTags(draft, [name]));
    void reply.code(201);
    return { tag: tagView(store.state, apiUrl(request), tag) };
  });

  api.get<Name>("/v2/tags/:name", (request) => ({
    tag: tagView(store.state, apiUrl(request), recordedTag(store.state, request.params.name)),
  }));

  api.delete<Name>("/v2/tags/:name", async (request, reply) => {
    await store.change((draft) => {
      removeTag(draft, recordedTag(draft, request.params.name));
    });
    return reply.code(204).send();
  });

  api.post<Name>("/v2/tags/:name/resources", async (request, reply) => {
    await store.change((draft) => {
      const tag = recordedTag(draft, request.params.name);
      for (const resource of namedResources(draft, new Fields(request.body))) {
        resource.tags = [...new Set([...resource.tags, tag])];
      }
    });
    return reply.code(204).send();
  });

  api.delete<Name>("/v2/tags/:name/resources", async (request, reply) => {
    await store.change((draft) => {
      const tag = recordedTag(draft, request.params.name);
      for (const resource of namedResources(draft, new Fields(request.body))) {
        resource.tags = resource.tags.filter((other) => other !== tag);
      }
    });
    return reply.code(204).send();
  });
}

function namedResources(draft: CloudState, body: Fields): { tags: string[] }[] {
  return body
    .needing("resources")
    .objects("resources")
    .map((resource) => {
      const id = resource.identifier("resource_id");
      const type = resource.text("resource_type");
      if (type === "droplet") return recordedDroplet(draft, id);
      if (type === "volume") return recordedVolume(draft, id);
      if (type === "volume_snapshot") return recordedSnapshot(draft, id);
      if (type === "database") return recordedDatabase(draft, id);
      if (NOT_SIMULATED.includes(type)) throw notSimulated(`Tagging a resource of type ${type}`);
      throw unprocessable(`resource_type: is ${type}, must be droplet, volume, volume_snapshot or database.`);
    });
}
