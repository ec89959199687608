import { readdir } from "node:fs/promises";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { spacesFolder } from "../../sandbox/spaces/s3-servers.ts";
import { TestCloud } from "../e2e/harness.ts";
import { readFile, readRow, writeFile, writeRow } from "../e2e/probe.ts";
import { succeeded } from "../e2e/succeeded.ts";
import { stepByStep } from "../steps.ts";
import { deletion } from "./bucket-deletion.ts";

const STACK = "all";

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, {
    ...{ size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", protectData: "false", backups: "spaces" },
    ...{ database: "managed", databaseSize: "db-s-1vcpu-1gb", postgresPoolSize: "8", fileStorage: "spaces" },
  });
});

afterAll(() => cloud[Symbol.asyncDispose]());

const url = async () => (await cloud.outputs(STACK))["backendUrl"] ?? "";

/** Deletes the objects of all stored files with the instance's own key. */
async function loseFiles(): Promise<void> {
  const folder = path.join(spacesFolder(cloud.home), "nyc3", "buckets");
  const [bucket = ""] = (await readdir(folder)).filter((name) => name.startsWith("convex-all-files-"));
  const found = await readdir(path.join(folder, bucket), { recursive: true, withFileTypes: true });
  const objects = found
    .filter((entry) => entry.isFile() && !entry.parentPath.includes("/.") && !entry.name.startsWith("convex-droplet-"))
    .map(({ parentPath, name }) => path.relative(path.join(folder, bucket), path.join(parentPath, name)));
  expect(objects).not.toEqual([]);
  for (const object of objects) succeeded(await cloud.onDroplet(STACK, deletion(object)));
}

// One stack; each test continues where the one before ended.
describe("backups of a stack with a managed database and its files in buckets", () => {
  stepByStep();
  let file = "";
  let point = "";

  it("contain both, as a drill proves", async () => {
    succeeded(await cloud.up(STACK));
    await writeRow(await url(), "first", "one");
    file = await writeFile(await url(), "in a bucket");
    succeeded(await cloud.operate("backup", STACK, ["now"]));
    const { stdout } = await cloud.operate("backup", STACK, ["--format", "json"]);
    point = (JSON.parse(stdout) as { points: { name: string }[] }).points[0]?.name ?? "";
    succeeded(await cloud.operate("drill", STACK));
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
    expect((await cloud.operate("status", STACK)).stdout).toMatch(/copy of the files +\d+ (s|min) ago/);
  });

  it("bring back objects that are gone, and then rows and files of a restore point", async () => {
    await writeRow(await url(), "first", "two");
    await loseFiles();
    const failed = await cloud.operate("drill", STACK);
    expect(failed.exitCode).toBe(1);
    expect(failed.all).toMatch(new RegExp(`file ${file}: is missing in bucket`));
    expect(succeeded(await cloud.operate("restore", STACK, ["--files"]))).toContain("put back 1 objects");
    expect(await readFile(await url(), file)).toBe("in a bucket");
    expect(await readRow(await url(), "first")).toBe("two");
    succeeded(await cloud.operate("drill", STACK));
    succeeded(await cloud.operate("restore", STACK, ["--to", point, "--yes"]));
    expect(await readRow(await url(), "first")).toBe("one");
    expect(await readFile(await url(), file)).toBe("in a bucket");
  });

  it("end with the stack, without anything left", async () => {
    succeeded(await cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", STACK]));
    const left = await readdir(path.join(spacesFolder(cloud.home), "nyc3", "buckets"));
    expect(left.filter((name) => name.startsWith("convex-"))).toEqual([]);
  });
});
