import { ApiError, missingField } from "./api-error.ts";
import { authenticate, authenticateKey, requireAdmin, requireWriteAccess, type Identity } from "./authentication.ts";
import type { Deployment } from "./deployment.ts";
import { readJson, type Route } from "./http-server.ts";
import { diffModules, withHash, type Module, type Push, type PushedModule } from "./pushes.ts";

const MAX_PUSH_BYTES = 200 * 1024 * 1024;

type Body = Record<string, unknown>;

/**
 * The calls of `convex deploy`. A push is recorded, not run: its functions, tables and indexes are not known, so the
 * answers contain none. `/_control/push`, which the real backend does not have, shows the record.
 */
export function deployRoutes(deployment: Deployment): Route[] {
  const { pushes } = deployment;

  const route = (
    path: string,
    access: (identity: Identity) => unknown,
    answer: (body: Body) => Promise<unknown>,
  ): Route => ({
    method: "POST",
    path,
    handle: async (request) => {
      const identity = authenticate(request, deployment.instanceName, deployment.secret);
      const body = await readJson(request, MAX_PUSH_BYTES);
      const key = body["adminKey"];
      // These calls have the key in the body too; older clients send it only there.
      access(
        identity ??
          (typeof key === "string" ? authenticateKey(key, deployment.instanceName, deployment.secret) : undefined),
      );
      return Response.json(await answer(body));
    },
  });

  /** The whole app: the modules in the request, and those that it omits because they were pushed before. */
  async function readPush(body: Body): Promise<Push> {
    const app = objectIn(body, "appDefinition");
    if (arrayIn(body, "componentDefinitions").length > 0)
      throw new ApiError(400, "NotSimulated", "Components are not served by this stand-in of the backend.");
    const known = (await pushes.current())?.modules ?? [];
    const unchanged = arrayIn(app, "unchangedModuleHashes").map((entry) => {
      const { path, sha256 } = entry as { path?: unknown; sha256?: unknown };
      const module = known.find((candidate) => candidate.path === path && candidate.hash === sha256);
      if (!module) throw new ApiError(400, "UnknownModule", `${String(path)} was not pushed before. Send it whole.`);
      return module;
    });
    const changed = arrayIn(app, "changedModules").map(moduleOf);
    return {
      functions: textIn(body, "functions"),
      modules: [...unchanged, ...changed].sort((a, b) => (a.path < b.path ? -1 : 1)),
      schema: moduleOrNull(app["schema"]),
      definition: moduleOrNull(app["definition"]),
      nodeDependencies: arrayIn(body, "nodeDependencies") as Push["nodeDependencies"],
      nodeVersion: typeof body["nodeVersion"] === "string" ? body["nodeVersion"] : null,
      udfServerVersion: textIn(app, "udfServerVersion"),
    };
  }

  return [
    {
      method: "GET",
      path: "/_control/push",
      handle: async (request) => {
        requireAdmin(authenticate(request, deployment.instanceName, deployment.secret));
        return Response.json(await pushes.current());
      },
    },
    route("/api/get_config_hashes", requireAdmin, async () => {
      const push = await pushes.current();
      return {
        config: { functions: push?.functions ?? "convex/" },
        moduleHashes: (push?.modules ?? []).map(({ path, environment, hash }) => ({ path, environment, hash })),
        udfServerVersion: push?.udfServerVersion ?? null,
        nodeDependencies: push?.nodeDependencies ?? [],
        ...(push?.nodeVersion != null && { nodeVersion: push.nodeVersion }),
      };
    }),
    route("/api/deploy2/evaluate_push", requireWriteAccess, async (body) => {
      await readPush(body);
      return { schemaChange: schemaChange(undefined) };
    }),
    route("/api/deploy2/start_push", requireWriteAccess, async (body) => {
      const push = await readPush(body);
      const id = body["dryRun"] === true ? undefined : await pushes.start(push);
      return {
        environmentVariables: await deployment.environmentVariables(),
        externalDepsId: null,
        componentDefinitionPackages: { "": push.modules.map(({ path, hash }) => ({ path, hash })) },
        appAuth: [],
        analysis: { "": analysis(push) },
        app: {
          definitionPath: "",
          componentPath: "",
          args: {},
          childComponents: {},
          httpRoutes: { httpModuleRoutes: null, mounts: [] },
          exports: {},
        },
        schemaChange: schemaChange(id),
      };
    }),
    route("/api/deploy2/wait_for_schema", requireWriteAccess, async (body) => {
      const id = startedId(body);
      return { type: id === undefined || (await pushes.isStarted(id)) ? "complete" : "raceDetected" };
    }),
    route("/api/deploy2/finish_push", requireWriteAccess, async (body) => {
      const startPush = objectIn(body, "startPush");
      const modules = arrayIn(objectIn(startPush, "componentDefinitionPackages"), "") as PushedModule[];
      const moduleDiff = diffModules((await pushes.current())?.modules ?? [], modules);
      const id = startedId(startPush);
      if (id !== undefined) await pushes.finish(id, typeof body["message"] === "string" ? body["message"] : null);
      return {
        authDiff: { added: [], removed: [] },
        definitionDiffs: {},
        componentDiffs: {
          "": {
            diffType: { type: "modify" },
            moduleDiff,
            udfConfigDiff: null,
            cronDiff: { added: [], updated: [], deleted: [] },
            indexDiff: { added_indexes: [], removed_indexes: [] },
            schemaDiff: null,
          },
        },
      };
    }),
    route("/api/deploy2/report_push_completed", requireWriteAccess, () => Promise.resolve(null)),
  ];
}

/** Carries the push's id: the CLI sends this part of the answer back in all later calls. */
function schemaChange(id: string | undefined) {
  return { allocatedComponentIds: {}, schemaIds: id === undefined ? {} : { "": id }, indexDiffs: {} };
}

/** Undefined for a dry run. */
function startedId(body: Body): string | undefined {
  const id = objectIn(objectIn(body, "schemaChange"), "schemaIds")[""];
  return typeof id === "string" ? id : undefined;
}

function analysis({ udfServerVersion }: Push) {
  return {
    definition: {
      path: "",
      definitionType: { type: "app" },
      childComponents: [],
      httpMounts: {},
      exports: { type: "branch", branch: [] },
    },
    schema: null,
    functions: {},
    udfConfig: { serverVersion: udfServerVersion, importPhaseRngSeed: null, importPhaseUnixTimestamp: null },
  };
}

function moduleOrNull(value: unknown): PushedModule | null {
  return value === null || value === undefined ? null : moduleOf(value);
}

function moduleOf(value: unknown): PushedModule {
  if (typeof value !== "object" || value === null) throw missingField("path");
  const body = value as Body;
  const { environment, sourceMap } = body;
  if (environment !== "isolate" && environment !== "node") throw missingField("environment");
  const module: Module = { path: textIn(body, "path"), environment, source: textIn(body, "source") };
  return withHash(typeof sourceMap === "string" ? { ...module, sourceMap } : module);
}

function objectIn(body: Body, name: string): Body {
  const value = body[name];
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw missingField(name);
  return value as Body;
}

function arrayIn(body: Body, name: string): unknown[] {
  const value = body[name];
  if (!Array.isArray(value)) throw missingField(name);
  return value;
}

function textIn(body: Body, name: string): string {
  const value = body[name];
  if (typeof value !== "string") throw missingField(name);
  return value;
}
