import http, { type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";

import { afterEach, describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";

import { examineAnswers } from "../../operations/doctor/answers.ts";
import type { Inside } from "../../operations/findings/inside.ts";
import { State } from "../../operations/state.ts";

const servers: http.Server[] = [];

afterEach(async () => {
  await Promise.all(servers.splice(0).map((server) => new Promise((resolve) => server.close(resolve))));
});

/** Starts a server and gives its origin. `announced` answers a request that waits for permission to send its body. */
async function serve(listener: RequestListener, webSockets = false, announced = listener): Promise<string> {
  const server = http.createServer(listener);
  server.on("checkContinue", announced);
  servers.push(server);
  if (webSockets) new WebSocketServer({ server, path: "/api/1.31.0/sync" });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const api =
  (name: string): RequestListener =>
  ({ url }, response) => {
    response.writeHead(url === "/instance_name" ? 200 : 404, { "content-type": "text/plain" });
    response.end(url === "/instance_name" ? name : "nothing");
  };
const site: RequestListener = (_, response) => {
  response.writeHead(404, { "content-type": "text/plain" }).end("no HTTP actions");
};
const login: RequestListener = (_, response) => {
  response.writeHead(302, { location: "https://login.example.org/" }).end();
};
const page =
  (status: number): RequestListener =>
  (_, response) => {
    response.writeHead(status, { "content-type": "text/html" }).end("<html>");
  };

/** All problems that are found, one line each. */
async function said(
  cloudOrigin: string,
  siteOrigin: string,
  insides: Record<string, string> = {},
  apiPort = 3210,
): Promise<string> {
  const ports = [
    { internal: 3210, external: apiPort },
    { internal: 3211, external: 3211 },
  ];
  const envs = [`CONVEX_CLOUD_ORIGIN=${cloudOrigin}`, `CONVEX_SITE_ORIGIN=${siteOrigin}`, "INSTANCE_NAME=mine"];
  const state = new State("dev", [
    { type: "docker:index/container:Container", name: "convex-backend", id: "1", inputs: { envs, ports }, outputs: {} },
  ]);
  const facts = {
    "backend.version": "unknown",
    "backend.sync": "101",
    "backend.nowhere": "404 text/plain",
    "backend.nowhere_inside": "404 text/plain",
    ...insides,
  };
  const inside: Inside = {
    differences: [],
    facts: new Map(Object.entries(facts).map(([name, text]) => [name, { exitCode: 0, text }])),
  };
  const { ailments } = await examineAnswers(state, inside);
  return ailments.map(({ symptom, cause = "", cure }) => `${symptom} (${cause}): ${cure}`).join("\n");
}

describe("the doctor's check of the URLs", () => {
  it("finds no problem if the backend answers", async () => {
    expect(await said(await serve(api("mine"), true), await serve(site))).toBe("");
  });

  it.each<[what: string, api: RequestListener, site: RequestListener, expected: RegExp]>([
    [
      "another instance",
      api("other"),
      site,
      /instance_name says other, it should say mine \(another instance answers\)/,
    ],
    ["a login page", login, site, /instance_name redirects to https:\/\/login.example.org\//],
    ["a page for everything", page(200), site, /answers with 200 text\/html, it should say mine/],
    ["a proxy's own 404", page(404), site, /answers with 404 text\/html, it should say mine/],
    [
      "the HTTP actions at the API's URL",
      site,
      site,
      /it leads to the HTTP actions.*route .* to the droplet's port 3210/,
    ],
    ["the API at the HTTP actions' URL", api("mine"), api("mine"), /it leads to the API.*to the droplet's port 3211/],
    [
      "a proxy's own 404 before the HTTP actions",
      api("mine"),
      page(404),
      /with 404 text\/html, on the droplet with 404/,
    ],
    ["a login page before the HTTP actions", api("mine"), login, /convex-droplet redirects to https:\/\/login/],
  ])("reports %s", async (_, cloudListener, siteListener, expected) => {
    expect(await said(await serve(cloudListener, true), await serve(siteListener))).toMatch(expected);
  });

  it("reports a proxy that does not forward WebSockets, if the backend itself opens them", async () => {
    const origins = [await serve(api("mine")), await serve(site)] as const;
    expect(await said(...origins)).toMatch(/api\/1.31.0\/sync does not open as a WebSocket.*Upgrade/);
    expect(await said(...origins, { "backend.sync": "404" })).toBe("");
  });

  it.each<[what: string, announced: RequestListener, expected: RegExp]>([
    [
      "a proxy that refuses large uploads",
      page(413),
      /storage\/upload refuses an upload of 200 MB \(413\).*client_max_body_size 0/,
    ],
    ["no proxy that lets the backend refuse", page(401), /^$/],
    ["no proxy that ends the connection", ({ socket }) => socket.destroy(), /^$/],
  ])("reports %s", async (_, announced, expected) => {
    const asked: unknown[] = [];
    const listener: RequestListener = (request, response) => {
      asked.push([request.method, request.url, request.headers["content-length"]]);
      announced(request, response);
    };
    expect(await said(await serve(api("mine"), true, listener), await serve(site))).toMatch(expected);
    expect(asked).toEqual([["POST", "/api/storage/upload", "200000000"]]);
  });

  it("announces no upload to the droplet's own port", async () => {
    const asked: unknown[] = [];
    const cloud = await serve(api("mine"), true, ({ url }) => asked.push(url));
    expect(await said(cloud, await serve(site), {}, Number(new URL(cloud).port))).toBe("");
    expect(asked).toEqual([]);
  });

  it.each<[what: string, listener: RequestListener, expected: RegExp]>([
    [
      "nginx's own answer",
      (_, response) => response.writeHead(503).end("The backend does not answer. It may be restarting.\n"),
      /answers with 503 \(nginx on the droplet gets no answer from the backend/,
    ],
    ["another proxy's", page(502), /answers with 502 \(a proxy before the droplet gets no answer from it\)/],
    ["any other", page(500), /answers with 500 \(\): check the log of the proxy/],
  ])("explains an answer that is not the backend's: %s", async (_, listener, expected) => {
    expect(await said(await serve(listener), await serve(site))).toMatch(expected);
  });

  it("does not report the WebSocket if nothing answers at all", async () => {
    const nobody = "http://127.0.0.1:9";
    expect(await said(nobody, nobody)).not.toContain("WebSocket");
  });

  it("accepts an answer without a content type", async () => {
    const bare: RequestListener = (_, response) => {
      response.removeHeader("content-type");
      response.writeHead(404).end();
    };
    const insides = { "backend.nowhere": "404 ", "backend.nowhere_inside": "404 " };
    expect(await said(await serve(api("mine"), true), await serve(bare), insides)).toBe("");
  });

  it("also compares the answer inside the container", async () => {
    const origins = [await serve(api("mine"), true), await serve(site)] as const;
    const unreached = await said(...origins, { "backend.nowhere_inside": "000 " });
    expect(unreached).toMatch(/does not answer inside the backend's container.*sign-in.*--stack dev sitePort 3211/);
    expect(await said(...origins, { "backend.nowhere_inside": "404 text/html" })).toMatch(
      /answers with 404 text\/html inside/,
    );
  });
});
