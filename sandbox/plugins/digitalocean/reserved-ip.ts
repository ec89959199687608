import { resource } from "../framework/definition.ts";
import { failed, initializing } from "../framework/errors.ts";
import { ApiError } from "./api.ts";
import { type Client, ignoringCase, orGone } from "./client.ts";
import { assignIp, getReservedIp, type ReservedIp, unassignIp } from "./reserved-ip-actions.ts";
import { ipv4 } from "./validation.ts";

/** @param showsDroplet whether the state has a droplet; without one, an assignment by another resource is not shown */
async function read(client: Client, ip: string, showsDroplet: boolean) {
  const found = await getReservedIp(client, ip);
  const droplet = showsDroplet ? found.droplet : null;
  return {
    ipAddress: found.ip,
    reservedIpUrn: `do:reservedip:${found.ip}`,
    region: (droplet ?? found).region.slug,
    // If it was unassigned from outside, the state keeps its droplet.
    ...(droplet && { dropletId: droplet.id }),
  };
}

export const reservedIp = resource<Client>()({
  inputs: {
    region: { type: "string", required: true, replaces: true, same: ignoringCase, rewritten: true },
    ipAddress: { type: "string", computed: true },
    dropletId: { type: "integer" },
  },
  outputs: { reservedIpUrn: { type: "string" } },

  check: ipv4("ipAddress"),

  create: async (context, { region, dropletId }) => {
    const { client } = context;
    const { reserved_ip: created } = await client.api
      .request<{ reserved_ip: ReservedIp }>("POST", "/v2/reserved_ips", { region })
      .catch(failed("Error creating reserved IP"));
    const id = created.ip;
    return {
      id,
      outputs: await initializing(id, {}, async () => {
        if (dropletId) await assignIp(context, id, dropletId, `Error Assigning reserved IP (${id}) to the Droplet`);
        return read(client, id, Boolean(dropletId));
      }),
    };
  },

  // An import has no state yet, and shows the droplet.
  read: ({ client }, { id, state }) =>
    orGone(read(client, id, Boolean(state.dropletId) || state.ipAddress === undefined)),

  update: async (context, { id }, { dropletId }, changed) => {
    if (changed.has("dropletId")) {
      if (dropletId) await assignIp(context, id, dropletId, `Error assigning reserved IP (${id}) to the Droplet`);
      else await unassignIp(context, id, `Error unassigning reserved IP (${id})`);
    }
    return read(context.client, id, Boolean(dropletId));
  },

  delete: async (context, { id, state }) => {
    if (state.dropletId) {
      await unassignIp(context, id, `Error unassigning reserved IP (${id}) from the droplet`).catch(
        (error: unknown) => {
          // It is unassigned already, for example because the droplet was deleted.
          const refused = error instanceof Error && error.cause instanceof ApiError && error.cause.status === 422;
          if (!refused) throw error;
        },
      );
    }
    await context.client.api.request("DELETE", `/v2/reserved_ips/${id}`).catch(failed("Error deleting reserved IP"));
  },
});
