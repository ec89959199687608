import { resource, type ValuesOf } from "../framework/definition.ts";
import { failed, initializing } from "../framework/errors.ts";
import type { PropertyBag, Value } from "../framework/values.ts";
import { type Client, orGone } from "./client.ts";

/** The sources or destinations that a rule allows. */
interface Peers {
  addresses?: string[];
  droplet_ids?: number[];
  load_balancer_uids?: string[];
  kubernetes_ids?: string[];
  tags?: string[];
}

interface Rule {
  protocol: string;
  ports?: string;
}

interface Firewall {
  id: string;
  name: string;
  status: string;
  created_at: string;
  pending_changes: { droplet_id: number; removing: boolean; status: string }[];
  inbound_rules: (Rule & { sources: Peers })[];
  outbound_rules: (Rule & { destinations: Peers })[];
  droplet_ids: number[];
  tags: string[];
}

const strings = { type: "set", items: { type: "string" } } as const;
const integers = { type: "set", items: { type: "integer" } } as const;
const rule = {
  protocol: { type: "string", required: true, values: ["tcp", "udp", "icmp"] },
  portRange: { type: "string" },
  action: { type: "unsupported" },
} as const;

const inputs = {
  name: { type: "string", autoname: { maxLength: 255 } },
  dropletIds: integers,
  tags: strings,
  inboundRules: {
    type: "set",
    items: {
      type: "object",
      properties: {
        ...rule,
        sourceAddresses: strings,
        sourceDropletIds: integers,
        sourceLoadBalancerUids: strings,
        sourceKubernetesIds: strings,
        sourceTags: strings,
      },
    },
  },
  outboundRules: {
    type: "set",
    items: {
      type: "object",
      properties: {
        ...rule,
        destinationAddresses: strings,
        destinationDropletIds: integers,
        destinationLoadBalancerUids: strings,
        destinationKubernetesIds: strings,
        destinationTags: strings,
      },
    },
  },
} as const;

function body({ name, dropletIds, tags, inboundRules, outboundRules }: ValuesOf<typeof inputs>) {
  return {
    name,
    droplet_ids: dropletIds ?? [],
    tags: tags ?? [],
    inbound_rules: (inboundRules ?? []).map((inbound) => ({
      protocol: inbound.protocol,
      ports: inbound.portRange,
      sources: {
        addresses: inbound.sourceAddresses,
        droplet_ids: inbound.sourceDropletIds,
        load_balancer_uids: inbound.sourceLoadBalancerUids,
        kubernetes_ids: inbound.sourceKubernetesIds,
        tags: inbound.sourceTags,
      },
    })),
    outbound_rules: (outboundRules ?? []).map((outbound) => ({
      protocol: outbound.protocol,
      ports: outbound.portRange,
      destinations: {
        addresses: outbound.destinationAddresses,
        droplet_ids: outbound.destinationDropletIds,
        load_balancer_uids: outbound.destinationLoadBalancerUids,
        kubernetes_ids: outbound.destinationKubernetesIds,
        tags: outbound.destinationTags,
      },
    })),
  };
}

const outputs = (firewall: Firewall) => ({
  name: firewall.name,
  dropletIds: firewall.droplet_ids,
  tags: firewall.tags,
  inboundRules: firewall.inbound_rules.map(({ sources, ...inbound }) => ({
    protocol: protocol(inbound),
    portRange: portRange(inbound),
    sourceAddresses: filled(sources.addresses),
    sourceDropletIds: filled(sources.droplet_ids),
    sourceLoadBalancerUids: filled(sources.load_balancer_uids),
    sourceKubernetesIds: filled(sources.kubernetes_ids),
    sourceTags: filled(sources.tags),
  })),
  outboundRules: firewall.outbound_rules.map(({ destinations, ...outbound }) => ({
    protocol: protocol(outbound),
    portRange: portRange(outbound),
    destinationAddresses: filled(destinations.addresses),
    destinationDropletIds: filled(destinations.droplet_ids),
    destinationLoadBalancerUids: filled(destinations.load_balancer_uids),
    destinationKubernetesIds: filled(destinations.kubernetes_ids),
    destinationTags: filled(destinations.tags),
  })),
  createdAt: firewall.created_at,
  status: firewall.status,
  pendingChanges: firewall.pending_changes.map((change) => ({
    dropletId: change.droplet_id,
    removing: change.removing,
    status: change.status,
  })),
});

const protocol = (from: Rule) => from.protocol as "tcp" | "udp" | "icmp";

/** The API shows `0` for all ports, and for icmp, which has no ports. */
function portRange({ protocol, ports }: Rule): string | undefined {
  if (ports !== "0") return ports === "" ? undefined : ports;
  return protocol === "icmp" ? undefined : "all";
}

/** The API returns an absent list as an empty one. */
const filled = <T>(list: T[] | undefined): T[] | undefined => (list?.length ? list : undefined);

function checkRules(news: PropertyBag): void {
  const rules = { inbound: news["inboundRules"], outbound: news["outboundRules"] };
  if (Object.values(rules).every((list) => list === undefined || (Array.isArray(list) && list.length === 0))) {
    throw new Error("At least one rule must be specified");
  }
  for (const [direction, list] of Object.entries(rules)) {
    if (!Array.isArray(list)) continue;
    for (const value of list) {
      const { protocol, portRange } = value as { protocol?: Value; portRange?: Value };
      if (protocol === "icmp" || (portRange !== undefined && portRange !== "")) continue;
      throw new Error(`\`port_range\` of ${direction} rules is required if protocol is \`tcp\` or \`udp\``);
    }
  }
}

async function read({ api }: Client, id: string) {
  const answer = await orGone(
    api.request<{ firewall: Firewall }>("GET", `/v2/firewalls/${id}`).catch(failed("Error retrieving firewall")),
  );
  return answer && outputs(answer.firewall);
}

export const firewall = resource<Client>()({
  inputs,
  outputs: {
    createdAt: { type: "string" },
    status: { type: "string", changesOnUpdate: true },
    pendingChanges: {
      type: "list",
      items: {
        type: "object",
        properties: { dropletId: { type: "integer" }, removing: { type: "boolean" }, status: { type: "string" } },
      },
      changesOnUpdate: true,
    },
  },

  plan: checkRules,

  create: async ({ client }, properties) => {
    const { firewall: created } = await client.api
      .request<{ firewall: Firewall }>("POST", "/v2/firewalls", body(properties))
      .catch(failed("Error creating firewall"));
    const { id } = created;
    return { id, outputs: (await initializing(id, {}, () => read(client, id))) ?? {} };
  },

  read: ({ client }, { id }) => read(client, id),

  update: async ({ client }, { id }, properties) => {
    await client.api.request("PUT", `/v2/firewalls/${id}`, body(properties)).catch(failed("Error updating firewall"));
    return (await read(client, id)) ?? {};
  },

  delete: async ({ client }, { id }) => {
    await client.api.request("DELETE", `/v2/firewalls/${id}`).catch(failed("Error deleting firewall"));
  },
});
