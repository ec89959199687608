import { resource, type ValuesOf } from "../framework/definition.ts";
import { failed, initializing, messageOf } from "../framework/errors.ts";
import { waitForState } from "../framework/state-change.ts";
import { ApiError } from "./api.ts";
import { type Client, ignoringCase, orGone } from "./client.ts";

interface Project {
  id: string;
  owner_uuid: string;
  owner_id: number;
  name: string;
  description: string;
  purpose: string;
  environment: string;
  is_default: boolean;
  created_at: string;
  updated_at: string;
}

const inputs = {
  name: { type: "string", autoname: { maxLength: 255 } },
  description: { type: "string" },
  purpose: { type: "string", default: "Web Application" },
  // The API answers with a capital letter.
  environment: { type: "string", same: ignoringCase },
  isDefault: { type: "boolean", default: false },
  resources: { type: "set", items: { type: "string" }, computed: true },
} as const;

const body = (project: ValuesOf<typeof inputs>) => ({
  name: project.name,
  description: project.description ?? "",
  purpose: project.purpose,
  environment: project.environment,
  is_default: project.isDefault,
});

export const path = (id: string): string => `/v2/projects/${id}`;

/** URNs of all resources in the project, from all pages. */
export async function listResources({ api }: Client, id: string): Promise<string[]> {
  const urns: string[] = [];
  for (let page = 1; ; page++) {
    const { resources, meta } = await api.request<{ resources: { urn: string }[]; meta: { total: number } }>(
      "GET",
      `${path(id)}/resources?page=${page}&per_page=200`,
    );
    urns.push(...resources.map(({ urn }) => urn));
    if (resources.length === 0 || urns.length >= meta.total) return urns;
  }
}

/** Assigns resources to a project, which removes them from their former one. `default` is the default project. */
export async function assign({ api }: Client, id: string, urns: string[]): Promise<void> {
  if (urns.length > 0) await api.request("POST", `${path(id)}/resources`, { resources: urns });
}

/** Assigns what is new to a project, and what is no longer wanted to the default project. */
export async function reassign(
  client: Client,
  id: string,
  old: string[],
  wanted: string[],
  doing: string,
): Promise<void> {
  const removed = old.filter((urn) => !wanted.includes(urn));
  const added = wanted.filter((urn) => !old.includes(urn));
  await assign(client, "default", removed).catch(failed("Error assigning resources to default project"));
  await assign(client, id, added).catch(failed(doing));
}

async function read(client: Client, id: string) {
  const { project } = await client.api.request<{ project: Project }>("GET", path(id));
  return {
    name: project.name,
    description: project.description,
    purpose: project.purpose.replace(/^Other: /, ""),
    environment: project.environment,
    isDefault: project.is_default,
    resources: await listResources(client, id),
    ownerUuid: project.owner_uuid,
    ownerId: project.owner_id,
    createdAt: project.created_at,
    updatedAt: project.updated_at,
  };
}

/** The time for a project to become empty; in seconds. */
const DELETE_TIMEOUT = 180;

export const project = resource<Client>()({
  inputs,
  outputs: {
    ownerUuid: { type: "string" },
    ownerId: { type: "integer" },
    createdAt: { type: "string" },
    updatedAt: { type: "string", changesOnUpdate: true },
  },

  timeouts: { delete: DELETE_TIMEOUT },
  partialUpdates: true,

  check: ({ environment }) =>
    typeof environment === "string" && !/^(development|staging|production)$/i.test(environment)
      ? [
          {
            property: "environment",
            reason: `expected environment to be one of ["development" "staging" "production"], got ${environment}`,
          },
        ]
      : [],

  create: async ({ client }, properties) => {
    const { is_default: isDefault, ...request } = body(properties);
    const { project: created } = await client.api
      .request<{ project: Project }>("POST", "/v2/projects", request)
      .catch(failed("Error creating Project"));
    const { id } = created;
    await assign(client, id, properties.resources ?? []).catch(async (error: unknown) => {
      // Without its resources, the project is of no use, so it is deleted.
      await client.api.request("DELETE", path(id)).catch(() => undefined);
      failed("Error creating Project")(error);
    });
    // A failure here leaves a project that is not in the state.
    if (isDefault) {
      await client.api
        .request("PATCH", path(id), { ...request, is_default: true })
        .catch(failed("Error setting project as default"));
    }
    return { id, outputs: await initializing(id, {}, () => read(client, id)) };
  },

  read: ({ client }, { id }) => orGone(read(client, id).catch(failed("Error reading Project"))),

  update: async ({ client }, { id, state }, properties, changed) => {
    await client.api.request("PATCH", path(id), body(properties)).catch(failed("Error updating Project"));
    if (changed.has("resources")) {
      await reassign(client, id, state.resources ?? [], properties.resources ?? [], "Error Updating project");
    }
    return read(client, id);
  },

  delete: async ({ client, signal, timeoutSeconds }, { id, state }) => {
    await assign(client, "default", state.resources ?? []).catch(failed("Error assigning resource to default project"));
    await waitForState(
      {
        pending: ["occupied"],
        target: "gone",
        delay: 0,
        minTimeout: 0.5,
        timeout: timeoutSeconds ?? DELETE_TIMEOUT,
        refresh: async () => {
          try {
            await client.api.request("DELETE", path(id));
            return "gone";
          } catch (error) {
            // Resources that were just moved may still be listed here.
            const occupied = messageOf(error).includes("cannot delete a project with resources");
            if (error instanceof ApiError && error.status === 412 && occupied) return "occupied";
            throw error;
          }
        },
      },
      client.clock,
      signal,
    ).catch(failed(`Error deleting project (${id})`));
  },
});
