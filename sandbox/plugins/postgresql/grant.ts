import { resource } from "../framework/definition.ts";
import { applyGrant, grantId, grantInputs, readGrant, revokeGrant } from "./grant-sql.ts";
import type { Server } from "./server.ts";

export const grant = resource<Server>()({
  inputs: grantInputs,
  outputs: {},
  deleteBeforeReplace: true,

  create: async ({ client }, properties) => {
    await applyGrant(client, properties);
    return { id: grantId(properties), outputs: {} };
  },

  read: async ({ client }, { state, inputs }) => {
    const privileges = await readGrant(client, { ...inputs, ...state });
    return privileges && { privileges };
  },

  update: async ({ client }, _existing, properties) => {
    await applyGrant(client, properties);
    return {};
  },

  delete: ({ client }, { state, inputs }) => revokeGrant(client, { ...inputs, ...state }),
});
