import { once, EventEmitter } from "node:events";

import type { FastifyInstance } from "fastify";

import { notFound, unprocessable } from "./errors.ts";
import { Fields } from "./fields.ts";

/** A request to the API that fails or is late. */
interface RequestFault {
  kind: "request";
  /** Undefined matches every method. */
  method?: string;
  path: string;
  /** Undefined only delays: the request is then served as usual. */
  status?: number;
  message?: string;
  retryAfterSeconds?: number;
  delayMilliseconds: number;
}

/** An action that ends `errored` without anything being done. */
interface ActionFault {
  kind: "action";
  /** The action's type as clients see it, such as `attach_volume`. */
  action: string;
}

/**
 * A droplet that does not boot. `never`: it stays `new`, its create action in progress, until the fault is deleted.
 * `dead`: it becomes `active`, but its machine is off and answers nothing, until it is powered on, cycled or rebooted.
 */
interface BootFault {
  kind: "boot";
  boot: "never" | "dead";
}

type Fault = { id: number; remaining: number } & (RequestFault | ActionFault | BootFault);

/**
 * Failures on demand, for tests; kept in memory only. A test sets them, with the API's token, through these routes:
 *
 * - `POST /_control/faults` with one of the forms below; answers 201 `{fault: {id, remaining, …}}`.
 *   - `{kind: "request", method?, path, count?, status?, message?, retry_after?, delay_ms?}`: `path` is a regular
 *     expression over the path without query; `status` 429 gets a `retry-after` of 1 second unless given; without
 *     `status` the request is only delayed by `delay_ms`.
 *   - `{kind: "action", action, count?}`
 *   - `{kind: "boot", boot: "never" | "dead", count?}`
 * - `GET /_control/faults`: `{faults: […]}`, the spent ones (`remaining` 0) too.
 * - `DELETE /_control/faults` and `DELETE /_control/faults/:id`: 204.
 *
 * Each strikes the next `count` (1 unless given) times that it fits, in the order they were set.
 */
export class Faults {
  readonly #faults = new Map<number, Fault>();
  readonly #lifted = new EventEmitter().setMaxListeners(0);
  #nextId = 1;

  add(fault: RequestFault | ActionFault | BootFault, count: number): Fault {
    const added = { id: this.#nextId++, remaining: count, ...fault };
    this.#faults.set(added.id, added);
    return added;
  }

  list(): Fault[] {
    return [...this.#faults.values()];
  }

  remove(id: number): boolean {
    const existed = this.#faults.delete(id);
    this.#lifted.emit(String(id));
    return existed;
  }

  takeRequest(method: string, path: string): RequestFault | undefined {
    return this.#take(
      (fault) =>
        fault.kind === "request" &&
        (fault.method === undefined || fault.method === method) &&
        new RegExp(fault.path).test(path),
    ) as RequestFault | undefined;
  }

  takeAction(type: string): boolean {
    return this.#take((fault) => fault.kind === "action" && fault.action === type) !== undefined;
  }

  takeBoot(): (BootFault & { id: number }) | undefined {
    return this.#take((fault) => fault.kind === "boot") as (BootFault & { id: number }) | undefined;
  }

  /** Resolves when the fault is deleted; rejects when `signal` aborts first. */
  async lifted(fault: { id: number }, signal: AbortSignal): Promise<void> {
    if (this.#faults.has(fault.id)) await once(this.#lifted, String(fault.id), { signal });
  }

  #take(fits: (fault: Fault) => boolean): Fault | undefined {
    const fault = this.list().find((candidate) => candidate.remaining > 0 && fits(candidate));
    if (fault) fault.remaining--;
    return fault;
  }
}

export function faultRoutes(api: FastifyInstance, faults: Faults): void {
  api.post("/_control/faults", (request, reply) => {
    const body = new Fields(request.body);
    void reply.code(201);
    return { fault: faults.add(readFault(body), body.optionalInteger("count") ?? 1) };
  });

  api.get("/_control/faults", () => ({ faults: faults.list() }));

  api.delete("/_control/faults", (_request, reply) => {
    for (const { id } of faults.list()) faults.remove(id);
    return reply.code(204).send();
  });

  api.delete<{ Params: { id: string } }>("/_control/faults/:id", (request, reply) => {
    if (!faults.remove(Number(request.params.id))) throw notFound();
    return reply.code(204).send();
  });
}

function readFault(body: Fields): RequestFault | ActionFault | BootFault {
  const kind = body.text("kind");
  if (kind === "action") return { kind, action: body.text("action") };
  if (kind === "boot") {
    const boot = body.text("boot");
    if (boot !== "never" && boot !== "dead") throw unprocessable(`boot: is ${boot}, must be never or dead.`);
    return { kind, boot };
  }
  if (kind !== "request") throw unprocessable(`kind: is ${kind}, must be request, action or boot.`);
  const [method, status, message] = [
    body.optionalText("method"),
    body.optionalInteger("status"),
    body.optionalText("message"),
  ];
  const retryAfterSeconds = body.optionalInteger("retry_after") ?? (status === 429 ? 1 : undefined);
  return {
    kind,
    path: readPattern(body.text("path")),
    delayMilliseconds: body.optionalInteger("delay_ms") ?? 0,
    ...(method !== undefined && { method }),
    ...(status !== undefined && { status }),
    ...(message !== undefined && { message }),
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  };
}

function readPattern(path: string): string {
  try {
    return new RegExp(path).source;
  } catch {
    throw unprocessable(`path: is ${path}, must be a regular expression.`);
  }
}
