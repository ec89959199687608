import { rm } from "node:fs/promises";
import http from "node:http";
import path from "node:path";
import { text } from "node:stream/consumers";

import * as pulumi from "@pulumi/pulumi";
import { afterAll, beforeEach, describe, expect, it } from "vitest";

import { openRunTunnel } from "../../ssh/run-tunnel.ts";
import { configure, mockEngine, valueOf } from "./program.ts";
import { freePort } from "../free-port.ts";

let port: number;

beforeEach(async () => {
  configure();
  await mockEngine();
  port = await freePort();
});

/** The folders of the created sockets. */
const folders = new Set<string>();

afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true });
});

/** Opens a tunnel; by default to a machine that is never created, because no test connects to it. */
async function open(machine: string, ownPort = port, host = pulumi.output(never<string>())): Promise<string> {
  const { dockerHost } = openRunTunnel(ownPort, {
    host,
    privateKey: pulumi.output("key"),
    hostKey: pulumi.output(`ssh-ed25519 ${machine}${process.pid}`),
  });
  const address = await valueOf(dockerHost);
  folders.add(path.dirname(address.replace("unix://", "")));
  return address;
}

describe("the tunnel of a run", () => {
  it("is shared by two runs on the same machine", async () => {
    const first = await open("one");
    expect(await open("one")).toBe(first);
  });

  it("is never shared by runs on two machines, even if their stacks have the same name", async () => {
    const first = await open("here");
    expect(await open("there", await freePort())).not.toBe(first);
  });

  it("answers a ping if a preview does not know the droplet, and anything else with the reason", async () => {
    const address = await open("future", port, pulumi.output(pulumi.unknown) as unknown as pulumi.Output<string>);
    expect(await ask(address, "/v1.44/_ping")).toMatchObject({ status: 200, body: "OK" });
    const { status, body } = await ask(address, "/v1.44/version");
    expect(status).toBe(502);
    expect((JSON.parse(body) as { message: string }).message).toMatch(/^there is no droplet, or it will be replaced/);
  });
});

/** The answer to a client of the Docker engine. */
async function ask(address: string, route: string): Promise<{ status: number | undefined; body: string }> {
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    http.get({ socketPath: address.replace("unix://", ""), path: route }, resolve).on("error", reject);
  });
  return { status: answer.statusCode, body: await text(answer) };
}

function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}
