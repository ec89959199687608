import { randomUUID } from "node:crypto";

import type { FastifyInstance } from "fastify";

import type { Cloud } from "../cloud.ts";
import { conflict, unprocessable } from "../errors.ts";
import { existingTags, recordedFirewall } from "../lookups.ts";
import type { CloudState, FirewallRecord } from "../records.ts";
import { timestamp } from "../time.ts";
import { Fields } from "./fields.ts";
import { readRules, withoutRules } from "./firewall-rules.ts";
import { paginate } from "./pagination.ts";

export function firewallView({ revision: _revision, ...firewall }: FirewallRecord) {
  const { droplet_ids: dropletIds, status } = firewall;
  return {
    ...firewall,
    pending_changes:
      status === "waiting" ? dropletIds.map((id) => ({ droplet_id: id, removing: false, status: "waiting" })) : [],
  };
}

interface Id {
  Params: { id: string };
}

export function firewallRoutes(api: FastifyInstance, { store }: Cloud): void {
  api.get("/v2/firewalls", (request) => paginate(request, "firewalls", store.state.firewalls.map(firewallView)));

  api.post("/v2/firewalls", async (request, reply) => {
    const body = new Fields(request.body);
    const firewall = await store.change((draft) => {
      const added: FirewallRecord = {
        id: randomUUID(),
        created_at: timestamp(),
        status: "waiting",
        revision: randomUUID(),
        ...readFirewall(draft, body),
      };
      checkFirewall(draft, added);
      draft.firewalls.push(added);
      return added;
    });
    void reply.code(202);
    return { firewall: firewallView(firewall) };
  });

  api.get<Id>("/v2/firewalls/:id", (request) => ({
    firewall: firewallView(recordedFirewall(store.state, request.params.id)),
  }));

  /** Changes one firewall, and checks the result. */
  const change = (id: string, edit: (firewall: FirewallRecord, draft: CloudState) => void) =>
    store.change((draft) => {
      const firewall = recordedFirewall(draft, id);
      edit(firewall, draft);
      checkFirewall(draft, firewall);
      firewall.status = "waiting";
      firewall.revision = randomUUID();
      return firewall;
    });

  api.put<Id>("/v2/firewalls/:id", async (request) => {
    const body = new Fields(request.body);
    const firewall = await change(request.params.id, (current, draft) => {
      Object.assign(current, readFirewall(draft, body));
    });
    return { firewall: firewallView(firewall) };
  });

  api.delete<Id>("/v2/firewalls/:id", async (request, reply) => {
    await store.change((draft) => {
      const firewall = recordedFirewall(draft, request.params.id);
      draft.firewalls = draft.firewalls.filter((other) => other !== firewall);
    });
    return reply.code(204).send();
  });

  /** A route for one part of a firewall: POST adds what the fields name, DELETE removes it. */
  const part = (
    path: string,
    fields: string[],
    edit: (firewall: FirewallRecord, draft: CloudState, body: Fields, add: boolean) => void,
  ) => {
    for (const method of ["POST", "DELETE"] as const) {
      api.route<Id>({
        method,
        url: `/v2/firewalls/:id/${path}`,
        handler: async (request, reply) => {
          const body = new Fields(request.body).needing(...fields);
          await change(request.params.id, (firewall, draft) => {
            edit(firewall, draft, body, method === "POST");
          });
          return reply.code(204).send();
        },
      });
    }
  };

  part("droplets", ["droplet_ids"], (firewall, _draft, body, add) => {
    firewall.droplet_ids = addOrRemove(firewall.droplet_ids, body.integers("droplet_ids"), add);
  });

  part("tags", ["tags"], (firewall, draft, body, add) => {
    firewall.tags = addOrRemove(firewall.tags, existingTags(draft, body.texts("tags")), add);
  });

  part("rules", ["inbound_rules", "outbound_rules"], (firewall, draft, body, add) => {
    const rules = readRules(draft, body);
    firewall.inbound_rules = add
      ? [...firewall.inbound_rules, ...rules.inbound_rules]
      : withoutRules(firewall.inbound_rules, rules.inbound_rules);
    firewall.outbound_rules = add
      ? [...firewall.outbound_rules, ...rules.outbound_rules]
      : withoutRules(firewall.outbound_rules, rules.outbound_rules);
  });
}

function addOrRemove<T>(items: T[], named: T[], add: boolean): T[] {
  return add ? [...new Set([...items, ...named])] : items.filter((item) => !named.includes(item));
}

/** The part of a firewall that its owner sets. */
function readFirewall(state: CloudState, body: Fields) {
  return {
    name: body.text("name"),
    ...readRules(state, body),
    droplet_ids: body.integers("droplet_ids"),
    tags: existingTags(state, body.texts("tags")),
  };
}

function checkFirewall(state: CloudState, firewall: FirewallRecord): void {
  if (!/^[a-zA-Z0-9][a-zA-Z0-9.-]{1,254}$/.test(firewall.name)) {
    throw unprocessable("name must be two or more letters, digits, dots and dashes, the first a letter or digit");
  }
  if (state.firewalls.some((other) => other.id !== firewall.id && other.name === firewall.name)) {
    throw conflict("duplicate name");
  }
  if (firewall.inbound_rules.length + firewall.outbound_rules.length === 0) {
    throw unprocessable("must provide at least one inbound or outbound rule");
  }
  for (const id of firewall.droplet_ids) {
    if (!state.droplets.some((droplet) => droplet.id === id)) throw unprocessable(`droplet ${id} not found`);
  }
}
