import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import Fastify from "fastify";
import type { FastifyInstance, FastifyRequest } from "fastify";

import type { Cloud } from "./cloud.ts";
import {
  ApiError,
  badRequest,
  notFound,
  notSimulated,
  tooManyRequests,
  unauthorized,
  unprocessable,
} from "./errors.ts";
import { isForSpaces } from "../spaces/request.ts";
import type { RateLimits } from "./rate-limit.ts";
import { RATE_LIMITS, RateLimiter } from "./rate-limit.ts";
import { accountRoutes } from "./routes/account.ts";
import { acmeRoutes } from "./routes/acme.ts";
import { actionRoutes } from "./routes/actions.ts";
import { catalogueRoutes } from "./routes/catalogue.ts";
import { databaseBackupRoutes } from "./routes/database-backups.ts";
import { databaseConfigRoutes } from "./routes/database-config.ts";
import { databaseControlRoutes } from "./routes/database-control.ts";
import { databaseDbRoutes } from "./routes/database-dbs.ts";
import { databaseUserRoutes } from "./routes/database-users.ts";
import { databaseRoutes } from "./routes/databases.ts";
import { domainRoutes } from "./routes/domains.ts";
import { dnsRecordRoutes } from "./routes/dns-records.ts";
import { dropletActionRoutes } from "./routes/droplet-actions.ts";
import { dropletRoutes } from "./routes/droplets.ts";
import { faultRoutes } from "./routes/faults.ts";
import { firewallRoutes } from "./routes/firewalls.ts";
import { keyRoutes } from "./routes/keys.ts";
import { projectRoutes } from "./routes/projects.ts";
import { snapshotRoutes } from "./routes/snapshots.ts";
import { spacesKeyRoutes } from "./routes/spaces-keys.ts";
import { spacesControlRoutes } from "./routes/spaces.ts";
import { reservedIpActionRoutes } from "./routes/reserved-ip-actions.ts";
import { reservedIpRoutes } from "./routes/reserved-ips.ts";
import { tagRoutes } from "./routes/tags.ts";
import { volumeActionRoutes } from "./routes/volume-actions.ts";
import { volumeRoutes } from "./routes/volumes.ts";

/** The only route without a token; shows which sandbox's cloud answers, and which process serves it. */
export const HEALTH_PATH = "/_control/health";

export interface Health {
  /** The sandbox's id, because another sandbox may use the same port. */
  sandbox: string;
  pid: number;
}

/**
 * The HTTP API of an open cloud; accepts requests with `token`. Serves Spaces as well, to requests that name one of their
 * hosts, as clients do that use it as their proxy. Not listening yet.
 */
export function buildServer(cloud: Cloud, token: string, limits: RateLimits = RATE_LIMITS): FastifyInstance {
  const api = Fastify({
    genReqId: () => randomUUID(),
    bodyLimit: 1024 * 1024,
    serverFactory: (serveApi) =>
      createServer((request, response) => {
        if (isForSpaces(request)) cloud.spaces.serve(request, response);
        else serveApi(request, response);
      }),
  });
  const limiter = new RateLimiter(limits);
  /** The requests whose answers should not arrive. */
  const lost = new Set<string>();

  // Some clients send a content type even with methods that have no body.
  api.removeAllContentTypeParsers();
  api.addContentTypeParser("application/json", { parseAs: "string" }, (_request, text, done) => {
    try {
      done(null, text === "" ? undefined : JSON.parse(String(text)));
    } catch {
      done(badRequest("Your request body was malformed."));
    }
  });

  api.addHook("onRequest", (request, reply, done) => {
    void reply.header("x-request-id", request.id);
    const path = pathOf(request);
    const known = path === HEALTH_PATH || request.headers.authorization === `Bearer ${token}`;
    const now = Date.now() / 1000;
    if (!path.startsWith("/v2/")) {
      done(known ? undefined : unauthorized());
    } else if (!known) {
      // The limit belongs to the token, so a wrong one does not use it up; but every answer shows it.
      void reply.headers(limiter.headers(now));
      done(unauthorized());
    } else {
      const { admitted, headers } = limiter.take(now);
      void reply.headers(headers);
      done(admitted ? undefined : tooManyRequests());
    }
  });

  // Only when the whole request has arrived: a delayed request is served even if its client has gone.
  api.addHook("preHandler", async (request, reply) => {
    const path = pathOf(request);
    const fault = path.startsWith("/v2/") ? cloud.faults.takeRequest(request.method, path) : undefined;
    if (!fault) return;
    await sleep(fault.delayMilliseconds);
    if (fault.lost === true) lost.add(request.id);
    if (fault.retryAfterSeconds !== undefined) void reply.header("retry-after", String(fault.retryAfterSeconds));
    if (fault.status === undefined) return;
    if (fault.status === 429) void reply.header("ratelimit-remaining", "0");
    throw new ApiError(fault.status, fault.message ?? "The sandbox was told to fail this request.");
  });

  api.addHook("onSend", (request, reply, _payload, done) => {
    if (lost.delete(request.id)) reply.raw.destroy();
    done();
  });

  api.addHook("onResponse", (request, reply, done) => {
    cloud.log(`${request.method} ${pathOf(request)} ${reply.statusCode}`);
    done();
  });

  api.setErrorHandler((error, request, reply) => {
    const answer = asApiError(error);
    if (answer.status === 500) cloud.log(`request ${request.id}: ${String(error)}`);
    const { id, status, message } = answer;
    // All errors have the common form of the API reference's introduction; the reference describes another one for tags.
    const ofTags = status === 400 && request.routeOptions.url === "/v2/tags";
    void reply.code(status).send({
      ...{ id, message, request_id: request.id },
      ...(ofTags && { error: message, messages: null, root_causes: [message] }),
    });
  });

  api.setNotFoundHandler((request) => {
    throw pathOf(request).startsWith("/v2/") ? notSimulated(`${request.method} ${pathOf(request)}`) : notFound();
  });

  api.get(HEALTH_PATH, (): Health => ({ sandbox: cloud.home.id, pid: process.pid }));
  faultRoutes(api, cloud.faults);
  acmeRoutes(api, cloud.hypervisor);
  spacesControlRoutes(api, cloud.spaces);
  databaseControlRoutes(api, cloud);
  accountRoutes(api, cloud);
  catalogueRoutes(api);
  keyRoutes(api, cloud);
  actionRoutes(api, cloud);
  dropletRoutes(api, cloud);
  dropletActionRoutes(api, cloud);
  volumeRoutes(api, cloud);
  volumeActionRoutes(api, cloud);
  snapshotRoutes(api, cloud);
  firewallRoutes(api, cloud);
  tagRoutes(api, cloud);
  projectRoutes(api, cloud);
  domainRoutes(api, cloud);
  dnsRecordRoutes(api, cloud);
  reservedIpRoutes(api, cloud);
  reservedIpActionRoutes(api, cloud);
  spacesKeyRoutes(api, cloud);
  databaseRoutes(api, cloud);
  databaseBackupRoutes(api, cloud);
  databaseConfigRoutes(api, cloud);
  databaseDbRoutes(api, cloud);
  databaseUserRoutes(api, cloud);
  return api;
}

function pathOf(request: FastifyRequest): string {
  return request.url.split("?", 1)[0] ?? "";
}

function asApiError(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  // Fastify's errors about a request, such as an unknown content type.
  const { statusCode, message } = error as { statusCode?: number; message?: string };
  if (statusCode !== undefined && statusCode < 500) return unprocessable(message ?? "The request cannot be read.");
  return new ApiError(500, "Unexpected server-side error");
}
