import { readFile, stat, writeFile } from "node:fs/promises";
import path from "node:path";

import { describe, expect, it, onTestFinished } from "vitest";

import { startCloud, stopCloud } from "../../sandbox/cloud/daemon.ts";
import { cloudToken } from "../../sandbox/cloud/token.ts";
import type { SandboxHome } from "../../sandbox/home.ts";
import { waitFor } from "../../sandbox/wait-for.ts";
import type { Call, Json } from "./cloud-harness.ts";
import { caller, temporaryHome } from "./cloud-harness.ts";

const FAKE_MAIN = path.join(import.meta.dirname, "cloud-fake-main.ts");

async function startedHome() {
  const home = await temporaryHome();
  onTestFinished(async () => {
    await stopCloud(home);
    await home[Symbol.asyncDispose]();
  });
  await startCloud(home, FAKE_MAIN);
  return { home, call: await callerOf(home) };
}

async function callerOf(home: SandboxHome): Promise<Call> {
  return caller(`http://127.0.0.1:${home.apiPort}`, await cloudToken(home));
}

async function pidOf(home: SandboxHome): Promise<number> {
  const answer = await fetch(`http://127.0.0.1:${home.apiPort}/_control/health`);
  return ((await answer.json()) as { pid: number }).pid;
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
}

describe("the daemon", () => {
  it("starts once, logs its address, and stops", async () => {
    const { home, call } = await startedHome();
    const pid = await pidOf(home);
    expect((await call("GET", "/v2/account")).status).toBe(200);
    await startCloud(home, FAKE_MAIN);
    expect(await pidOf(home)).toBe(pid);
    const log = path.join(home.root, "cloud", "log");
    expect(await readFile(log, "utf8")).toMatch(
      new RegExp(`^\\S+ The cloud of ${home.root} is ready at http://127.0.0.1:${home.apiPort}$`, "m"),
    );
    expect(await readFile(log, "utf8")).not.toContain(await cloudToken(home));
    expect((await stat(log)).mode & 0o777).toBe(0o600);
    await stopCloud(home);
    await waitFor("the process to be gone", 10, () => !isAlive(pid));
    await stopCloud(home);
  });

  it("shows why it cannot start", async () => {
    const { home } = await startedHome();
    await stopCloud(home);
    await writeFile(path.join(home.root, "cloud", "state.json"), '{"format": 9}');
    await expect(startCloud(home, FAKE_MAIN)).rejects.toThrow(/state\.json: has format 9, must have 1/);
  });

  it("does not kill another process whose id is in its pid file", async () => {
    const { home } = await startedHome();
    await stopCloud(home);
    await writeFile(path.join(home.root, "cloud", "pid"), `${process.pid}\n`);
    await stopCloud(home);
    expect(isAlive(process.pid)).toBe(true);
    await startCloud(home, FAKE_MAIN);
    expect(await pidOf(home)).not.toBe(process.pid);
  });

  it("loses nothing that it answered if it is killed under load", async () => {
    const { home, call } = await startedHome();
    const load = { created: new Set<string>(), deleted: new Set<string>() };
    for (const answers of [15, 40, 90]) {
      const before = load.created.size;
      const workers = [1, 2, 3, 4].map((worker) => writeUntilItDies(call, `r${answers}-w${worker}`, load));
      await waitFor(`${answers} new volumes`, 10, () => load.created.size >= before + answers);
      process.kill(await pidOf(home), "SIGKILL");
      await Promise.all(workers);
      await startCloud(home, FAKE_MAIN);
      await expectConsistent(call, load);
    }
  });
});

/** Makes volumes until no answer comes. Deletes every third one, and makes a droplet for every fifth one. */
async function writeUntilItDies(call: Call, prefix: string, load: { created: Set<string>; deleted: Set<string> }) {
  try {
    for (let number = 1; ; number++) {
      const name = `${prefix}-${number}`;
      const { status, body } = await call("POST", "/v2/volumes", { name, region: "fra1", size_gigabytes: 1 });
      if (status === 429) continue;
      expect(status).toBe(201);
      load.created.add(name);
      if (number % 5 === 0) {
        const droplet = { name, region: "fra1", size: "s-1vcpu-1gb", image: "debian-13-x64", volumes: [body.volume] };
        await call("POST", "/v2/droplets", droplet);
      } else if (number % 3 === 0) {
        load.created.delete(name);
        const answer = await call("DELETE", `/v2/volumes?name=${name}&region=fra1`);
        if (answer.status === 204) load.deleted.add(name);
      }
    }
  } catch (error) {
    // fetch reports a lost connection as a TypeError; any other error is a failure.
    if (!(error instanceof TypeError)) throw error;
  }
}

async function expectConsistent(call: Call, load: { created: Set<string>; deleted: Set<string> }): Promise<void> {
  const all = async (list: string): Promise<Json[]> => {
    const items: Json[] = [];
    for (let page = 1; ; page++) {
      const { status, body } = await call("GET", `/v2/${list}?per_page=200&page=${page}`);
      expect(status).toBe(200);
      items.push(...(body[list] as unknown as Json[]));
      if (items.length >= Number(body.meta?.total)) return items;
    }
  };
  await waitFor("all actions to end", 10, async () =>
    (await all("actions")).every((action) => (action.status as unknown) !== "in-progress"),
  );
  expect((await all("actions")).filter((action) => (action.status as unknown) !== "completed")).toEqual([]);

  const volumes = (await all("volumes")) as unknown as { id: string; name: string; droplet_ids: number[] }[];
  const names = volumes.map((volume) => volume.name);
  expect(new Set(names).size).toBe(names.length);
  expect([...load.created].filter((name) => !names.includes(name))).toEqual([]);
  expect([...load.deleted].filter((name) => names.includes(name))).toEqual([]);

  const droplets = (await all("droplets")) as unknown as { id: number; volume_ids: string[]; status: string }[];
  expect(droplets.filter((droplet) => droplet.status !== "active")).toEqual([]);
  const attached = volumes.flatMap(({ id, droplet_ids: [droplet] }) => (droplet === undefined ? [] : [[droplet, id]]));
  const holding = droplets.flatMap((droplet) => droplet.volume_ids.map((id) => [droplet.id, id]));
  expect(new Set(attached.map(String))).toEqual(new Set(holding.map(String)));
}
