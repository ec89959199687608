import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";

import { expect, it } from "vitest";

import { commandLineOf, endProcess, findProcesses } from "../../sandbox/processes.ts";
import { freePort } from "../free-port.ts";

/** A server with more threads than the one whose end takes the command line away, and with memory to give back. */
const SERVER = `
const { Worker } = require("node:worker_threads");
const held = Buffer.alloc(256 << 20, 1);
for (let index = 0; index < 4; index++) new Worker("setTimeout(() => {}, 60_000)", { eval: true });
require("node:net").createServer().listen(Number(process.argv[1]), "127.0.0.1", () => console.log("ready", held.length));
`;

async function startServer(port: number): Promise<number> {
  const server = spawn(process.execPath, ["-e", SERVER, String(port)], { stdio: ["ignore", "pipe", "inherit"] });
  await once(server.stdout, "data");
  return server.pid as number;
}

it("finds a process by its command line, until it has ended", async () => {
  const port = String(await freePort());
  const pid = await startServer(Number(port));
  const search = () => findProcesses((words) => words.at(-1) === port);
  expect(search()).toEqual([pid]);
  await endProcess(pid, 10);
  expect(search()).toEqual([]);
  expect(commandLineOf(pid)).toEqual([]);
  await endProcess(pid, 10);
});

it("has ended a process only when its port is free", async () => {
  const port = await freePort();
  for (let round = 0; round < 5; round++) {
    await endProcess(await startServer(port), 10);
    const next = createServer();
    await once(next.listen(port, "127.0.0.1"), "listening");
    next.close();
    await once(next, "close");
  }
  expect(commandLineOf(process.pid)).not.toEqual([]);
});

it("kills a process that does not end by itself", async () => {
  const stubborn = spawn("bash", ["-c", "trap '' TERM; echo ready; while :; do sleep 0.1; done"]);
  await once(stubborn.stdout, "data");
  await endProcess(stubborn.pid as number, 0.2);
  expect(commandLineOf(stubborn.pid as number)).toEqual([]);
});
