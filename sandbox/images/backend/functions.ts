import { requireAdmin, type Identity } from "./authentication.ts";
import type { Deployment } from "./deployment.ts";
import type { Json } from "./persistence.ts";

export type FunctionType = "query" | "mutation" | "action";

export type FunctionResult = { status: "success"; value: Json } | { status: "error"; errorMessage: string };

type Args = Record<string, Json>;

interface FunctionDefinition {
  type: FunctionType;
  /** Internal functions run for an admin key only. */
  visibility: "public" | "internal";
  run: (deployment: Deployment, args: Args) => Promise<Json>;
}

const ENTRIES = "sandbox_entries";

/**
 * The functions of this stand-in, which runs no users' code. With them rows, files and environment variables are written
 * and read over the same ways as by users' functions.
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
    run: ({ persistence }) => persistence.list(ENTRIES),
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
  /** As Node actions and sign-in providers do: calls the deployment at its own public address. */
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

/** Runs a built-in function. `expected` is the type the called route is for; without one any type will do. */
export async function runFunction(
  deployment: Deployment,
  identity: Identity,
  path: string,
  args: Args,
  expected?: FunctionType,
): Promise<FunctionResult> {
  const definition = FUNCTIONS[path];
  if (!definition || (definition.visibility === "internal" && !identity))
    return failed(
      `Could not find public function for '${path}'. Did you forget to run \`npx convex dev\` or \`npx convex deploy\`?`,
    );
  if (definition.visibility === "internal") requireAdmin(identity);
  if (expected && definition.type !== expected)
    return failed(`Trying to execute ${path} as ${title(expected)}, but it is defined as ${title(definition.type)}.`);
  if (await deployment.isPaused())
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

/** A fault in what the caller gave the function. */
class FunctionError extends Error {}

function text(args: Args, name: string): string {
  const value = args[name];
  if (typeof value !== "string") throw new FunctionError(`ArgumentValidationError: "${name}" must be a string`);
  return value;
}

function failed(errorMessage: string): FunctionResult {
  return { status: "error", errorMessage };
}

function title(type: FunctionType): string {
  return type.charAt(0).toUpperCase() + type.slice(1);
}
