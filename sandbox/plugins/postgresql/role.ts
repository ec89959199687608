import { resource } from "../framework/definition.ts";
import { createRole, deleteRole, readRole, roleInputs, updateRole, type RoleProperties } from "./role-sql.ts";
import { failed, type Server } from "./server.ts";

export const role = resource<Server>()({
  inputs: roleInputs,
  outputs: {},

  create: async ({ client, signal }, properties) => {
    await createRole(client, signal, properties).catch(failed(`error creating role ${properties.name}`));
    const created = await readRole(client, signal, properties.name, properties.password);
    return { id: properties.name, outputs: created ?? {} };
  },

  read: ({ client, signal }, { id, state }) => readRole(client, signal, id, state.password),

  update: async ({ client, signal }, { state, inputs }, properties) => {
    const old: RoleProperties = { ...inputs, ...state };
    await updateRole(client, signal, old, properties).catch(failed(`error updating role ${old.name}`));
    return (await readRole(client, signal, properties.name, properties.password)) ?? {};
  },

  delete: ({ client, signal }, { state, inputs }) => deleteRole(client, signal, { ...inputs, ...state }),
});
