import { randomUUID } from "node:crypto";

import { recordedProject } from "./lookups.ts";
import type { CloudState, ProjectRecord } from "./records.ts";
import { timestamp } from "./time.ts";

/** The number of the account's owner. */
export const OWNER_ID = 258992;

/** A project without resources. */
export function newProject(ownerUuid: string): ProjectRecord {
  const now = timestamp();
  return {
    id: randomUUID(),
    owner_uuid: ownerUuid,
    owner_id: OWNER_ID,
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

/** The project that every new account has; new resources belong to it until they are assigned to another. */
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

/** A reserved address's URN; projects show it by its former name only. */
export function reservedIpUrn(ip: string): string {
  return `do:floatingip:${ip}`;
}

export function databaseUrn(id: string): string {
  return `do:dbaas:${id}`;
}

/** The project that a resource belongs to. */
export function projectOf(state: CloudState, urn: string): ProjectRecord | undefined {
  return state.projects.find(({ resources }) => resources.some((resource) => resource.urn === urn));
}

/** Assigns a reserved address to its droplet's project. */
export function joinProjectOf(draft: CloudState, dropletId: number, ip: string): void {
  const project = projectOf(draft, `do:droplet:${dropletId}`);
  if (project) assign(draft, project, reservedIpUrn(ip));
}

export function assignToDefault(draft: CloudState, urn: string): void {
  assign(draft, recordedProject(draft, "default"), urn);
}

/** Assigns a resource to a project; a resource belongs to one project only. */
export function assign(draft: CloudState, project: ProjectRecord, urn: string): void {
  unassign(draft, urn);
  project.resources.push({ urn, assigned_at: timestamp() });
}

/** Removes a resource from its project. */
export function unassign(draft: CloudState, urn: string): void {
  for (const project of draft.projects) {
    project.resources = project.resources.filter((resource) => resource.urn !== urn);
  }
}
