import { request as httpRequest } from "node:http";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { text } from "./api.ts";
import type { Route } from "./http-server.ts";
import { metricsRoute } from "./metrics.ts";

/** Headers of a connection, not of the message, so they are not forwarded. */
const HOP_BY_HOP = ["connection", "keep-alive", "transfer-encoding", "upgrade"];

/** The routes of port 3211: HTTP actions, which the API's port answers below `/http`. */
export function siteProxyRoutes(apiPort: number, metricsDisabled: boolean): Route[] {
  return [
    { ...text("/version", "unknown"), unlimited: true },
    metricsRoute(metricsDisabled),
    { method: "*", path: "*", handle: (request) => forward(request, apiPort) },
  ];
}

function forward(request: Request, apiPort: number): Promise<Response> {
  const { pathname, search } = new URL(request.url);
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(
      {
        host: "127.0.0.1",
        port: apiPort,
        path: `/http${pathname}${search}`,
        method: request.method,
        headers: endToEnd(request.headers),
      },
      (incoming) => {
        const headers = new Headers();
        for (const [name, values = []] of Object.entries(incoming.headersDistinct))
          for (const value of values) headers.append(name, value);
        const body = Readable.toWeb(incoming) as ReadableStream<Uint8Array>;
        resolve(new Response(body, { status: incoming.statusCode ?? 502, headers: endToEnd(headers) }));
      },
    );
    outgoing.on("error", reject);
    // If the client disconnects in the middle, the forwarded request ends too.
    if (request.body) pipeline(Readable.fromWeb(request.body), outgoing).catch(reject);
    else outgoing.end();
  });
}

function endToEnd(headers: Headers): Record<string, string> {
  return Object.fromEntries([...headers].filter(([name]) => !HOP_BY_HOP.includes(name)));
}
