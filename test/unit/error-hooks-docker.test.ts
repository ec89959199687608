import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { removeLostFromEngine } from "../../error-hooks/docker.ts";
import { mockEngine } from "./program.ts";

const CONTAINER = "docker:index/container:Container";
const NETWORK = "docker:index/network:Network";
const CONFLICT = 'Conflict. The container name "/convex-backend" is already in use by container "45febf9e".';

let folder: string;
let engine: http.Server;
let calls: string[];
let answer: number;
/** The engine's answer about the network. */
let inspected: string;

beforeEach(async () => {
  await mockEngine();
  calls = [];
  answer = 204;
  folder = await mkdtemp(path.join(tmpdir(), "error-hooks-docker-"));
  engine = http.createServer(({ method = "", url = "" }, response) => {
    calls.push(`${method} ${url}`);
    if (method === "GET") response.writeHead(200, { "content-type": "application/json" }).end(inspected);
    else response.writeHead(answer).end();
  });
  inspected = "{}";
  await new Promise<void>((resolve) => engine.listen(path.join(folder, "docker.sock"), resolve));
});

afterEach(async () => {
  await new Promise((resolve) => engine.close(resolve));
  await rm(folder, { recursive: true });
});

/** @returns whether Pulumi tries again */
async function afterFailure(type: string, name: string, error: string, failedOperation = "create"): Promise<boolean> {
  const hook = removeLostFromEngine("convex", `unix://${folder}/docker.sock`);
  return await hook.callback({
    urn: "",
    id: "",
    name: "",
    type,
    newInputs: { name },
    failedOperation,
    errors: [error],
  });
}

describe("a resource that cannot be created in the Docker engine", () => {
  it("is tried again after a container of its name, in no state, was stopped and removed", async () => {
    expect(await afterFailure(CONTAINER, "convex-backend", CONFLICT)).toBe(true);
    expect(calls).toEqual(["POST /containers/convex-backend/stop?t=10", "DELETE /containers/convex-backend"]);
  });

  it("is tried again after a network of its name, in no state, was removed", async () => {
    expect(await afterFailure(NETWORK, "convex", "network with name convex already exists")).toBe(true);
    expect(calls).toEqual(["GET /networks/convex", "DELETE /networks/convex"]);
  });

  it("is tried again after the containers were disconnected from such a network", async () => {
    inspected = JSON.stringify({ Containers: { c1: {}, c2: {} } });
    expect(await afterFailure(NETWORK, "convex", "network with name convex already exists")).toBe(true);
    const left = "POST /networks/convex/disconnect";
    expect(calls).toEqual(["GET /networks/convex", left, left, "DELETE /networks/convex"]);
  });

  it("is not tried again if the engine does not remove the other one", async () => {
    answer = 403;
    expect(await afterFailure(NETWORK, "convex", "network with name convex already exists")).toBe(false);
  });

  it.each([
    [CONTAINER, "No such image: convex-backend", "create"],
    [CONTAINER, CONFLICT, "update"],
    ["docker:index/remoteImage:RemoteImage", "already exists", "create"],
  ])("is not tried again after another failure: %s, %s, %s", async (type, error, operation) => {
    expect(await afterFailure(type, "convex-backend", error, operation)).toBe(false);
    expect(calls).toEqual([]);
  });
});
