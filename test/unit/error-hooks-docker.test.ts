import { mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";

import type * as pulumi from "@pulumi/pulumi";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { freeLostPorts, removeLostFromEngine } from "../../error-hooks/docker.ts";
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
  return await tellsToTryAgain(removeLostFromEngine("convex", `unix://${folder}/docker.sock`), {
    type,
    newInputs: { name },
    failedOperation,
    errors: [error],
  });
}

type Failure = Pick<Parameters<pulumi.ErrorHook["callback"]>[0], "type" | "newInputs" | "failedOperation" | "errors">;

async function tellsToTryAgain(hook: pulumi.ErrorHook, failure: Failure): Promise<boolean> {
  return await hook.callback({
    urn: "",
    id: "",
    name: "",
    ...failure,
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

describe("a container whose port Docker does not give", () => {
  const TAKEN =
    "driver failed programming external connectivity on endpoint convex-backend: Bind for 127.0.0.1:3211 failed: port is already allocated";
  let restarts: number;
  let hook: pulumi.ErrorHook;
  const fails = (name: string, error = TAKEN, failedOperation = "create") =>
    tellsToTryAgain(hook, { type: CONTAINER, newInputs: { name }, failedOperation, errors: [error] });

  beforeEach(() => {
    restarts = 0;
    inspected = "[]";
    hook = freeLostPorts("convex", `unix://${folder}/docker.sock`, () => {
      restarts += 1;
      return Promise.resolve();
    });
  });

  it("is removed and tried again after a restart, if no container has the port", async () => {
    inspected = JSON.stringify([{ Ports: [{ IP: "127.0.0.2", PublicPort: 3211 }] }, {}]);
    expect(await fails("convex-backend")).toBe(true);
    expect(restarts).toBe(1);
    expect(calls).toEqual(["GET /containers/json", "DELETE /containers/convex-backend"]);
  });

  it("is not tried a second time", async () => {
    expect(await fails("convex-backend")).toBe(true);
    expect(await fails("convex-backend")).toBe(false);
  });

  it("shares the restart with another one", async () => {
    expect(await Promise.all([fails("convex-backend"), fails("convex-dashboard")])).toEqual([true, true]);
    expect(restarts).toBe(1);
  });

  it("is not tried again if a container has it", async () => {
    inspected = JSON.stringify([{ Ports: [{ IP: "127.0.0.1", PublicPort: 3211 }] }]);
    expect(await fails("convex-backend")).toBe(false);
    expect(restarts).toBe(0);
  });

  it.each([
    ["No such image", "create"],
    [TAKEN, "delete"],
  ])("is not tried again after another failure: %s, %s", async (error, operation) => {
    expect(await fails("convex-backend", error, operation)).toBe(false);
    expect(calls).toEqual([]);
  });
});
