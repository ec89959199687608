import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer } from "node:net";

import { expect, it } from "vitest";

import { commandLineOf, endProcess, findProcesses } from "../../sandbox/processes.ts";
import { freePort } from "../free-port.ts";

/** A server with more threads than one, which end after the one that has its command line. */
const SERVER = `
import socket, sys, threading, time
server = socket.create_server(("127.0.0.1", int(sys.argv[1])))
held = bytearray(256 << 20)
for _ in range(64): threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
print("ready", flush=True)
time.sleep(60)
`;

async function startServer(port: number): Promise<number> {
  const server = spawn("python3", ["-c", SERVER, String(port)], { stdio: ["ignore", "pipe", "inherit"] });
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

it("has ended a process only when its port is free", { timeout: 60_000 }, async () => {
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
