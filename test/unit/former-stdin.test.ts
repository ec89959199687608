import { beforeEach, describe, expect, it, vi } from "vitest";

import { mockEngine } from "./program.ts";

const URN = "urn:pulumi:test::convex-droplet::convex-droplet:index:Host$command:remote:Command::";

let state: Record<string, string>;

beforeEach(async () => {
  // The program reads the state once.
  vi.resetModules();
  await mockEngine(undefined, ({ token, inputs }) => {
    expect(token).toBe("pulumi:pulumi:readStackResourceOutputs");
    expect(inputs).toEqual({ stackName: "organization/convex-droplet/test" });
    const found = Object.entries(state).map(([name, stdin]) => [`${URN}${name}`, { outputs: { stdin } }] as const);
    return { outputs: Object.fromEntries(found) };
  });
});

/** What a hook does before a resource is created. */
const CREATION = { urn: "urn", id: "", name: "x", type: "x" };

async function refuseCluster(moveDatabase = false): Promise<void> {
  const { refuseOtherShape } = await import("../../components/database-shape.ts");
  await refuseOtherShape("convex", { database: "managed", moveDatabase }).callback(CREATION);
}

async function refuseBucket(fileRegion: string): Promise<void> {
  const { refuseSwitch } = await import("../../components/storage-switch.ts");
  const wanted = { fileStorage: "spaces", fileRegion, fileEndpoint: "", fileBucketPrefix: "" } as const;
  await refuseSwitch("convex", wanted).callback(CREATION);
}

describe("a database cluster", () => {
  const ON_DROPLET = "environment=POSTGRES_URL=postgresql://convex:x@host.docker.internal:5432\n";
  const IN_CLUSTER = "environment=POSTGRES_URL=postgresql://convex:x@private-db.example.com:25060\n";

  it("is not created for an instance whose database is on the droplet", async () => {
    state = { "convex-rehearsal": ON_DROPLET, "convex-acceptance": "" };
    await expect(refuseCluster()).rejects.toThrow(
      "convex-droplet:database: is managed, but this stack was deployed with droplet",
    );
  });

  it("is created for it if the database is to be moved", async () => {
    state = { "convex-rehearsal": ON_DROPLET, "convex-acceptance": "" };
    await expect(refuseCluster(true)).resolves.toBeUndefined();
  });

  it.each([
    ["there is no instance", {}],
    ["no backend was ever accepted", { "convex-rehearsal": ON_DROPLET }],
    ["somebody has deleted it", { "convex-rehearsal": IN_CLUSTER, "convex-acceptance": "" }],
  ])("is created if %s", async (_why, has) => {
    state = has;
    await expect(refuseCluster()).resolves.toBeUndefined();
  });
});

describe("a bucket for files", () => {
  const IN_NYC3 = "environment=AWS_REGION=nyc3\nenvironment=S3_STORAGE_FILES_BUCKET=convex-test-files-1a2b3c4d\n";

  it.each([
    [IN_NYC3, "ams3", "in Spaces in nyc3"],
    ["environment=INSTANCE_NAME=convex\n", "nyc3", "on the volume"],
  ])("is not created for an instance with %j", async (stdin, region, has) => {
    state = { "convex-rehearsal": stdin, "convex-acceptance": "" };
    await expect(refuseBucket(region)).rejects.toThrow(
      `fileStorage: is in Spaces in ${region}, but the instance has its files ${has} since`,
    );
  });

  it.each([
    ["there is no instance", {}],
    ["no backend was ever accepted", { "convex-rehearsal": "environment=INSTANCE_NAME=convex\n" }],
    ["somebody has deleted it", { "convex-rehearsal": IN_NYC3, "convex-acceptance": "" }],
  ])("is created if %s", async (_why, has) => {
    state = has;
    await expect(refuseBucket("nyc3")).resolves.toBeUndefined();
  });
});
