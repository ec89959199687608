import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import { brotliDecompress } from "node:zlib";
import { ApiError } from "./api-error.ts";
import { log } from "./log.ts";

export interface Route {
  method: string;
  /** A `URLPattern` path, such as `/api/storage/:id`. */
  path: string;
  handle: (request: Request, params: Record<string, string | undefined>) => Response | Promise<Response>;
  /** Answered without waiting for its turn, however many requests are pending. */
  unlimited?: boolean;
}

export interface ServerSettings {
  /** The number of requests that are handled at the same time; others wait for their turn. */
  maxConcurrentRequests: number;
  /** The time for a client to send its request, in seconds. */
  timeoutSeconds: number;
  /** Called with each error; returns true if the process cannot continue, so that no client gets it as an answer. */
  onFatal: (error: unknown) => boolean;
}

/** Serves the first of `routes` that matches, with the backend's CORS rules. */
export function serveRoutes(routes: Route[], settings: ServerSettings): Server {
  const patterns = routes.map((route) => ({ ...route, pattern: new URLPattern({ pathname: route.path }) }));
  const limit = concurrencyLimit(settings.maxConcurrentRequests);

  async function answer(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const request = toRequest(incoming);
    const method = request.method === "HEAD" ? "GET" : request.method;
    const url = new URL(request.url);
    const found = patterns.find(
      (route) => (route.method === "*" || route.method === method) && route.pattern.test({ pathname: url.pathname }),
    );
    const respond = async () => {
      const response = found
        ? await found.handle(request, found.pattern.exec({ pathname: url.pathname })?.pathname.groups ?? {})
        : notFound(method, url.pathname);
      await send(response, incoming, outgoing);
    };
    await (found?.unlimited ? respond() : limit(respond));
  }

  const server = createServer((incoming, outgoing) => {
    if (incoming.method === "OPTIONS" && incoming.headers["access-control-request-method"]) {
      void send(new Response(null), incoming, outgoing);
      return;
    }
    answer(incoming, outgoing).catch((error: unknown) => {
      if (settings.onFatal(error)) return;
      if (outgoing.headersSent) outgoing.destroy();
      else void send(toResponse(error), incoming, outgoing);
    });
  });
  server.requestTimeout = settings.timeoutSeconds * 1000;
  return server;
}

/** @throws ApiError if the body is not a JSON object, or longer than `maxBytes` */
export async function readJson(request: Request, maxBytes: number): Promise<Record<string, unknown>> {
  const body = await readBody(request, maxBytes);
  try {
    const value: unknown = JSON.parse(body.toString());
    if (typeof value === "object" && value !== null) return value as Record<string, unknown>;
  } catch {
    // Not JSON: refused below, like JSON that is not an object.
  }
  throw new ApiError(400, "BadJsonBody", "The request body is not a JSON object");
}

/** Decompresses the body if necessary. @throws ApiError if it is longer than `maxBytes`, before or after that */
export async function readBody(request: Request, maxBytes: number): Promise<Buffer> {
  const tooLarge = new ApiError(413, "RequestTooLarge", `The request body is over ${maxBytes} bytes`);
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of bodyOf(request)) {
    size += chunk.length;
    if (size > maxBytes) throw tooLarge;
    chunks.push(chunk);
  }
  const body = Buffer.concat(chunks);
  if (request.headers.get("content-encoding") !== "br") return body;
  try {
    return await promisify(brotliDecompress)(body, { maxOutputLength: maxBytes });
  } catch (error) {
    if (error instanceof RangeError) throw tooLarge;
    throw new ApiError(400, "BadBrotli", "The request body is not what its Content-Encoding says, br");
  }
}

/** The body as it arrives; empty if the request has none. */
export async function* bodyOf(request: Request): AsyncGenerator<Uint8Array> {
  if (request.body) yield* request.body as ReadableStream<Uint8Array>;
}

function toRequest(incoming: IncomingMessage): Request {
  const headers = Object.entries(incoming.headersDistinct).flatMap(([name, values = []]) =>
    values.map((value): [string, string] => [name, value]),
  );
  const method = incoming.method ?? "GET";
  const body = method === "GET" || method === "HEAD" ? null : (Readable.toWeb(incoming) as ReadableStream<Uint8Array>);
  // Only the URL's path and query are used. The `Host` header can be anything, so the URL does not contain it.
  return new Request(new URL(incoming.url ?? "/", "http://backend"), { method, headers, body, duplex: "half" });
}

async function send(response: Response, incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
  outgoing.statusCode = response.status;
  outgoing.setHeaders(response.headers);
  outgoing.setHeaders(corsHeaders(incoming));
  if (!response.body || incoming.method === "HEAD") {
    outgoing.end();
    return;
  }
  try {
    await pipeline(Readable.fromWeb(response.body), outgoing);
  } catch (error) {
    log.debug(`a client went away: ${String(error)}`);
  }
}

function corsHeaders(incoming: IncomingMessage): Map<string, string> {
  const { origin } = incoming.headers;
  if (origin === undefined) return new Map();
  const headers = new Map([
    ["access-control-allow-origin", origin],
    ["access-control-allow-credentials", "true"],
    ["vary", "origin"],
  ]);
  if (incoming.method === "OPTIONS") {
    headers.set("access-control-allow-methods", "GET,POST,PUT,PATCH,DELETE,OPTIONS,HEAD");
    headers.set("access-control-allow-headers", incoming.headers["access-control-request-headers"] ?? "");
    headers.set("access-control-max-age", "86400");
  }
  return headers;
}

/** For the API a 403, which the CLI shows immediately. It may retry a 404 or a 501 for half a minute, or for logs forever. */
function notFound(method: string, path: string): Response {
  return path.startsWith("/api/")
    ? new ApiError(403, "NotSimulated", `${method} ${path}: not served by this stand-in of the backend.`).toResponse()
    : new ApiError(404, "NotFound", `${method} ${path}: no such route.`).toResponse();
}

function toResponse(error: unknown): Response {
  if (error instanceof ApiError) return error.toResponse();
  log.error(error instanceof Error ? (error.stack ?? error.message) : String(error));
  return new ApiError(500, "InternalServerError", "Your request couldn't be completed. Try again later.").toResponse();
}

function concurrencyLimit(max: number): (run: () => Promise<void>) => Promise<void> {
  const waiting: (() => void)[] = [];
  let running = 0;
  return async (run) => {
    if (running >= max)
      await new Promise<void>((resolve) => {
        waiting.push(resolve);
      });
    else running += 1;
    try {
      await run();
    } finally {
      const next = waiting.shift();
      // The next one takes this one's place.
      if (next) next();
      else running -= 1;
    }
  };
}
