import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { eventually, TestCloud } from "../e2e/harness.ts";
import { readFile, readRow, writeFile, writeRow } from "../e2e/probe.ts";
import { succeeded } from "../e2e/succeeded.ts";
import { stepByStep } from "../steps.ts";

const STACK = "stateless";
const REFRESH = ["--refresh", "--run-program"];

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, {
    ...{ size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", protectData: "false" },
    ...{ database: "managed", databaseSize: "db-s-1vcpu-1gb", postgresPoolSize: "8", fileStorage: "spaces" },
  });
});

afterAll(() => cloud[Symbol.asyncDispose]());

const url = async () => (await cloud.outputs(STACK))["backendUrl"] ?? "";

/** Deletes the only thing of its kind behind Pulumi's back. */
async function lose(kind: "droplets" | "volumes"): Promise<void> {
  const route = `/v2/${kind}`;
  const answer = (await (await cloud.cloud("GET", route)).json()) as Record<string, { id: number | string }[]>;
  expect(answer[kind]).toHaveLength(1);
  const one = `${route}/${answer[kind]?.[0]?.id ?? ""}`;
  await eventually(`${one} to be deleted`, 60, async () => {
    expect((await cloud.cloud("DELETE", one)).status).toBe(204);
  });
  await eventually(`${one} to be gone`, 60, async () => {
    expect((await cloud.cloud("GET", one)).status).toBe(404);
  });
}

// One stack; each test continues where the one before ended.
describe("a stack with a managed database and its files in buckets", () => {
  stepByStep();
  let file = "";
  let adminKey = "";

  /** The one run that brings it back, and what has to be as before. */
  async function expectBack(what: string): Promise<void> {
    const started = Date.now();
    succeeded(await cloud.up(STACK, ...REFRESH));
    const backend = await url();
    await eventually("the backend to answer", 60, async () => {
      expect(await readRow(backend, "kept")).toBe("through it all");
    });
    process.stdout.write(`${what}: serves again after ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
    expect(await readFile(backend, file)).toBe("a stored file");
    expect((await cloud.outputs(STACK))["adminKey"]).toBe(adminKey);
    await writeRow(backend, what, "written after it");
    expect(await readRow(backend, what)).toBe("written after it");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    succeeded(await cloud.operate("drift", STACK));
  }

  it("comes up by one up, and is as declared", async () => {
    succeeded(await cloud.up(STACK));
    adminKey = (await cloud.outputs(STACK))["adminKey"] ?? "";
    await writeRow(await url(), "kept", "through it all");
    file = await writeFile(await url(), "a stored file");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
    expect((await cloud.operate("status", STACK)).stdout).toMatch(/backups +are DigitalOcean's own of the database/);
  });

  it("loses nothing with its droplet", async () => {
    await lose("droplets");
    await expectBack("a lost droplet");
  });

  it("loses nothing with its droplet and its volume", async () => {
    await lose("droplets");
    await lose("volumes");
    await expectBack("a lost droplet and volume");
  });

  it("is destroyed without anything left", async () => {
    succeeded(await cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", STACK]));
    for (const kind of ["databases", "droplets", "volumes"]) {
      const left = (await (await cloud.cloud("GET", `/v2/${kind}`)).json()) as Record<string, unknown[] | null>;
      expect(left[kind] ?? []).toEqual([]);
    }
  });
});
