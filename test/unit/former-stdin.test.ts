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

describe("a run that moves the database", () => {
  const SCRIPTS = { managed: "convex-server", droplet: "convex-database-client" } as const;
  const FORMER = "databases=beta\ndatabases=chat shadow replication\ndatabases=shop shadow\n";
  const ALL = [
    { name: "beta", shadow: undefined },
    { name: "chat", shadow: "chat_shadow" },
    { name: "shop", shadow: "shop_shadow" },
  ];

  async function run(database: "droplet" | "managed", databases: typeof ALL, moveDatabase = true): Promise<void> {
    const { refuseRemovalInMove } = await import("../../components/protected-databases.ts");
    const hook = refuseRemovalInMove("convex", { database, databases, moveDatabase });
    expect(hook.opts).toEqual({ onDryRun: true });
    await hook.callback(CREATION);
  }

  it.each(["droplet", "managed"] as const)("to %s is refused without a database that was there", async (place) => {
    state = { [SCRIPTS[place]]: FORMER };
    const refused = run(place, ALL.slice(2));
    await expect(refused).rejects.toThrow(
      "convex-droplet:databases.beta: is not there any more, but this run moves the database, and would leave its data behind. Nothing was changed. " +
        "Set it again, with the options that it had: npx pulumi config set --stack test --path databases.beta.connections 20 && npx pulumi up --stack test; " +
        "confirm the move: npx pulumi config rm --stack test moveDatabase && npx pulumi up --stack test; " +
        "then remove it: npx pulumi config rm --stack test --path databases.beta",
    );
    await expect(refused).rejects.toThrow(/databases\.chat: .* --path databases\.chat\.shadow true /);
  });

  it("is refused without a shadow that was there", async () => {
    state = { "convex-server": FORMER };
    await expect(run("managed", [...ALL.slice(0, 2), { name: "shop", shadow: undefined }])).rejects.toThrow(
      /databases\.shop\.shadow: .* --path databases\.shop\.shadow true .* config rm --stack test --path databases\.shop\.shadow$/,
    );
  });

  it.each([
    ["it takes all along", FORMER, ALL, true],
    ["there was none", "databases=\n", [], true],
    ["there was no server", undefined, [], true],
    ["nothing is to be moved", FORMER, [], false],
  ] as const)("goes on if %s", async (_why, former, databases, moveDatabase) => {
    state = former === undefined ? {} : { "convex-server": former };
    await expect(run("managed", [...databases], moveDatabase)).resolves.toBeUndefined();
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
