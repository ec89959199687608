import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";

import Docker from "dockerode";
import { execa } from "execa";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";

import { openTunnel } from "../../ssh/tunnel.ts";
import { Sshd } from "./plugin-sshd.ts";

const ENGINE = "/var/run/docker.sock";

let sshd: Sshd;
let folder: string;
let socket: string;
/** A client that keeps its connection, like the provider's. */
let client: http.Agent;
const told: string[] = [];

beforeAll(async () => {
  sshd = await Sshd.start();
});
afterAll(() => sshd[Symbol.asyncDispose]());

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "tunnel-docker-"));
  socket = path.join(folder, "near", "docker.sock");
  client = new http.Agent({ keepAlive: true, maxSockets: 1 });
  told.length = 0;
});
afterEach(async () => {
  client.destroy();
  await rm(folder, { recursive: true });
});

function open(to = ENGINE, port = sshd.port): Promise<void> {
  const target = Promise.resolve({ host: "127.0.0.1", port, privateKey: sshd.privateKey, hostKey: sshd.hostKey });
  return openTunnel(target, [{ from: { socket }, to, docker: true }], (reason) => told.push(reason));
}

interface Answer {
  status: number | undefined;
  headers: http.IncomingHttpHeaders;
  body: string;
}

async function ask(route: string, method = "GET"): Promise<Answer> {
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    const request = http.request({ agent: client, socketPath: socket, path: route, method }, resolve);
    request.on("error", reject).end();
  });
  return { status: answer.statusCode, headers: answer.headers, body: await text(answer) };
}

/** An error as a client shows it. */
function messageOf(body: string): string {
  return (JSON.parse(body) as { message: string }).message;
}

describe("the near end of a Docker engine", () => {
  it.each(["/_ping", "/v1.51/_ping"])("answers %s without the machine, as HEAD too", async (route) => {
    const before = sshd.logins();
    await open("/nowhere.sock");
    expect(await ask(route)).toMatchObject({ status: 200, body: "OK", headers: { "api-version": "1.44" } });
    expect(await ask(route, "HEAD")).toMatchObject({ status: 200, body: "", headers: { "api-version": "1.44" } });
    expect(sshd.logins()).toBe(before);
    expect(told).toEqual([]);
  });

  it("forwards everything after a ping on the same connection, with one login", async () => {
    const before = sshd.logins();
    // For example about too many listeners on a channel.
    const warned = vi.fn();
    process.on("warning", warned);
    await open();
    await ask("/_ping");
    for (let request = 0; request < 12; request++) expect((await ask("/version")).status).toBe(200);
    process.off("warning", warned);
    expect(warned).not.toHaveBeenCalled();
    expect(Object.values(client.sockets).length + Object.values(client.freeSockets).length).toBe(1);
    expect(sshd.logins()).toBe(before + 1);
  });

  it("forwards a request's body and a streamed answer", async () => {
    await open();
    const far = new Docker({ socketPath: socket });
    const image = "convex-droplet-tunnel-test:latest";
    const imported = await execa("docker", ["import", "-", image], { input: Buffer.alloc(1024) });
    expect(imported.stdout).toMatch(/^sha256:/);
    try {
      expect((await far.getImage(image).inspect()).RepoTags).toEqual([image]);
      expect(await text(await far.getImage(image).get())).toContain("manifest.json");
      await far.createVolume({ Name: "convex-droplet-tunnel-test" });
      await far.getVolume("convex-droplet-tunnel-test").remove();
    } finally {
      await far.getImage(image).remove();
    }
  });

  it("forwards the engine's errors", async () => {
    await open();
    const { status, body } = await ask("/containers/convex-droplet-nobody/json");
    expect(status).toBe(404);
    expect(body).toContain("No such container");
  });

  it("answers like the engine with the reason if the machine cannot be reached, and tells the run once", async () => {
    await open(ENGINE, 1);
    const { status, body } = await ask("/version");
    expect(status).toBe(502);
    expect(messageOf(body)).toMatch(
      /^127\.0\.0\.1: cannot be reached over SSH \(.*ECONNREFUSED.*\)\. Check that adminCidrs/,
    );
    expect(told).toHaveLength(1);
  });

  it("opens another connection once the engine has closed the one that was kept, as in a restart", async () => {
    const engine = http.createServer((_, response) => response.end("yes"));
    const far = path.join(folder, "engine.sock");
    const start = () => new Promise<void>((resolve) => engine.listen(far, resolve));
    await start();
    await open(far);
    expect(await ask("/version")).toMatchObject({ status: 200, body: "yes" });
    const closed = new Promise((resolve) => engine.close(resolve));
    engine.closeAllConnections();
    await closed;
    // A restart takes longer.
    await sleep(1000);
    await start();
    expect(await ask("/version")).toMatchObject({ status: 200, body: "yes" });
    engine.close();
  });

  it("shows that the machine has no engine", async () => {
    await open("/nowhere.sock");
    const { status, body } = await ask("/version");
    expect(status).toBe(502);
    expect(messageOf(body)).toContain("/nowhere.sock on the droplet: cannot be reached");
  });
});
