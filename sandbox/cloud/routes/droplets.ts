import type { FastifyInstance } from "fastify";

import { actionList, beginAction, findAction, isOnDroplet } from "../actions.ts";
import type { Cloud } from "../cloud.ts";
import { unprocessable } from "../errors.ts";
import { recordedDroplet, recordedTag, taggedDroplets } from "../lookups.ts";
import type { CloudState, DropletRecord } from "../records.ts";
import { addDroplet } from "./droplet-requests.ts";
import { dropletView } from "./droplet-views.ts";
import { Fields } from "./fields.ts";
import { firewallView } from "./firewalls.ts";
import { apiUrl, paginate, queryParameter } from "./pagination.ts";

const MAX_DROPLETS_PER_REQUEST = 10;

interface Id {
  Params: { id: string };
}

export function dropletRoutes(api: FastifyInstance, cloud: Cloud): void {
  const { store } = cloud;

  api.get("/v2/droplets", async (request) => {
    const name = queryParameter(request, "name")?.toLowerCase();
    const tag = queryParameter(request, "tag_name");
    const found = queryParameter(request, "type") === "gpus" ? [] : taggedDroplets(store.state, tag);
    const named = found.filter((droplet) => name === undefined || droplet.name.toLowerCase() === name);
    const page = paginate(request, "droplets", named);
    return { ...page, droplets: await views(cloud, page.droplets) };
  });

  api.post("/v2/droplets", async (request, reply) => {
    const body = new Fields(request.body);
    const names = body.has("names") ? body.texts("names") : [body.text("name")];
    if (names.length === 0 || names.length > MAX_DROPLETS_PER_REQUEST) {
      throw unprocessable(`names: has ${names.length} names, must have 1 to ${MAX_DROPLETS_PER_REQUEST}.`);
    }
    const created = await store.change((draft) =>
      names.map((name) => {
        const droplet = addDroplet(draft, cloud.home.addressPrefix, name, body);
        return { droplet, action: beginAction(draft, droplet.region, { kind: "create", droplet_id: droplet.id }) };
      }),
    );
    for (const { action } of created) cloud.actions.start(action);
    const droplets = await views(
      cloud,
      created.map(({ droplet }) => droplet),
    );
    const actions = created.map(({ action: { id } }) => ({
      id,
      rel: "create",
      href: `${apiUrl(request)}/v2/actions/${id}`,
    }));
    void reply.code(202);
    return { ...(body.has("names") ? { droplets } : { droplet: droplets[0] }), links: { actions } };
  });

  api.delete("/v2/droplets", async (request, reply) => {
    const tag = queryParameter(request, "tag_name");
    if (tag === undefined) throw unprocessable("tag_name: is absent, must name the droplets to delete.");
    const actions = await store.change((draft) =>
      taggedDroplets(draft, recordedTag(draft, tag)).map((droplet) => beginDestroy(draft, droplet)),
    );
    for (const action of actions) cloud.actions.start(action);
    return reply.code(204).send();
  });

  api.get<Id>("/v2/droplets/:id", async (request) => ({
    droplet: await dropletView(cloud, recordedDroplet(store.state, request.params.id)),
  }));

  api.delete<Id>("/v2/droplets/:id", async (request, reply) => {
    cloud.actions.start(await store.change((draft) => beginDestroy(draft, recordedDroplet(draft, request.params.id))));
    return reply.code(204).send();
  });

  api.get<Id>("/v2/droplets/:id/actions", (request) => {
    const { id } = recordedDroplet(store.state, request.params.id);
    return paginate(
      request,
      "actions",
      actionList(store.state, (work) => isOnDroplet(work, id)),
    );
  });

  api.get<{ Params: { id: string; action: string } }>("/v2/droplets/:id/actions/:action", (request) => {
    const { id } = recordedDroplet(store.state, request.params.id);
    return findAction(store.state, request.params.action, (work) => work.droplet_id === id);
  });

  api.get<Id>("/v2/droplets/:id/firewalls", (request) => {
    const { id, tags } = recordedDroplet(store.state, request.params.id);
    const firewalls = store.state.firewalls.filter(
      (firewall) => firewall.droplet_ids.includes(id) || firewall.tags.some((tag) => tags.includes(tag)),
    );
    return paginate(request, "firewalls", firewalls.map(firewallView));
  });

  api.get<Id>("/v2/droplets/:id/backups/policy", (request) => {
    const droplet = recordedDroplet(store.state, request.params.id);
    const backups = droplet.backup_policy;
    return {
      policy: {
        droplet_id: droplet.id,
        backup_enabled: backups !== undefined,
        ...(backups && {
          backup_policy: {
            ...backups,
            window_length_hours: 4,
            retention_period_days: backups.plan === "daily" ? 7 : 28,
          },
        }),
        next_backup_window: null,
      },
    };
  });

  // A droplet has no neighbors on its hardware here, and there are no kernels, snapshots or backups.
  api.get<Id>("/v2/droplets/:id/neighbors", (request) => {
    recordedDroplet(store.state, request.params.id);
    return { droplets: [] };
  });
  for (const list of ["kernels", "snapshots", "backups"]) {
    api.get<Id>(`/v2/droplets/:id/${list}`, (request) => {
      recordedDroplet(store.state, request.params.id);
      return paginate(request, list, []);
    });
  }
}

function views(cloud: Cloud, droplets: DropletRecord[]) {
  return Promise.all(droplets.map((droplet) => dropletView(cloud, droplet)));
}

function beginDestroy(draft: CloudState, droplet: DropletRecord) {
  return beginAction(draft, droplet.region, { kind: "destroy", droplet_id: droplet.id });
}
