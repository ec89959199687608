import { resource } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import { applyGrant, grantId, grantInputs, readGrant, revokeGrant } from "./grant-sql.ts";
import type { Server } from "./server.ts";

export const grant = resource<Server>()({
  inputs: grantInputs,
  outputs: {},
  deleteBeforeReplace: true,

  create: async ({ client, signal }, properties) => {
    await applyGrant(client, signal, properties).catch(failed("could not execute grant"));
    return { id: grantId(properties), outputs: {} };
  },

  read: async ({ client, signal }, { state, inputs }) => {
    const privileges = await readGrant(client, signal, { ...inputs, ...state });
    return privileges && { privileges };
  },

  update: async ({ client, signal }, _existing, properties) => {
    await applyGrant(client, signal, properties).catch(failed("could not execute grant"));
    return {};
  },

  delete: ({ client, signal }, { state, inputs }) =>
    revokeGrant(client, signal, { ...inputs, ...state }).catch(failed("could not execute revoke")),
});
