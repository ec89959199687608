import { resource } from "../framework/definition.ts";
import { failed, initializing } from "../framework/errors.ts";
import {
  createDatabase,
  databaseInputs,
  dropDatabase,
  readDatabase,
  updateDatabase,
  type DatabaseProperties,
} from "./database-sql.ts";
import type { Server } from "./server.ts";

/** What a database has that was made without saying so; the server does not tell a database's template. */
const DEFAULT_TEMPLATE = "template0";

export const database = resource<Server>()({
  inputs: databaseInputs,
  outputs: {},

  create: async ({ client, signal }, properties) => {
    const template = properties.template ?? DEFAULT_TEMPLATE;
    await createDatabase(client, signal, { ...properties, template }).catch(
      failed(`Error creating database "${properties.name}"`),
    );
    const { name } = properties;
    const created = await initializing(name, { template }, () => readDatabase(client, signal, name));
    return { id: name, outputs: { ...created, template } };
  },

  read: ({ client, signal }, { id }) => readDatabase(client, signal, id),

  update: async ({ client, signal }, { state, inputs }, properties) => {
    const old: DatabaseProperties = { ...inputs, ...state };
    await updateDatabase(client, signal, old, properties).catch(failed(`Error updating database "${old.name}"`));
    const { template = DEFAULT_TEMPLATE } = state;
    return { ...(await readDatabase(client, signal, properties.name)), template };
  },

  delete: ({ client, signal }, { state, inputs }) =>
    dropDatabase(client, signal, { ...inputs, ...state }).catch(failed("Error dropping database")),
});
