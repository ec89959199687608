import { missingField } from "./api-error.ts";
import {
  authenticate,
  READ_ONLY_OPERATIONS,
  requireAdmin,
  requireWriteAccess,
  type Identity,
} from "./authentication.ts";
import { deployRoutes } from "./deploy-api.ts";
import type { Deployment, EnvironmentChange } from "./deployment.ts";
import type { FunctionType } from "./function-definition.ts";
import { runFunction } from "./functions.ts";
import { bodyOf, readBody, readJson, type Route } from "./http-server.ts";
import { metricsRoute } from "./metrics.ts";
import type { Json } from "./persistence.ts";

const MEBIBYTE = 1024 * 1024;
const MAX_ECHO_BYTES = 128 * MEBIBYTE;
const MAX_HTTP_ACTION_BYTES = 20 * MEBIBYTE;
const MAX_API_BYTES = 16 * MEBIBYTE + 2000;

/** The routes of port 3210. `version` is the answer of `/version`. */
export function apiRoutes(deployment: Deployment, settings: { version: string; metricsDisabled: boolean }): Route[] {
  const identityOf = (request: Request) => authenticate(request, deployment.instanceName, deployment.secret);

  /** A route for clients with an admin key, on one or more paths. */
  const adminRoute = (
    method: string,
    paths: string[],
    access: (identity: Identity) => unknown,
    handle: (request: Request) => Promise<Response>,
  ): Route[] =>
    paths.map((path) => ({
      method,
      path,
      handle: (request) => {
        access(identityOf(request));
        return handle(request);
      },
    }));

  const functionRoute = (path: string, expected?: FunctionType): Route => ({
    method: "POST",
    path,
    handle: async (request) => {
      const identity = identityOf(request);
      const body = await readJson(request, MAX_API_BYTES);
      if (typeof body["path"] !== "string") throw missingField("path");
      return Response.json(await runFunction(deployment, identity, body["path"], argumentsOf(body), expected));
    },
  });

  return [
    text("/", "This Convex deployment is running. See https://docs.convex.dev/."),
    { ...text("/version", settings.version), unlimited: true },
    text("/instance_name", deployment.instanceName),
    text("/instance_version", settings.version),
    metricsRoute(settings.metricsDisabled),
    {
      method: "POST",
      path: "/echo",
      handle: async (request) => new Response(new Uint8Array(await readBody(request, MAX_ECHO_BYTES))),
    },
    {
      method: "GET",
      path: "/api/check_admin_key",
      handle: (request) => {
        const { isReadOnly } = requireAdmin(identityOf(request));
        return Response.json({ success: true, allowedOps: isReadOnly ? READ_ONLY_OPERATIONS : [], isReadOnly });
      },
    },
    ...adminRoute("GET", ["/api/v1/deployment_info"], requireAdmin, () =>
      Promise.resolve(Response.json({ kind: "selfHosted" })),
    ),
    ...adminRoute("GET", ["/api/v1/get_canonical_urls"], requireAdmin, async () =>
      Response.json(await deployment.canonicalUrls()),
    ),
    ...adminRoute("POST", both("update_canonical_url"), requireWriteAccess, async (request) => {
      const { requestDestination, url } = await readJson(request, MAX_API_BYTES);
      if (requestDestination !== "convexCloud" && requestDestination !== "convexSite")
        throw missingField("requestDestination");
      await deployment.overrideCanonicalUrl(requestDestination, typeof url === "string" ? url : undefined);
      return new Response();
    }),
    ...adminRoute("GET", both("list_environment_variables"), requireAdmin, async () =>
      Response.json({ environmentVariables: await deployment.environmentVariables() }),
    ),
    ...adminRoute("POST", both("update_environment_variables"), requireWriteAccess, async (request) => {
      await deployment.updateEnvironmentVariables(changesOf(await readJson(request, MAX_API_BYTES)));
      return new Response();
    }),
    ...adminRoute("POST", ["/api/v1/pause_deployment"], requireWriteAccess, async () => {
      await deployment.setPaused(true);
      return new Response();
    }),
    ...adminRoute("POST", ["/api/v1/unpause_deployment"], requireWriteAccess, async () => {
      await deployment.setPaused(false);
      return new Response();
    }),
    ...deployRoutes(deployment),
    functionRoute("/api/query", "query"),
    functionRoute("/api/mutation", "mutation"),
    functionRoute("/api/action", "action"),
    functionRoute("/api/function"),
    {
      method: "POST",
      path: "/api/run/:path+",
      handle: async (request, params) => {
        const identity = identityOf(request);
        const body = await readJson(request, MAX_API_BYTES);
        // `messages/list` is the function `list` of the module `messages`.
        const path = decodeURIComponent(params["path"] ?? "").replace(/\/([^/]*)$/, ":$1");
        return Response.json(await runFunction(deployment, identity, path, argumentsOf(body)));
      },
    },
    {
      method: "POST",
      path: "/api/storage/upload",
      handle: async (request) => {
        const token = new URL(request.url).searchParams.get("token") ?? "";
        const contentType = request.headers.get("content-type");
        return Response.json({ storageId: await deployment.storeFile(token, bodyOf(request), contentType) });
      },
    },
    {
      method: "GET",
      path: "/api/storage/:id",
      handle: async (_request, params) => {
        const { file, body } = await deployment.readFile(params["id"] ?? "");
        return new Response(body, {
          headers: {
            "content-length": String(file.size),
            digest: `sha-256=${file.sha256}`,
            "cache-control": "private, max-age=2592000",
            ...(file.contentType !== null && { "content-type": file.contentType }),
          },
        });
      },
    },
    {
      method: "*",
      path: "/http/*",
      handle: async (request) => {
        await readBody(request, MAX_HTTP_ACTION_BYTES);
        return new Response("This Convex deployment does not have HTTP actions enabled.", { status: 404 });
      },
    },
  ];
}

/** A route that always gives the same answer. */
export function text(path: string, body: string): Route {
  return { method: "GET", path, handle: () => new Response(body) };
}

function both(name: string): string[] {
  return [`/api/${name}`, `/api/v1/${name}`];
}

function argumentsOf(body: Record<string, unknown>): Record<string, Json> {
  // Positional arguments are accepted too; there is one at most.
  const args: unknown = Array.isArray(body["args"]) ? (body["args"][0] ?? {}) : body["args"];
  if (typeof args !== "object" || args === null) throw missingField("args");
  return args as Record<string, Json>;
}

function changesOf(body: Record<string, unknown>): EnvironmentChange[] {
  const { changes } = body;
  if (!Array.isArray(changes)) throw missingField("changes");
  return changes.map((change: Record<string, unknown>) => {
    const { name, value = null } = change;
    if (typeof name !== "string") throw missingField("name");
    if (typeof value !== "string" && value !== null) throw missingField("value");
    return { name, value };
  });
}
