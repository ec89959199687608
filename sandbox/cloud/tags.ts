import type { FastifyInstance } from "fastify";

import type { Cloud } from "./cloud.ts";
import { recordedDroplet } from "./droplets.ts";
import { notFound, notSimulated, unprocessable } from "./errors.ts";
import { Fields } from "./fields.ts";
import { apiUrl, paginate } from "./pagination.ts";
import type { CloudState } from "./state.ts";
import { recordedVolume } from "./volumes.ts";

/** Kinds that carry tags in the real API and do not exist here. */
const NOT_SIMULATED = ["image", "volume_snapshot", "database", "load_balancer"];

/**
 * The account's own spelling of the tags named, each once; tags that are new are made, as the API does where a request
 * names one to put it on a droplet or a volume. Tags are the same whatever the case of their letters.
 */
export function ensureTags(draft: CloudState, names: string[]): string[] {
  const tags = names.map((name) => {
    const existing = findTag(draft, name);
    if (existing !== undefined) return existing;
    if (!/^[a-zA-Z0-9:_-]{1,255}$/.test(name)) {
      throw unprocessable(`tag ${name}: must be 1 to 255 letters, digits, colons, dashes and underscores.`);
    }
    draft.tags.push(name);
    return name;
  });
  return [...new Set(tags)];
}

/** The account's own spelling of the tags that a firewall names, each once: "must exist in order to be referenced". */
export function existingTags(state: CloudState, names: string[]): string[] {
  const tags = names.map((name) => {
    const tag = findTag(state, name);
    if (tag === undefined) throw unprocessable(`tag ${name} not found`);
    return tag;
  });
  return [...new Set(tags)];
}

function findTag(state: CloudState, name: string): string | undefined {
  return state.tags.find((tag) => tag.toLowerCase() === name.toLowerCase());
}

export function recordedTag(state: CloudState, name: string): string {
  const tag = findTag(state, name);
  if (tag === undefined) throw notFound();
  return tag;
}

function tagView(state: CloudState, url: string, tag: string) {
  const summary = (kind: string, ids: (string | number)[]) => {
    const last = ids.at(-1);
    return { count: ids.length, ...(last !== undefined && { last_tagged_uri: `${url}/v2/${kind}/${last}` }) };
  };
  const tagged = (resources: { id: string | number; tags: string[] }[]) =>
    resources.filter((resource) => resource.tags.includes(tag)).map((resource) => resource.id);
  const droplets = summary("droplets", tagged(state.droplets));
  const volumes = summary("volumes", tagged(state.volumes));
  const none = { count: 0 };
  return {
    name: tag,
    resources: {
      ...volumes,
      ...droplets,
      count: droplets.count + volumes.count,
      droplets,
      images: none,
      volumes,
      volume_snapshots: none,
      databases: none,
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
      const tag = recordedTag(draft, request.params.name);
      draft.tags = draft.tags.filter((other) => other !== tag);
      for (const tagged of [...draft.droplets, ...draft.volumes, ...draft.firewalls]) {
        tagged.tags = tagged.tags.filter((other) => other !== tag);
      }
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
      if (type === "droplet") return recordedDroplet(draft, Number(id));
      if (type === "volume") return recordedVolume(draft, id);
      if (NOT_SIMULATED.includes(type)) throw notSimulated(`Tagging a resource of type ${type}`);
      throw unprocessable(`resource_type: is ${type}, must be droplet or volume.`);
    });
}
