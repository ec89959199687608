import { resource } from "../framework/definition.ts";
import { failed } from "../framework/errors.ts";
import { ApiError } from "./api.ts";
import { type Client, orGone } from "./client.ts";
import { assign, listResources, path, reassign } from "./project.ts";

/** Those of the resources that are in the project. It does not see the project's other resources. */
async function read(client: Client, id: string, resources: string[]) {
  await client.api.request("GET", path(id));
  const found = await listResources(client, id);
  return { project: id, resources: resources.filter((urn) => found.includes(urn)) };
}

export const projectResources = resource<Client>()({
  inputs: {
    project: { type: "string", required: true, replaces: true },
    resources: { type: "set", items: { type: "string" }, required: true },
  },
  outputs: {},

  create: async ({ client }, { project, resources }) => {
    await assign(client, project, resources).catch(failed(`Error assigning resources to project ${project}`));
    return { id: project, outputs: await read(client, project, resources) };
  },

  read: ({ client }, { id, state }) =>
    orGone(read(client, id, state.resources ?? []).catch(failed("Error while retrieving project"))),

  update: async ({ client }, { id, state }, { resources }) => {
    await reassign(client, id, state.resources ?? [], resources, `Error assigning resources to project ${id}`);
    return read(client, id, resources);
  },

  delete: async ({ client }, { id, state }) => {
    try {
      await client.api.request("GET", path(id));
    } catch (error) {
      // A project that is gone has no resources.
      if (error instanceof ApiError && error.status === 404) return;
      failed("Error while retrieving project")(error);
    }
    await assign(client, "default", state.resources ?? []).catch(
      failed("Error assigning resources to default project"),
    );
  },
});
