import { requireAdmin, requireWriteAccess, type Identity } from "./authentication.ts";
import type { Deployment } from "./deployment.ts";
import { FunctionError, text, type Args, type FunctionDefinition, type FunctionType } from "./function-definition.ts";
import { ENTRIES, type Json } from "./persistence.ts";
import { SYSTEM_QUERIES } from "./system-queries.ts";

export type FunctionResult = { status: "success"; value: Json } | { status: "error"; errorMessage: string };

/**
 * The functions of this stand-in, which does not run users' code. They write and read rows, files and environment
 * variables in the same ways as users' functions.
 */
const FUNCTIONS: Record<string, FunctionDefinition> = {
  "sandbox:put": {
    type: "mutation",
    visibility: "public",
    run: async ({ persistence }, args) => {
      const key = text(args, "key");
      await persistence.commit([{ table: ENTRIES, key, value: { key, value: args["value"] ?? null } }]);
      return key;
    },
  },
  "sandbox:remove": {
    type: "mutation",
    visibility: "public",
    run: async ({ persistence }, args) => {
      await persistence.commit([{ table: ENTRIES, key: text(args, "key"), value: null }]);
      return null;
    },
  },
  "sandbox:get": {
    type: "query",
    visibility: "public",
    run: ({ persistence }, args) => persistence.get(ENTRIES, text(args, "key")),
  },
  "sandbox:list": {
    type: "query",
    visibility: "public",
    run: async ({ persistence }) => (await persistence.list(ENTRIES)).map(({ value }) => value),
  },
  "sandbox:generateUploadUrl": {
    type: "mutation",
    visibility: "public",
    run: (deployment) => deployment.uploadUrl(),
  },
  "sandbox:fileUrl": {
    type: "query",
    visibility: "public",
    run: (deployment, args) => deployment.fileUrl(text(args, "storageId")),
  },
  /** Calls the deployment at its public address, as Node actions and sign-in providers do. */
  "sandbox:callOwnOrigin": {
    type: "action",
    visibility: "public",
    run: async (deployment) => {
      const { convexCloudUrl } = await deployment.canonicalUrls();
      const response = await fetch(`${convexCloudUrl}/instance_name`, { signal: AbortSignal.timeout(10_000) });
      return await response.text();
    },
  },
  "sandbox:environmentVariable": {
    type: "query",
    visibility: "internal",
    run: async (deployment, args) => {
      const { convexCloudUrl, convexSiteUrl } = await deployment.canonicalUrls();
      const variables: Record<string, string> = {
        ...(await deployment.environmentVariables()),
        CONVEX_CLOUD_URL: convexCloudUrl,
        CONVEX_SITE_URL: convexSiteUrl,
      };
      return variables[text(args, "name")] ?? null;
    },
  },
};

/** Runs a built-in function. `expected` is the function type of the called route; if undefined, any type is accepted. */
export async function runFunction(
  deployment: Deployment,
  identity: Identity,
  path: string,
  args: Args,
  expected?: FunctionType,
): Promise<FunctionResult> {
  const system = path.startsWith("_system/");
  const definition = system ? SYSTEM_QUERIES[path] : FUNCTIONS[path];
  if (!definition) return failed(await whyNotFound(deployment, path, system));
  if (definition.visibility === "internal" && !identity && !system) return failed(notFound(path));
  if (definition.visibility === "internal") requireAdmin(identity);
  // A read-only key may not call it, although anonymous callers may.
  if (definition.type !== "query" && identity?.isReadOnly) requireWriteAccess(identity);
  if (expected && definition.type !== expected)
    return failed(`Trying to execute ${path} as ${title(expected)}, but it is defined as ${title(definition.type)}.`);
  if (!system && (await deployment.isPaused()))
    return failed(
      "Cannot run functions while this deployment is paused. " +
        "Resume the deployment in the dashboard settings to allow functions to run.",
    );
  try {
    return { status: "success", value: await definition.run(deployment, args) };
  } catch (error) {
    if (error instanceof FunctionError) return failed(`Server Error\nUncaught Error: ${error.message}`);
    if (error instanceof TypeError && error.message === "fetch failed")
      return failed(`Server Error\nUncaught TypeError: fetch failed: ${String(error.cause)}`);
    throw error;
  }
}

async function whyNotFound({ pushes }: Deployment, path: string, system: boolean): Promise<string> {
  if (system) return `${path}: not served by this stand-in of the backend.`;
  return (await pushes.hasModule(path.replace(/:.*/, "")))
    ? `'${path}' was pushed. This stand-in of the backend records what is pushed and runs its own functions only: ` +
        `${Object.keys(FUNCTIONS).join(", ")}.`
    : notFound(path);
}

function notFound(path: string): string {
  return `Could not find public function for '${path}'. Did you forget to run \`npx convex dev\` or \`npx convex deploy\`?`;
}

function failed(errorMessage: string): FunctionResult {
  return { status: "error", errorMessage };
}

function title(type: FunctionType): string {
  return type.charAt(0).toUpperCase() + type.slice(1);
}
