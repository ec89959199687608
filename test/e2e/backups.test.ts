import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { Availability } from "./availability.ts";
import { contentsOf } from "./contents.ts";
import { Runbook } from "./documents.ts";
import { eventually, TestCloud } from "./harness.ts";
import { leaksIn, leaksOf, ProcessWatch, secretsOf } from "./leaks.ts";
import { readFile, readRow, writeFile, writeRow } from "./probe.ts";
import { stepByStep } from "../steps.ts";
import { succeeded } from "./succeeded.ts";

const STACK = "backups";

let cloud: TestCloud;
let processes: ProcessWatch;
let runbook: Runbook;

beforeAll(async () => {
  runbook = await Runbook.read(STACK);
  cloud = await TestCloud.start();
  processes = new ProcessWatch();
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", backups: "spaces" });
});

afterAll(async () => {
  await processes[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

const url = async () => (await cloud.outputs(STACK))["backendUrl"] ?? "";
const backup = (...args: string[]) => cloud.operate("backup", STACK, args);
const restore = (...args: string[]) => cloud.operate("restore", STACK, args);
/** Runs the next command of the runbook as it stands there. */
const follow = (moment?: string) => cloud.typed(runbook.next(moment));
const droplet = async (command: string) => succeeded(await cloud.onDroplet(STACK, command)).trim();

const contents = (until?: string) => contentsOf(droplet, until);

/** Destroys droplet and volume as somebody does in the control panel. */
async function destroyInCloud(): Promise<void> {
  for (const kind of ["droplets", "volumes"] as const) {
    const listed = (await (await cloud.cloud("GET", `/v2/${kind}`)).json()) as Record<string, { id: string }[]>;
    const id = listed[kind]?.[0]?.id ?? "none";
    await eventually(`${kind} to be gone`, 60, async () => {
      const { status } = await cloud.cloud("DELETE", `/v2/${kind}/${id}`);
      expect([204, 404]).toContain(status);
      expect((await cloud.cloud("GET", `/v2/${kind}/${id}`)).status).toBe(404);
    });
  }
}

// One stack; each test continues where the one before ended. They run the runbook's commands in their order.
describe("a stack with backups", () => {
  stepByStep();
  let file = "";
  let wayBack = "";
  let adminKey = "";

  it("has a restore point and a backup after its up, and a second up changes nothing", async () => {
    succeeded(await cloud.up(STACK));
    adminKey = (await cloud.outputs(STACK))["adminKey"] ?? "";
    await writeRow(await url(), "first", "one");
    file = await writeFile(await url(), "a file");
    succeeded(await backup("now"));
    const listed = succeeded(await follow());
    expect(listed).toMatch(/ full +20/);
    expect(listed).toMatch(/convex-\d{8}T\d{6}Z +\d{4}-/);
    expect(listed).toMatch(/can be restored, for example: npm run sandbox -- restore --stack backups --to latest$/);
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it("is restored to a moment between two writes, with a short stop, and keeps what it replaced", async () => {
    const before = await contents();
    await new Promise((resolve) => setTimeout(resolve, 1100));
    const moment = await droplet("date --utc +%Y-%m-%dT%H:%M:%S.%3NZ");
    await writeRow(await url(), "first", "two");
    await writeFile(await url(), "another file");
    succeeded(await backup("now"));
    const after = await contents();
    expect(after).not.toEqual(before);

    const planned = await follow(moment);
    expect(planned.exitCode).toBe(2);
    expect(planned.all).toMatch(/Lost: +[1-9]\d* versions of documents and 1 files that are newer/);
    expect(await contents()).toEqual(after);

    const availability = new Availability(`${await url()}/version`, `${await url()}/version`);
    const next = runbook.next(moment);
    expect(planned.stdout).toContain(`Nothing was changed. Restore with: ${next}`);
    const restored = await cloud.typed(next);
    availability.stop();
    wayBack = /^To go back to what was here before.*: (npm .*)$/m.exec(succeeded(restored))?.[1] ?? "";
    expect(restored.stdout).toContain(`remove it with: npm run sandbox -- restore --stack ${STACK} --forget`);
    console.log(`a restore in place stopped the API for ${availability.moved().gap.toFixed(1)} s`);
    expect(await contents(before.until)).toEqual(before);
    expect(await readRow(await url(), "first")).toBe("one");
    expect((await cloud.outputs(STACK))["adminKey"]).toBe(adminKey);
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
  });

  it("is restored forwards again, to what the first restore has replaced", async () => {
    succeeded(await cloud.typed(wayBack));
    expect(await readRow(await url(), "first")).toBe("two");
    expect(succeeded(await backup("list"))).toContain(
      "can be restored, except some that a restore, reset, copy or move-in",
    );
    succeeded(await follow());
    expect(await droplet("ls -d /mnt/convex/*before* /mnt/convex/postgresql/*/*before* 2> /dev/null || true")).toBe("");
  });

  it.each([
    ["2020-01-01T00:00:00Z", /is before the oldest backup, it should be after/],
    ["2999-01-01T00:00:00Z", /is in the future, it should be at most 20\S+Z, the newest restore point/],
    ["yesterday", /it should be latest, the name of a restore point, or a moment/],
    ["convex-20200101T000000Z", /there is no restore point convex-20200101T000000Z/],
    ["", /--to: is not given/],
  ])("refuses to restore to %j, and changes nothing", async (to, message) => {
    const before = await contents();
    const refused = await restore("--to", to, "--yes");
    expect(refused.exitCode).toBe(1);
    expect(refused.all).toMatch(message);
    expect(await contents()).toEqual(before);
  });

  it("passes a drill, without any change to the instance", async () => {
    succeeded(await backup("now"));
    const before = await contents();
    const started = performance.now();
    expect(succeeded(await cloud.operate("drill", STACK))).toContain("the backups can be restored: convex-");
    console.log(`a drill took ${Math.round((performance.now() - started) / 1000)} s`);
    expect(await contents()).toEqual(before);
    expect(await droplet("ls /mnt/convex/backups")).not.toContain("drill\n");
  });

  it("is served while its bucket cannot be reached, and makes restore points again after that", async () => {
    await cloud.cloud("POST", "/_control/spaces", { action: "down" });
    await writeRow(await url(), "during", "the outage");
    expect((await cloud.onDroplet(STACK, "systemctl start convex-base-backup.service")).exitCode).not.toBe(0);
    expect(await readRow(await url(), "during")).toBe("the outage");
    await cloud.cloud("POST", "/_control/spaces", { action: "up" });
    await eventually("a restore point", 120, async () => {
      succeeded(await backup("now"));
    });
  });

  it("is restored after droplet and volume were destroyed in the cloud, with the same key", async () => {
    const before = await contents();
    await destroyInCloud();
    const started = performance.now();
    const refused = await follow();
    expect(refused.exitCode).not.toBe(0);
    expect(refused.all).toMatch(/error: the volume is blank, but bucket \S+ has backups of this instance/);
    const restored = succeeded(await follow());
    const start = runbook.next();
    expect(restored).toContain(`Start the instance with: ${start}`);
    succeeded(await cloud.typed(start));
    console.log(`from nothing to serving: ${Math.round((performance.now() - started) / 1000)} s`);
    expect(await contents(before.until)).toEqual(before);
    expect(await readRow(await url(), "first")).toBe("two");
    expect(await readFile(await url(), file)).toBe("a file");
    expect((await cloud.outputs(STACK))["adminKey"]).toBe(adminKey);
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
    // The new volume's own backups can be restored, too.
    succeeded(await backup("now"));
    succeeded(await cloud.operate("drill", STACK));
    succeeded(await restore("--to", "latest", "--yes"));
    expect(await contents(before.until)).toEqual(before);
    // The test of dead droplets runs the last one.
    expect(runbook.left).toHaveLength(1);
  });

  it("shows keys and passphrase of its backups nowhere but in root's own files", async () => {
    // The suffix of the bucket's name is no secret, although a password generates it.
    const { "convex-bucket-suffix.result": suffix, ...secrets } = await secretsOf(cloud, STACK);
    expect(suffix).toMatch(/^[a-z0-9]{8}$/);
    expect(Object.keys(secrets)).toEqual(
      expect.arrayContaining([
        "convex-backup-passphrase.result",
        "convex-spaces-key.secretKey",
        "convex-backup-key.secretKey",
      ]),
    );
    expect(await leaksOf(cloud, STACK, processes, secrets)).toEqual([]);
    // Only the limited key is on the droplet at all.
    const found = await cloud.onDroplet(
      STACK,
      `grep -rsIlF -f - /etc /mnt /root /usr/local /var || true`,
      secrets["convex-spaces-key.secretKey"],
    );
    expect(found.stdout).toBe("");
    expect(leaksIn("the bucket's names", succeeded(await backup()), secrets)).toEqual([]);
  });

  it("has no jobs and no keys on its droplet after backups were switched off, and keeps the data", async () => {
    const before = await contents();
    // One that is stopped in its work has failed, and so has this one.
    const point = "convex-restore-point.service";
    await droplet(
      `systemctl start --no-block ${point}; until systemctl kill ${point} 2> /dev/null; do sleep 0.1; done; until systemctl is-failed ${point}; do sleep 0.1; done`,
    );
    await cloud.configure(STACK, "backups", "off");
    succeeded(await cloud.up(STACK));
    expect(await droplet("ls /etc/systemd/system /etc/convex-droplet /etc/pgbackrest")).not.toMatch(
      /convex-(restore|base|drill)|backups\.env|pgbackrest\.conf/,
    );
    expect(await contents(before.until)).toEqual(before);
    expect((await cloud.operate("backup", STACK)).all).toContain(
      "has no backups. Switch them on with: npm run sandbox -- pulumi config set",
    );
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
  });
});
