import { createHash, randomUUID } from "node:crypto";
import { ApiError } from "./api-error.ts";
import type { Persistence } from "./persistence.ts";

/** A file of an app as the CLI bundled it. A type, like the others here, because TypeScript does not accept interfaces as JSON. */
export type Module = {
  path: string;
  environment: "isolate" | "node";
  source: string;
  sourceMap?: string;
};

/** With the hexadecimal SHA-256 of source and source map, from which the CLI knows what it need not send again. */
export type PushedModule = Module & { hash: string };

/** Everything of an app that one `convex deploy` sends. */
export type Push = {
  /** The app's folder for functions, such as `convex/`. */
  functions: string;
  modules: PushedModule[];
  schema: PushedModule | null;
  /** The bundled `convex.config.ts`. */
  definition: PushedModule | null;
  nodeDependencies: { name: string; version: string }[];
  nodeVersion: string | null;
  /** The version of the CLI. */
  udfServerVersion: string;
};

/** The finished push, whose functions the deployment has. */
export type FinishedPush = Push & { pushedAt: string; message: string | null };

/** The modules that a push adds and removes; a changed one is in both lists. */
export interface ModuleDiff {
  added: string[];
  removed: string[];
}

const TABLE = "_pushes";
const STARTED = "started";
const FINISHED = "finished";

/** The pushes. A push is started, then finished; if another one starts in between, the first one is lost. */
export class Pushes {
  readonly #persistence: Persistence;

  constructor(persistence: Persistence) {
    this.#persistence = persistence;
  }

  /** Null before the first push. */
  async current(): Promise<FinishedPush | null> {
    return (await this.#persistence.get(TABLE, FINISHED)) as FinishedPush | null;
  }

  /** Whether a module was pushed. Its name is as in a function's path: `messages` in `messages:list`. */
  async hasModule(name: string): Promise<boolean> {
    return ((await this.current())?.modules ?? []).some(({ path }) => path.replace(/\.[cm]?js$/, "") === name);
  }

  /** @returns the push's id, for `finish` */
  async start(push: Push): Promise<string> {
    const id = randomUUID();
    await this.#persistence.commit([{ table: TABLE, key: STARTED, value: { id, push } }]);
    return id;
  }

  async isStarted(id: string): Promise<boolean> {
    return (await this.#started())?.id === id;
  }

  /** Makes a started push the current one. @throws ApiError if another one was started in the meantime */
  async finish(id: string, message: string | null): Promise<void> {
    const started = await this.#started();
    if (started?.id !== id)
      throw new ApiError(400, "RaceDetected", "Another push was started since. Push again to have this one.");
    const finished: FinishedPush = { ...started.push, pushedAt: new Date().toISOString(), message };
    await this.#persistence.commit([
      { table: TABLE, key: FINISHED, value: finished },
      { table: TABLE, key: STARTED, value: null },
    ]);
  }

  async #started(): Promise<{ id: string; push: Push } | null> {
    return (await this.#persistence.get(TABLE, STARTED)) as { id: string; push: Push } | null;
  }
}

export function withHash(module: Module): PushedModule {
  const hash = createHash("sha256")
    .update(module.source)
    .update(module.sourceMap ?? "")
    .digest("hex");
  return { ...module, hash };
}

/** The changes for a deployment with the modules `before`. */
export function diffModules(before: PushedModule[], after: Pick<PushedModule, "path" | "hash">[]): ModuleDiff {
  const without = (modules: typeof after, others: typeof after) =>
    modules
      .filter(({ path, hash }) => !others.some((other) => other.path === path && other.hash === hash))
      .map(({ path }) => path);
  return { added: without(after, before), removed: without(before, after) };
}
