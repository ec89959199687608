import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { contentsOf } from "../e2e/contents.ts";
import { eventually, TestCloud } from "../e2e/harness.ts";
import { readFile, readRow, writeFile, writeRow } from "../e2e/probe.ts";
import { stepByStep } from "../steps.ts";
import { succeeded } from "../e2e/succeeded.ts";

const STACK = "snapshots";

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, { "allowedCidrs[0]": "127.0.0.0/8", protectData: "true", volumeSnapshots: "1" });
});

afterAll(() => cloud[Symbol.asyncDispose]());

interface Volume {
  id: string;
  name: string;
  droplet_ids: number[];
}

const url = async () => (await cloud.outputs(STACK))["backendUrl"] ?? "";
const snapshot = (...args: string[]) => cloud.operate("snapshot", STACK, args);
const replaceImage = () => cloud.up(STACK, "--replace", "**convex-backend-image");
const unset = async () => succeeded(await cloud.pulumi(["config", "rm", "volumeSnapshot", "--stack", STACK]));

async function ask<T>(method: string, route: string, body?: object): Promise<T> {
  return (await (await cloud.cloud(method, route, body)).json()) as T;
}

const volumes = async () => (await ask<{ volumes: Volume[] }>("GET", "/v2/volumes")).volumes;

/** The names of all snapshots of the account, the newest first. */
async function names(): Promise<string[]> {
  return (await ask<{ snapshots: { name: string }[] }>("GET", "/v2/snapshots")).snapshots
    .map(({ name }) => name)
    .toReversed();
}

async function isProtected(): Promise<boolean | undefined> {
  const { stdout } = await cloud.pulumi(["stack", "export", "--stack", STACK]);
  const { resources } = (JSON.parse(stdout) as { deployment: { resources: { urn: string; protect?: boolean }[] } })
    .deployment;
  return resources.find(({ urn }) => urn.endsWith("::convex-volume"))?.protect;
}

const contents = (until?: string) =>
  contentsOf(async (command) => succeeded(await cloud.onDroplet(STACK, command)).trim(), until);

// One stack; each test continues where the one before ended.
describe("a stack with snapshots of its volume", () => {
  stepByStep();
  let before = { until: "", rows: "", files: "" };
  let [made, file, adminKey, kept] = ["", "", "", ""];

  it("refuses a snapshot before its first up, because it has no database whose place that one could take", async () => {
    const { id } = (
      await ask<{ volume: Volume }>("POST", "/v2/volumes", { name: "large", region: "nyc3", size_gigabytes: 200 })
    ).volume;
    await ask("POST", `/v2/volumes/${id}/snapshots`, { name: "of-others", tags: ["before-change"] });
    await cloud.configure(STACK, "volumeSnapshot", "of-others");
    const preview = await cloud.pulumi(["preview", "--stack", STACK]);
    expect(preview.exitCode).not.toBe(0);
    expect(preview.all).toContain("volumeSizeGb: 100 is below 200, the size of the volume of snapshot of-others.");
    await cloud.configure(STACK, "volumeSizeGb", "200");
    const again = await cloud.pulumi(["preview", "--stack", STACK]);
    expect(again.exitCode).not.toBe(0);
    expect(again.all).toContain("volumeSnapshot: this stack has no database yet");
    await cloud.configure(STACK, "volumeSizeGb", "100");
    await unset();
  });

  it("makes none in its first up", async () => {
    expect(succeeded(await cloud.up(STACK))).not.toContain("made snapshot");
    expect(await names()).toEqual(["of-others"]);
    expect(succeeded(await snapshot())).toContain("Make one with: npm run sandbox -- snapshot --stack snapshots now");
  });

  it("makes none, and changes nothing, if DigitalOcean refuses, and says how to go on", async () => {
    adminKey = (await cloud.outputs(STACK))["adminKey"] ?? "";
    await writeRow(await url(), "key", "before");
    file = await writeFile(await url(), "a file");
    before = await contents();
    await cloud.configure(STACK, "volumeSizeGb", "110");
    await cloud.fault({ kind: "request", method: "POST", path: "/snapshots$", status: 500 });
    const failed = await cloud.up(STACK);
    expect(failed.exitCode).not.toBe(0);
    expect(failed.all).toMatch(
      /volumeSnapshots: the volume has no snapshot from before this change, so the change was not made\..* answered 500 .*go on without a snapshot: npm run sandbox -- pulumi config set --stack \w+ volumeSnapshots 0/,
    );
    expect(await volumes()).toContainEqual(
      expect.objectContaining({ name: "convex-snapshots-data", size_gigabytes: 100 }),
    );
  });

  it("makes one for several risky changes of an up, and uses it again if the next one comes soon", async () => {
    const up = succeeded(await replaceImage());
    made = /made snapshot (\S+) of the volume/.exec(up)?.[1] ?? "none";
    expect(await names()).toEqual([made, "of-others"]);
    expect(succeeded(await replaceImage())).toContain(`kept snapshot ${made} of the volume`);
    expect(await names()).toEqual([made, "of-others"]);
    const refused = await snapshot("now");
    expect([refused.exitCode, refused.all]).toEqual([
      1,
      expect.stringContaining("only one snapshot of a volume in 10 minutes"),
    ]);
  });

  it("goes back to it with a new volume, and keeps the other one", async () => {
    await writeRow(await url(), "key", "after");
    await writeFile(await url(), "another file");
    await cloud.configure(STACK, "volumeSnapshot", "nothing");
    const refused = await cloud.pulumi(["preview", "--stack", STACK]);
    expect(refused.all).toContain(
      `"nothing" is no snapshot of this account, it should be one of a volume in nyc3, such as ${made}`,
    );
    kept = (await volumes()).find(({ name }) => name === "convex-snapshots-data")?.id ?? "";

    await cloud.configure(STACK, "volumeSnapshot", made);
    succeeded(await cloud.up(STACK));
    expect(await contents(before.until)).toEqual(before);
    expect(await readRow(await url(), "key")).toBe("before");
    expect(await readFile(await url(), file)).toBe("a file");
    expect((await cloud.outputs(STACK))["adminKey"]).toBe(adminKey);
    const [old, next] = (await volumes()).filter(({ name }) => name.startsWith("convex-snapshots-data"));
    expect(old).toMatchObject({ id: kept, droplet_ids: [] });
    expect(next?.droplet_ids).toHaveLength(1);
  });

  it("does not change when the setting is removed, and is as declared", async () => {
    await unset();
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect((await cloud.operate("drift", STACK)).stdout).not.toMatch(/error|warning/);
    expect(await isProtected()).toBe(true);
  });

  it("then makes the next one, and removes the oldest that an up made, and no other", async () => {
    succeeded(await snapshot("now"));
    const byCommand = (await names())[0] ?? "";
    expect(succeeded(await replaceImage())).toContain(`kept snapshot ${byCommand} of the volume`);
    succeeded(await snapshot("delete", byCommand));
    const up = succeeded(await replaceImage());
    const [, newest = "none"] = /made snapshot (\S+) of the volume/.exec(up) ?? [];
    expect(up).toContain(`removed snapshot ${made}`);
    expect(await names()).toEqual([newest, "of-others"]);
    const foreign = await snapshot("delete", "of-others");
    expect([foreign.exitCode, foreign.all]).toEqual([
      1,
      expect.stringContaining("is no snapshot that this stack made"),
    ]);
  });

  it("loses its state, and a new stack adopts the volume with everything on it", async () => {
    const lost = await contents();
    const secret = succeeded(await cloud.onDroplet(STACK, "cat /mnt/convex/data/credentials/instance_secret"));
    const own = (await volumes()).find(({ droplet_ids: held }) => held.length > 0) ?? { id: "", name: "" };
    succeeded(await cloud.pulumi(["stack", "rm", STACK, "--force", "--yes"]));
    await cloud.createStack(STACK, {
      "allowedCidrs[0]": "127.0.0.0/8",
      protectData: "true",
      adoptVolume: own.name,
      volumeSizeGb: "110",
    });
    await cloud.configureSecretly(STACK, "instanceSecret", secret);
    const [droplet] = (await ask<{ droplets: { id: number }[] }>("GET", "/v2/droplets")).droplets;
    const refused = await cloud.pulumi(["preview", "--stack", STACK]);
    expect(refused.exitCode).not.toBe(0);
    expect(refused.all).toContain(`doctl compute droplet delete ${droplet?.id ?? ""};`);
    await cloud.switchDroplet("off");
    await cloud.cloud("DELETE", `/v2/droplets/${droplet?.id ?? ""}`);
    await eventually("the volume to be free", 60, async () => {
      expect((await volumes()).map(({ droplet_ids: held }) => held)).not.toContainEqual([droplet?.id]);
    });
    const { projects } = await ask<{ projects: { id: string; name: string }[] }>("GET", "/v2/projects");
    const project = projects.find(({ name }) => name === `convex-${STACK}`)?.id ?? "";
    await cloud.cloud("PATCH", `/v2/projects/${project}`, { name: "lost" });

    const up = succeeded(await cloud.up(STACK));
    expect(up).toContain("3 imported");
    expect(await contents(lost.until)).toEqual(lost);
    expect(await readRow(await url(), "key")).toBe("before");
    expect((await cloud.outputs(STACK))["adminKey"]).toBe(adminKey);
    expect(await volumes()).toContainEqual(expect.objectContaining({ ...own, droplet_ids: [expect.any(Number)] }));
  });

  it("does not change again, and is protected when the setting is removed", async () => {
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    // Its own droplet has the volume then, and is not in the way.
    succeeded(await cloud.pulumi(["preview", "--stack", STACK, "--replace", "**convex-deploy-key"]));
    succeeded(await cloud.pulumi(["config", "rm", "adoptVolume", "--stack", STACK]));
    expect(succeeded(await cloud.up(STACK))).toContain("44 unchanged");
    expect(await isProtected()).toBe(true);
  });
});
