import { randomUUID } from "node:crypto";

import type { FastifyInstance } from "fastify";

import type { Cloud } from "./cloud.ts";
import { notFound, preconditionFailed, unprocessable } from "./errors.ts";
import { Fields } from "./fields.ts";
import { apiUrl, paginate } from "./pagination.ts";
import type { CloudState } from "./state.ts";
import { timestamp } from "./time.ts";

export interface ProjectRecord {
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
  resources: { urn: string; assigned_at: string }[];
}

const ENVIRONMENTS = ["Development", "Staging", "Production"];
const MAX_NAME = 175;

/** The project every account is born with; resources go there until they are assigned to another. */
export function newDefaultProject(ownerUuid: string): ProjectRecord {
  return {
    ...newProject(ownerUuid),
    name: "first-project",
    description: "Update your project information under Settings",
    purpose: "Just trying out DigitalOcean",
    environment: "Development",
    is_default: true,
  };
}

export function assignToDefault(draft: CloudState, urn: string): void {
  assign(draft, findProject(draft, "default"), urn);
}

/** Forgets a resource that is deleted. */
export function unassign(draft: CloudState, urn: string): void {
  for (const project of draft.projects) {
    project.resources = project.resources.filter((resource) => resource.urn !== urn);
  }
}

function assign(draft: CloudState, project: ProjectRecord, urn: string): void {
  unassign(draft, urn);
  project.resources.push({ urn, assigned_at: timestamp() });
}

function findProject(state: CloudState, id: string): ProjectRecord {
  const project = state.projects.find((candidate) => (id === "default" ? candidate.is_default : candidate.id === id));
  if (!project) throw notFound();
  return project;
}

function projectView({ resources: _resources, ...project }: ProjectRecord) {
  return project;
}

interface Id {
  Params: { id: string };
}

/** `default` stands for the default project's id in every path. */
export function projectRoutes(api: FastifyInstance, { store }: Cloud): void {
  api.get("/v2/projects", (request) => paginate(request, "projects", store.state.projects.map(projectView)));

  api.post("/v2/projects", async (request, reply) => {
    const body = new Fields(request.body);
    const project = await store.change((draft) => {
      const added = newProject(draft.account.uuid);
      update(draft, added, body, body.text("name"), body.text("purpose"));
      draft.projects.push(added);
      return added;
    });
    void reply.code(201);
    return { project: projectView(project) };
  });

  api.get<Id>("/v2/projects/:id", (request) => ({
    project: projectView(findProject(store.state, request.params.id)),
  }));

  // A PUT gives every field; a PATCH, or a field left out, keeps what is there.
  for (const method of ["PUT", "PATCH"] as const) {
    api.route<Id>({
      method,
      url: "/v2/projects/:id",
      handler: async (request) => {
        const body = new Fields(request.body);
        const project = await store.change((draft) => {
          const found = findProject(draft, request.params.id);
          const name = body.optionalText("name") ?? found.name;
          update(draft, found, body, name, body.optionalText("purpose") ?? found.purpose);
          return found;
        });
        return { project: projectView(project) };
      },
    });
  }

  api.delete<Id>("/v2/projects/:id", async (request, reply) => {
    await store.change((draft) => {
      const project = findProject(draft, request.params.id);
      if (project.is_default) throw preconditionFailed("cannot delete the default project");
      if (project.resources.length > 0) throw preconditionFailed("cannot delete a project with resources");
      draft.projects = draft.projects.filter((other) => other !== project);
    });
    return reply.code(204).send();
  });

  api.get<Id>("/v2/projects/:id/resources", (request) => {
    const { resources } = findProject(store.state, request.params.id);
    return paginate(
      request,
      "resources",
      resources.map((resource) => resourceView(apiUrl(request), resource, "ok")),
    );
  });

  api.post<Id>("/v2/projects/:id/resources", async (request) => {
    const urns = new Fields(request.body).texts("resources");
    return store.change((draft) => {
      const project = findProject(draft, request.params.id);
      const resources = urns.map((urn) => {
        const known = draft.projects.some((owner) => owner.resources.some((resource) => resource.urn === urn));
        const already = project.resources.find((resource) => resource.urn === urn);
        if (already) return resourceView(apiUrl(request), already, "already_assigned");
        if (!known) return resourceView(apiUrl(request), { urn, assigned_at: "" }, "not_found");
        assign(draft, project, urn);
        return resourceView(apiUrl(request), { urn, assigned_at: timestamp() }, "assigned");
      });
      return { resources };
    });
  });
}

function resourceView(url: string, resource: ProjectRecord["resources"][number], status: string) {
  const [, kind = "", id = ""] = resource.urn.split(":");
  return { ...resource, links: { self: `${url}/v2/${kind}s/${id}` }, status };
}

function newProject(ownerUuid: string): ProjectRecord {
  const now = timestamp();
  return {
    id: randomUUID(),
    owner_uuid: ownerUuid,
    owner_id: 258992,
    name: "",
    description: "",
    purpose: "",
    environment: "",
    is_default: false,
    created_at: now,
    updated_at: now,
    resources: [],
  };
}

function update(draft: CloudState, project: ProjectRecord, body: Fields, name: string, purpose: string): void {
  if (name === "" || name.length > MAX_NAME) throw unprocessable(`name must have 1 to ${MAX_NAME} characters`);
  if (draft.projects.some((other) => other.id !== project.id && other.name === name)) {
    throw unprocessable("name is already in use by another project");
  }
  const environment = body.optionalText("environment") ?? project.environment;
  const proper = ENVIRONMENTS.find((known) => known.toLowerCase() === environment.toLowerCase());
  if (environment !== "" && proper === undefined) {
    throw unprocessable(`environment must be one of ${ENVIRONMENTS.join(", ")}`);
  }
  project.name = name;
  project.purpose = purpose;
  project.description = body.optionalText("description") ?? project.description;
  project.environment = proper ?? "";
  project.updated_at = timestamp();
  if (body.optionalFlag("is_default")) {
    for (const other of draft.projects) other.is_default = false;
    project.is_default = true;
  }
}
