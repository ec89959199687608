import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

import * as pulumi from "@pulumi/pulumi";
import { afterAll, beforeEach, describe, expect, it } from "vitest";

import { openRunTunnel } from "../../ssh/run-tunnel.ts";
import { openTunnel } from "../../ssh/tunnel.ts";
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

/** Opens a tunnel to a machine that never comes to be: nobody connects to it here. */
async function open(machine: string, ownPort = port): Promise<string> {
  const { dockerHost } = openRunTunnel(ownPort, {
    host: pulumi.output(never<string>()),
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

  it("refuses a port that the run of another stack holds, and names the setting", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "run-tunnel-"));
    const ends = (stack: string) => [
      { from: { socket: path.join(folder, stack, "docker.sock") }, to: "/var/run/docker.sock" },
      { from: { port }, to: "/var/run/postgresql/.s.PGSQL.5432" },
    ];
    try {
      await openTunnel(never(), ends("left"));
      await expect(openTunnel(never(), ends("right"))).rejects.toThrow(
        `port ${port} on this computer: is taken, it should be free. Choose another with: pulumi config set tunnelPort 25432`,
      );
    } finally {
      await rm(folder, { recursive: true });
    }
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
