import { resource } from "../framework/definition.ts";
import type { Client } from "./client.ts";
import { assignIp, getReservedIp, unassignIp } from "./reserved-ip-actions.ts";
import { atLeast, checks, ipv4 } from "./validation.ts";

export const reservedIpAssignment = resource<Client>()({
  inputs: {
    ipAddress: { type: "string", required: true, replaces: true },
    dropletId: { type: "integer", required: true, replaces: true },
  },
  outputs: {},

  check: checks(ipv4("ipAddress"), atLeast(1, "dropletId")),

  create: async (context, { ipAddress, dropletId }) => {
    await assignIp(context, ipAddress, dropletId, `Error Assigning reserved IP (${ipAddress}) to the droplet`);
    return { id: uniqueId(`${dropletId}-${ipAddress}-`), outputs: {} };
  },

  // If the address is gone, this fails.
  read: async ({ client }, { state }) => {
    const { droplet } = await getReservedIp(client, state.ipAddress ?? "");
    return droplet?.id === state.dropletId ? {} : undefined;
  },

  delete: async (context, { state }) => {
    const ip = state.ipAddress ?? "";
    const { droplet } = await getReservedIp(context.client, ip);
    // The official plugin crashes here.
    if (!droplet) throw new Error("runtime error: invalid memory address or nil pointer dereference");
    if (droplet.id !== state.dropletId) return;
    await unassignIp(context, ip, `Error unassigning reserved IP (${ip}) from the droplet`);
  },
});

let made = 0;

/** A Terraform id: the time, and how many this process made before. */
function uniqueId(prefix: string): string {
  const time = new Date().toISOString().replaceAll(/\D/g, "").padEnd(18, "0");
  return `${prefix}${time}${(++made).toString(16).padStart(8, "0")}`;
}
