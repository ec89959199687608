import { rm } from "node:fs/promises";
import { connect, createServer } from "node:net";
import path from "node:path";
import { text } from "node:stream/consumers";

import * as pulumi from "@pulumi/pulumi";
import { afterAll, beforeEach, describe, expect, it } from "vitest";

import { openRunTunnel } from "../../ssh/run-tunnel.ts";
import { configure, mockEngine, valueOf } from "./program.ts";

let port: number;

beforeEach(async () => {
  configure();
  await mockEngine();
  port = await freePort();
});

/** The folders of the sockets that were made. */
const folders = new Set<string>();

afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true });
});

/** Opens a tunnel, unless told otherwise to a machine that never comes to be: nobody connects to it here. */
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

  it("is never shared by runs on two machines, even where their stacks have the same name", async () => {
    const first = await open("here");
    expect(await open("there", await freePort())).not.toBe(first);
  });

  it("lets whoever asks through it go at once while a preview does not know the droplet", async () => {
    const address = await open("future", port, pulumi.output(pulumi.unknown) as unknown as pulumi.Output<string>);
    const client = connect(address.replace("unix://", ""));
    client.end("GET /version HTTP/1.1\r\n\r\n");
    expect(await text(client)).toBe("");
  });

  it("says in its address what a run without the program lacks", async () => {
    expect(await open("hint")).toMatch(/\/needs-PULUMI_RUN_PROGRAM=true\.sock$/);
  });
});

function never<T>(): Promise<T> {
  return new Promise(() => undefined);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("the port is not known");
  return address.port;
}
