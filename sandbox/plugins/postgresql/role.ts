import { resource } from "../framework/definition.ts";
import { failed, initializing } from "../framework/errors.ts";
import { createRole, deleteRole, readRole, roleInputs, updateRole, type RoleProperties } from "./role-sql.ts";
import type { Server } from "./server.ts";

export const role = resource<Server>()({
  inputs: roleInputs,
  outputs: {},

  create: async ({ client, signal }, properties) => {
    await createRole(client, signal, properties).catch(failed(`error creating role ${properties.name}`));
    const { name, password } = properties;
    const outputs = await initializing(name, {}, () => readRole(client, signal, name, password));
    return { id: name, outputs: outputs ?? {} };
  },

  read: ({ client, signal }, { id, state }) => readRole(client, signal, id, state.password),

  update: async ({ client, signal }, { state, inputs }, properties) => {
    const old: RoleProperties = { ...inputs, ...state };
    await updateRole(client, signal, old, properties).catch(failed(`error updating role ${old.name}`));
    return (await readRole(client, signal, properties.name, properties.password)) ?? {};
  },

  delete: ({ client, signal }, { state, inputs }) => deleteRole(client, signal, { ...inputs, ...state }),
});
