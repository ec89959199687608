import type { FastifyInstance } from "fastify";

import type { Cloud } from "../cloud.ts";
import { badRequest, preconditionFailed, unprocessable } from "../errors.ts";
import { recordedProject } from "../lookups.ts";
import { assign, newProject, projectOf, reservedIpUrn } from "../project-resources.ts";
import type { CloudState, ProjectRecord } from "../records.ts";
import { timestamp } from "../time.ts";
import { Fields } from "./fields.ts";
import { apiUrl, paginate } from "./pagination.ts";

const ENVIRONMENTS = ["Development", "Staging", "Production"];
const MAX_NAME = 175;
/** For purpose and description. */
const MAX_TEXT = 255;

/** The purposes that the API reference lists; it stores any other as `Other: …`. */
const PURPOSES = [
  "Just trying out DigitalOcean",
  "Class project / Educational purposes",
  "Website or blog",
  "Web Application",
  "Service or API",
  "Mobile Application",
  "Machine learning / AI / Data processing",
  "IoT",
  "Operational / Developer tooling",
];
const OTHER = "Other: ";

/** A PUT must send all of these, a PATCH at least one. */
const FIELDS = ["name", "description", "purpose", "environment", "is_default"];

/** The types in the API reference's pattern for URNs, `app` from its table, and `reservedip`, which clients send. */
const URN = /^do:(app|dbaas|domain|droplet|floatingip|kubernetes|loadbalancer|reservedip|space|volume|vpc):.+$/;
/** The assignment time of a resource that belongs to no project: the zero time of the API. */
const NEVER = "0001-01-01T00:00:00Z";

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
    const body = new Fields(request.body).needing("name").needing("purpose");
    const project = await store.change((draft) => {
      const added = newProject(draft.account.uuid);
      update(draft, added, body);
      draft.projects.push(added);
      return added;
    });
    void reply.code(201);
    return { project: projectView(project) };
  });

  api.get<Id>("/v2/projects/:id", (request) => ({
    project: projectView(recordedProject(store.state, request.params.id)),
  }));

  const change = async (id: string, body: Fields) => {
    const project = await store.change((draft) => {
      const found = recordedProject(draft, id);
      update(draft, found, body);
      return found;
    });
    return { project: projectView(project) };
  };

  api.put<Id>("/v2/projects/:id", (request) => {
    const body = new Fields(request.body);
    for (const field of FIELDS) body.needing(field);
    return change(request.params.id, body);
  });

  api.patch<Id>("/v2/projects/:id", (request) =>
    change(request.params.id, new Fields(request.body).needing(...FIELDS)),
  );

  api.delete<Id>("/v2/projects/:id", async (request, reply) => {
    await store.change((draft) => {
      const project = recordedProject(draft, request.params.id);
      if (project.is_default) throw preconditionFailed("cannot delete the default project");
      if (project.resources.length > 0) throw preconditionFailed("cannot delete a project with resources");
      draft.projects = draft.projects.filter((other) => other !== project);
    });
    return reply.code(204).send();
  });

  api.get<Id>("/v2/projects/:id/resources", (request) => {
    const { resources } = recordedProject(store.state, request.params.id);
    return paginate(
      request,
      "resources",
      resources.map((resource) => resourceView(apiUrl(request), resource, "ok")),
    );
  });

  api.post<Id>("/v2/projects/:id/resources", async (request) => {
    const urns = new Fields(request.body)
      .needing("resources")
      .texts("resources")
      .map((urn) => urn.replace(/^do:reservedip:/, "do:floatingip:"));
    if (!urns.every((urn) => URN.test(urn))) {
      throw badRequest("resource objects must have an urn in the following format: do:resource_type:resource_id");
    }
    return store.change((draft) => {
      const project = recordedProject(draft, request.params.id);
      const statuses = new Map(urns.map((urn) => [urn, statusOf(draft, project, urn)]));
      for (const [urn, status] of statuses) if (status === "assigned") move(draft, project, urn);
      const missing = urns.filter((urn) => statuses.get(urn) === "not_found");
      const resources = [...project.resources, ...missing.map((urn) => ({ urn, assigned_at: NEVER }))];
      const url = apiUrl(request);
      // The API reference: all resources of the project, "including the ones added in the request".
      return {
        resources: resources.map((resource) => resourceView(url, resource, statuses.get(resource.urn) ?? "ok")),
      };
    });
  });
}

/** The effect of an assignment, as one of the API reference's "Resource Status Codes". */
function statusOf(state: CloudState, project: ProjectRecord, urn: string) {
  const owner = projectOf(state, urn);
  if (!owner) return "not_found";
  return owner === project ? "already_assigned" : "assigned";
}

/** Assigns a resource to a project. A droplet takes its reserved address along, which cannot move without it. */
function move(draft: CloudState, project: ProjectRecord, urn: string): void {
  const assigned = draft.reserved_ips.filter(({ droplet_id }) => droplet_id !== null);
  if (assigned.some(({ ip }) => reservedIpUrn(ip) === urn)) {
    throw preconditionFailed("Cannot move a Reserved IP with an associated Droplet. Move the Droplet instead");
  }
  assign(draft, project, urn);
  for (const { ip, droplet_id } of assigned) {
    if (urn === `do:droplet:${droplet_id}`) assign(draft, project, reservedIpUrn(ip));
  }
}

function resourceView(url: string, resource: ProjectRecord["resources"][number], status: string) {
  const [, kind = "", id = ""] = resource.urn.split(":");
  const collection = kind === "dbaas" ? "databases" : `${kind}s`;
  return { ...resource, links: { self: `${url}/v2/${collection}/${id}` }, status };
}

/** Changes a project as a request says; fields that it does not have stay as they are. */
function update(draft: CloudState, project: ProjectRecord, body: Fields): void {
  const name = body.optionalText("name") ?? project.name;
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
  project.environment = proper ?? "";
  project.description = shortText(body, "description") ?? project.description;
  const purpose = shortText(body, "purpose");
  if (purpose !== undefined) project.purpose = storedPurpose(purpose);
  project.updated_at = timestamp();
  if (body.optionalFlag("is_default")) {
    for (const other of draft.projects) other.is_default = false;
    project.is_default = true;
  }
}

function shortText(body: Fields, name: "description" | "purpose"): string | undefined {
  const text = body.optionalText(name);
  if (text !== undefined && text.length > MAX_TEXT)
    throw unprocessable(`${name} must have ${MAX_TEXT} characters at most`);
  return text;
}

function storedPurpose(purpose: string): string {
  // A client may send back a stored purpose.
  return purpose === "" || PURPOSES.includes(purpose) || purpose.startsWith(OTHER) ? purpose : OTHER + purpose;
}
