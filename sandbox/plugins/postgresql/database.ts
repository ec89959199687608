import { resource } from "../framework/definition.ts";
import { initializing } from "../framework/errors.ts";
import {
  createDatabase,
  databaseInputs,
  dropDatabase,
  readDatabase,
  updateDatabase,
  type DatabaseProperties,
} from "./database-sql.ts";
import type { Server } from "./server.ts";

/** The defaults of a new database; the server does not show a database's template. */
const DEFAULT_TEMPLATE = "template0";

export const database = resource<Server>()({
  inputs: databaseInputs,
  outputs: {},

  create: async ({ client }, properties) => {
    const template = properties.template ?? DEFAULT_TEMPLATE;
    await createDatabase(client, { ...properties, template });
    const { name } = properties;
    const created = await initializing(name, { template }, () => readDatabase(client, name));
    return { id: name, outputs: { ...created, template } };
  },

  read: ({ client }, { id }) => readDatabase(client, id),

  update: async ({ client }, { state, inputs }, properties) => {
    const old: DatabaseProperties = { ...inputs, ...state };
    await updateDatabase(client, old, properties);
    const { template = DEFAULT_TEMPLATE } = state;
    return { ...(await readDatabase(client, properties.name)), template };
  },

  delete: ({ client }, { state, inputs }) => dropDatabase(client, { ...inputs, ...state }),
});
