import type { FastifyInstance } from "fastify";

import { notFound, unprocessable } from "../errors.ts";
import type { Faults, NewFault } from "../faults.ts";
import { SPACES_EFFECTS } from "../../spaces/faults.ts";
import { Fields } from "./fields.ts";

/**
 * Failures on demand, for tests; kept in memory only. A test sets them, with the API's token, through these routes:
 *
 * - `POST /_control/faults` with one of these forms answers 201 `{fault: {id, remaining, …}}`:
 *   - `{kind: "request", method?, path, count?, status?, message?, retry_after?, delay_ms?, lost?}`: `path` is a regular
 *     expression for the path without query. With `status` 429, `retry-after` is 1 second by default. Without `status`,
 *     the request is only delayed by `delay_ms`; with `lost` true, the work is done, but its answer does not arrive.
 *   - `{kind: "action", action, count?}`; `action` is an action's type, or a state of a database cluster that its servers do
 *     not leave: `database_creating`, `database_resizing`, `database_migrating` or `database_forking`. They try again every
 *     two seconds.
 *   - `{kind: "boot", boot: "never" | "dead", count?}`
 *   - `{kind: "spaces", effect, method?, path?, access_key?, count?, delay_ms?}`: `path` is a regular expression for
 *     `/BUCKET/KEY?QUERY`. `effect` is `refused` (403 InvalidAccessKeyId), `expired` (400 ExpiredToken), `error`
 *     (500 InternalError), `full` (403 QuotaExceeded), `cut` (the connection is closed when half of the body or of the answer has passed) or `none` (only
 *     the delay).
 * - `GET /_control/faults`: `{faults: […]}`, including those with `remaining` 0.
 * - `DELETE /_control/faults` and `DELETE /_control/faults/:id`: 204.
 *
 * Each applies to the next `count` matches (1 by default), in the order in which they were set.
 */
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

function readFault(body: Fields): NewFault {
  const kind = body.text("kind");
  if (kind === "action") return { kind, action: body.text("action") };
  if (kind === "boot") {
    const boot = body.text("boot");
    if (boot !== "never" && boot !== "dead") throw unprocessable(`boot: is ${boot}, must be never or dead.`);
    return { kind, boot };
  }
  if (kind === "spaces") return readSpacesFault(body);
  if (kind !== "request") throw unprocessable(`kind: is ${kind}, must be request, action, boot or spaces.`);
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
    ...(body.optionalFlag("lost") === true && { lost: true }),
  };
}

function readSpacesFault(body: Fields): NewFault {
  const [given, method, accessKey] = [
    body.text("effect"),
    body.optionalText("method"),
    body.optionalText("access_key"),
  ];
  const effect = SPACES_EFFECTS.find((known) => known === given);
  if (!effect) throw unprocessable(`effect: is ${given}, must be one of ${SPACES_EFFECTS.join(", ")}.`);
  return {
    ...{ kind: "spaces", effect },
    path: readPattern(body.optionalText("path") ?? ""),
    delayMilliseconds: body.optionalInteger("delay_ms") ?? 0,
    ...(method !== undefined && { method }),
    ...(accessKey !== undefined && { accessKey }),
  };
}

function readPattern(path: string): string {
  try {
    return new RegExp(path).source;
  } catch {
    throw unprocessable(`path: is ${path}, must be a regular expression.`);
  }
}
