import type { Deployment } from "./deployment.ts";
import { text, type Args, type FunctionDefinition } from "./function-definition.ts";
import { ENTRIES, type Json, type StoredDocument } from "./persistence.ts";

/** The real backend's queries for the CLI, as far as the CLI needs them here. */
export const SYSTEM_QUERIES: Record<string, FunctionDefinition> = {
  "_system/cli/queryEnvironmentVariables:default": query(async (deployment) =>
    (await deployment.environmentDocuments()).map(withSystemFields),
  ),
  "_system/cli/queryEnvironmentVariables:get": query(async (deployment, args) => {
    const name = text(args, "name");
    const value = (await deployment.environmentVariables())[name];
    return value === undefined ? null : { name, value };
  }),
  "_system/cli/convexUrl:cloudUrl": query(async (deployment) => (await deployment.canonicalUrls()).convexCloudUrl),
  "_system/cli/tables:default": query((_deployment, args) => Promise.resolve(page([{ name: ENTRIES }], args))),
  "_system/cli/tableData:default": query(async ({ persistence }, args) => {
    const documents = text(args, "table") === ENTRIES ? (await persistence.list(ENTRIES)).map(withSystemFields) : [];
    return page(args["order"] === "desc" ? documents.reverse() : documents, args);
  }),
};

function query(run: (deployment: Deployment, args: Args) => Promise<Json>): FunctionDefinition {
  return { type: "query", visibility: "internal", run };
}

function withSystemFields({ id, createdAt, value }: StoredDocument): { [field: string]: Json } {
  return { _id: id, _creationTime: createdAt, ...(value as { [field: string]: Json }) };
}

/** The page of a list that `paginationOpts` selects. A cursor is the number of items before the page. */
function page(items: Json[], args: Args): Json {
  const { cursor = null, numItems } = (args["paginationOpts"] ?? {}) as { cursor?: string | null; numItems?: number };
  const start = Number(cursor ?? 0);
  const end = Math.min(start + (numItems ?? items.length), items.length);
  return { page: items.slice(start, end), isDone: end === items.length, continueCursor: String(end) };
}
