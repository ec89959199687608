import { readdir, readFile as readBytes, writeFile as writeBytes } from "node:fs/promises";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { SCRIPTS } from "../../contract/scripts.ts";
import { publishRevision } from "../../sandbox/images/build.ts";
import { spacesFolder } from "../../sandbox/spaces/s3-servers.ts";
import { TestCloud } from "../e2e/harness.ts";
import { leaksOf, ProcessWatch, secretsOf } from "../e2e/leaks.ts";
import { readFile, readRow, writeFile, writeRow } from "../e2e/probe.ts";
import { succeeded } from "../e2e/succeeded.ts";
import { stepByStep } from "../steps.ts";
import { deletion } from "./bucket-deletion.ts";

const STACK = "files";
const BUCKETS = /^convex-files-(exports|files|modules|search|snapshot-imports)-[0-9a-z]{8}$/;

let cloud: TestCloud;
let processes: ProcessWatch;

beforeAll(async () => {
  cloud = await TestCloud.start();
  processes = new ProcessWatch();
  const settings = { size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", protectData: "false", backups: "spaces" };
  await cloud.createStack(STACK, settings);
});

afterAll(async () => {
  await processes[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

const url = async () => (await cloud.outputs(STACK))["backendUrl"] ?? "";
const droplet = async (command: string) => succeeded(await cloud.onDroplet(STACK, command)).trim();
const preview = () => cloud.pulumi(["preview", "--stack", STACK]);
const unset = (key: string) => cloud.pulumi(["config", "rm", "--stack", STACK, key]);
const bucketFolder = (region = "nyc3") => path.join(spacesFolder(cloud.home), region, "buckets");
const buckets = async (region = "nyc3") => readdir(bucketFolder(region)).catch(() => []);

async function newestPoint(): Promise<string> {
  succeeded(await cloud.operate("backup", STACK, ["now"]));
  const { stdout } = await cloud.operate("backup", STACK, ["--format", "json"]);
  return (JSON.parse(stdout) as { points: { name: string }[] }).points[0]?.name ?? "";
}

/** The objects of the bucket with stored files, by their paths on this computer. */
async function objects(): Promise<string[]> {
  const [bucket = ""] = (await buckets()).filter((name) => name.startsWith("convex-files-files-"));
  const found = await readdir(path.join(bucketFolder(), bucket), { recursive: true, withFileTypes: true });
  // The server's own files are in hidden folders, and it keeps the deletions of the probe as files.
  return found
    .filter(({ parentPath, name }) => !parentPath.includes("/.") && !name.startsWith("convex-droplet-probe"))
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}

// One stack; each test continues where the one before ended.
describe("a stack with its files in buckets", () => {
  stepByStep();
  let file = "";
  let adminKey = "";
  let point = "";

  it("is not started with a server that the backend cannot reach", async () => {
    await cloud.configure(STACK, "fileStorage", "s3");
    await cloud.configure(STACK, "fileEndpoint", "https://s3.nowhere.example");
    await cloud.configure(STACK, "fileBucketPrefix", "mine");
    await cloud.configureSecretly(STACK, "fileAccessKey", "nobody");
    await cloud.configureSecretly(STACK, "fileSecretKey", "a-secret-key-of-nobody");
    const previewed = await preview();
    expect(previewed.exitCode).not.toBe(0);
    expect(previewed.all).toMatch(
      /fileEndpoint: https:\/\/s3\.nowhere\.example has a name that does not exist, it should be/,
    );
    const failed = await cloud.up(STACK);
    expect(failed.exitCode).not.toBe(0);
    expect(failed.all).toMatch(/fileStorage: s3\.nowhere\.example does not resolve inside of the backend's network/);
    expect(failed.all).not.toContain("Container convex-backend ");
  });

  it("is not started with a key that is refused", async () => {
    await cloud.configure(STACK, "fileEndpoint", "https://nyc3.digitaloceanspaces.com");
    const failed = await cloud.up(STACK);
    expect(failed.exitCode).not.toBe(0);
    expect(failed.all).toContain("fileStorage: nyc3.digitaloceanspaces.com refuses the key.");
    expect(failed.all).not.toContain("a-secret-key-of-nobody");
    expect(failed.all).not.toContain("Container convex-backend ");
  });

  it("keeps files in buckets of its own, and nothing of them on the volume", async () => {
    for (const key of ["fileEndpoint", "fileBucketPrefix", "fileAccessKey", "fileSecretKey"]) await unset(key);
    await cloud.configure(STACK, "fileStorage", "spaces");
    succeeded(await cloud.up(STACK));
    adminKey = (await cloud.outputs(STACK))["adminKey"] ?? "";
    expect((await buckets()).filter((name) => BUCKETS.test(name))).toHaveLength(5);
    await writeRow(await url(), "who", "me");
    file = await writeFile(await url(), "in a bucket");
    expect(await readFile(await url(), file)).toBe("in a bucket");
    expect((await objects()).map((name) => path.basename(name))).toEqual([file]);
    expect(await droplet("find /mnt/convex/data/storage -type f ! -name '.*'")).toBe("");
  });

  it("is unchanged by a second up, has no drift, is healthy, and shows where its files are", async () => {
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
    succeeded(await cloud.operate("doctor", STACK));
    expect((await cloud.operate("status", STACK)).stdout).toMatch(/files +in buckets at nyc3\.digitaloceanspaces\.com/);
    const again = succeeded(await cloud.up(STACK, "--replace", "**convex-buckets"));
    expect(again).toMatch(/buckets\.sh: unchanged/);
  });

  it("shows its keys nowhere but in root's own files", async () => {
    const secrets = await secretsOf(cloud, STACK);
    // Both are parts of buckets' names.
    delete secrets["convex-bucket-suffix.result"];
    delete secrets["convex-file-buckets-suffix.result"];
    expect(Object.keys(secrets)).toContain("convex-file-key.secretKey");
    expect(await leaksOf(cloud, STACK, processes, secrets)).toEqual([]);
  });

  it("passes a drill, which finds an object that is gone", async () => {
    point = await newestPoint();
    expect(succeeded(await cloud.operate("drill", STACK))).toContain("the backups can be restored: convex-");
    const lost = await writeFile(await url(), "to be lost");
    succeeded(await cloud.operate("backup", STACK, ["now"]));
    const object = (await objects()).find((name) => path.basename(name) === lost) ?? "";
    const [bucket = ""] = (await buckets()).filter((name) => name.startsWith("convex-files-files-"));
    await droplet(deletion(path.relative(path.join(bucketFolder(), bucket), object)));
    const failed = await cloud.operate("drill", STACK);
    expect(failed.exitCode).not.toBe(0);
    expect(failed.all).toMatch(new RegExp(`file ${lost}: is missing in bucket convex-files-files-`));
    // The copy before the loss has it.
    expect(succeeded(await cloud.operate("restore", STACK, ["--files"]))).toContain("put back 1 objects");
    expect(await readFile(await url(), lost)).toBe("to be lost");
    succeeded(await cloud.operate("drill", STACK));
  });

  it("finds with a drill a copy of an object that cannot be read, although the bucket has the object", async () => {
    const before = await packs();
    await writeFile(await url(), "whose copy is damaged");
    await droplet(`bash ${SCRIPTS}/backups/objects.sh copy now`);
    const added = (await packs()).filter((pack) => !before.includes(pack));
    expect(added).not.toEqual([]);
    const whole = new Map(await Promise.all(added.map(async (pack) => [pack, await readBytes(pack)] as const)));
    for (const [pack, content] of whole) await writeBytes(pack, Buffer.from(content).fill(0, 0, content.length / 2));
    const failed = await cloud.operate("drill", STACK);
    for (const [pack, content] of whole) await writeBytes(pack, content);
    expect(failed.exitCode).not.toBe(0);
    expect(failed.all).toMatch(/file \S+: cannot be read from the copy of the buckets/);
  });

  it("is restored to a point before, with its files", async () => {
    const planned = await cloud.operate("restore", STACK, ["--to", point]);
    expect(planned.all).toMatch(/Lost: +[1-9]\d* versions of documents and 1 files that are newer/);
    expect(planned.all).toMatch(/^Files: {3}stay in the buckets at nyc3\.digitaloceanspaces\.com/m);
    succeeded(await cloud.operate("restore", STACK, ["--to", point, "--yes"]));
    expect(await readFile(await url(), file)).toBe("in a bucket");
  });

  it("tries another backend image on a copy that cannot reach the buckets", async () => {
    const { backend, dashboard } = await publishRevision(cloud.home, { metadataVersion: 129 });
    await cloud.configure(STACK, "backendImage", backend);
    await cloud.configure(STACK, "dashboardImage", dashboard);
    const upgraded = succeeded(await cloud.up(STACK));
    expect(upgraded).toContain("the files are in buckets, which the copy cannot reach, so no stored file was read");
    expect(await readFile(await url(), file)).toBe("in a bucket");
  });

  it("keeps its files when the droplet is replaced", async () => {
    succeeded(await cloud.up(STACK, "--replace", "**convex-droplet"));
    expect(await readFile(await url(), file)).toBe("in a bucket");
    expect(await readRow(await url(), "who")).toBe("me");
    expect((await cloud.outputs(STACK))["adminKey"]).toBe(adminKey);
  });

  it("neither moves its files to the volume nor to other buckets: a preview refuses that", async () => {
    await cloud.configure(STACK, "fileRegion", "ams3");
    const region = await preview();
    expect(region.exitCode).not.toBe(0);
    expect(region.all).toMatch(/fileStorage: is in Spaces in ams3, but the instance has its files in Spaces in nyc3/);
    // Also without a preview: otherwise, the buckets with the files are deleted once there are others.
    const moved = await cloud.up(STACK);
    expect(moved.exitCode).not.toBe(0);
    expect(moved.all).toMatch(/fileStorage: is in Spaces in ams3, but the instance has its files in Spaces in nyc3/);
    expect(await buckets("ams3")).toEqual([]);
    await unset("fileRegion");
    succeeded(await cloud.up(STACK));
    expect(await readFile(await url(), file)).toBe("in a bucket");
    await cloud.configure(STACK, "fileStorage", "volume");
    const refused = await preview();
    expect(refused.exitCode).not.toBe(0);
    expect(refused.all).toMatch(
      /fileStorage: is on the volume, but the instance has its files in Spaces in nyc3 .* Set it back with: npm run sandbox -- pulumi config set --stack files fileStorage spaces && .*docs\/file-storage\.md/,
    );
    // Also without a preview, before anything was changed.
    expect((await cloud.up(STACK)).exitCode).not.toBe(0);
    expect(await readFile(await url(), file)).toBe("in a bucket");
  });

  it("leaves no bucket and no key when it is destroyed, and then begins with its files on the volume", async () => {
    await cloud.configure(STACK, "fileStorage", "spaces");
    await expectDestroyed();
    await cloud.configure(STACK, "fileStorage", "volume");
    succeeded(await cloud.up(STACK));
    expect(await readRow(await url(), "who")).toBeUndefined();
    const stored = await writeFile(await url(), "on the volume");
    expect(await droplet(`cat /mnt/convex/data/storage/files/${stored}`)).toBe("on the volume");
    expect((await buckets()).filter((name) => BUCKETS.test(name))).toEqual([]);
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
  });

  it("cannot go the other way either, also not with a new droplet", async () => {
    await cloud.configure(STACK, "fileStorage", "spaces");
    const refused = await preview();
    expect(refused.all).toMatch(/fileStorage: is in Spaces in nyc3, but the instance has its files on the volume/);
    expect((await cloud.up(STACK)).exitCode).not.toBe(0);
    expect((await buckets()).filter((name) => BUCKETS.test(name))).toEqual([]);
    const replaced = await cloud.up(STACK, "--replace", "**convex-droplet");
    expect(replaced.exitCode).not.toBe(0);
    expect(replaced.all).toMatch(/fileStorage: is in Spaces in nyc3, but the instance has its files on the volume/);
    await cloud.configure(STACK, "fileStorage", "volume");
    succeeded(await cloud.up(STACK));
    expect(await readFile(await url(), (await objectsOnVolume())[0] ?? "")).toBe("on the volume");
  });

  it("is destroyed without anything left", expectDestroyed);
});

/** What restic has written to the bucket of the backups, by the paths on this computer. */
async function packs(): Promise<string[]> {
  const [bucket = ""] = (await buckets()).filter((name) => name.includes("-backups-"));
  const folder = path.join(bucketFolder(), bucket, "files", "data");
  return (await readdir(folder, { recursive: true, withFileTypes: true }))
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath, entry.name));
}

async function expectDestroyed(): Promise<void> {
  succeeded(await cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", STACK]));
  expect((await buckets()).filter((name) => name.startsWith("convex-"))).toEqual([]);
  const { keys } = (await (await cloud.cloud("GET", "/v2/spaces/keys")).json()) as { keys: unknown[] };
  expect(keys).toEqual([]);
}

async function objectsOnVolume(): Promise<string[]> {
  return (await droplet("ls /mnt/convex/data/storage/files")).split("\n");
}
