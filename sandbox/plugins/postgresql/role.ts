import { resource } from "../framework/definition.ts";
import { initializing } from "../framework/errors.ts";
import { createRole, deleteRole, readRole, roleInputs, updateRole, type RoleProperties } from "./role-sql.ts";
import type { Server } from "./server.ts";

export const role = resource<Server>()({
  inputs: roleInputs,
  outputs: {},

  create: async ({ client }, properties) => {
    await createRole(client, properties);
    const { name, password } = properties;
    const outputs = await initializing(name, {}, () => readRole(client, name, password));
    return { id: name, outputs: outputs ?? {} };
  },

  read: ({ client }, { id, state }) => readRole(client, id, state.password),

  update: async ({ client }, { state, inputs }, properties) => {
    const old: RoleProperties = { ...inputs, ...state };
    await updateRole(client, old, properties);
    return (await readRole(client, properties.name, properties.password)) ?? {};
  },

  delete: ({ client }, { state, inputs }) => deleteRole(client, { ...inputs, ...state }),
});
