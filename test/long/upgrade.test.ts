import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { Revision } from "../../sandbox/images/backend/revision.ts";
import { type PublishedImages, publishRevision } from "../../sandbox/images/build.ts";
import { contentsOf } from "../e2e/contents.ts";
import { eventually, TestCloud } from "../e2e/harness.ts";
import { leaksOf, ProcessWatch, secretsOf } from "../e2e/leaks.ts";
import { readFile, readRow, writeFile, writeRow } from "../e2e/probe.ts";
import { stepByStep } from "../steps.ts";
import { succeeded } from "../e2e/succeeded.ts";

const STACK = "upgrade";
const NEWER = { metadataVersion: 129 };

let cloud: TestCloud;
let processes: ProcessWatch;

beforeAll(async () => {
  cloud = await TestCloud.start();
  processes = new ProcessWatch();
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", backups: "spaces" });
});

afterAll(async () => {
  await processes[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

const url = async () => (await cloud.outputs(STACK))["backendUrl"] ?? "";
const droplet = async (command: string) => succeeded(await cloud.onDroplet(STACK, command)).trim();
const running = () => droplet("docker inspect --format '{{.Id}} {{.State.StartedAt}}' convex-backend");
const image = () => droplet("docker inspect --format '{{.Config.Image}}' convex-backend");

/** What a rehearsal makes on the droplet, and removes. */
const leftovers = () =>
  droplet(
    "ls -d /mnt/convex/rehearsal /run/convex-droplet-rehearsal /run/convex-droplet-beside 2> /dev/null; " +
      "docker ps --all --quiet --filter name=convex-rehearsal; findmnt --noheadings --list --source convex-rehearsal; " +
      "systemctl list-units --no-legend 'convex-backups-beside*' 'backups-beside*'; true",
  );

async function use({ backend, dashboard }: PublishedImages): Promise<void> {
  await cloud.configure(STACK, "backendImage", backend);
  await cloud.configure(STACK, "dashboardImage", dashboard);
}

const upgrade = async (difference: Revision) => {
  await use(await publishRevision(cloud.home, difference));
  return cloud.up(STACK);
};

/** Types what a script has printed for a real cloud, in the sandbox's form. */
const typed = (printed: string) =>
  cloud.typed(
    printed
      .replaceAll("npx pulumi", "npm run sandbox -- pulumi")
      .replaceAll(/npm run (restore|ssh) --/g, "npm run sandbox -- $1"),
  );

// One stack; each test continues where the one before ended.
describe("a new backend image", () => {
  stepByStep();
  let original = "";
  let file = "";

  beforeAll(async () => {
    succeeded(await cloud.up(STACK));
    await Promise.all(["one", "two", "three"].map(async (key) => writeRow(await url(), key, key)));
    file = await writeFile(await url(), "a file");
    succeeded(await cloud.operate("backup", STACK, ["now"]));
    original = await image();
  });

  it("is shown before, and so is that there is none", async () => {
    const check = () => cloud.operate("upgrade", STACK, ["--check"]);
    const none = await check();
    expect([none.exitCode, none.stdout]).toEqual([
      0,
      expect.stringMatching(/^Serves: .*@sha256:.*\n.*\nNothing to upgrade\.$/),
    ]);
    const newer = await publishRevision(cloud.home, NEWER);
    await use({ ...newer, backend: newer.backend.replace(/[0-9a-f]{64}$/, "0".repeat(64)) });
    const missing = await check();
    expect(missing.exitCode).toBe(1);
    expect(missing.stdout).toMatch(/\nRefused: {4}backendImage: \S+@sha256:0+ cannot be pulled: no such manifest/);
    const serves = await running();
    const unpulled = await cloud.up(STACK);
    expect(unpulled.exitCode).not.toBe(0);
    expect(unpulled.all).toMatch(
      /backendImage: \S+@sha256:0+ cannot be pulled, for the reason below\. No container was/,
    );
    expect(await running()).toBe(serves);
    await use({ ...newer, backend: newer.backend.replace(/@.*/, ":latest") });
    expect(await check()).toMatchObject({ exitCode: 1, all: expect.stringContaining("should be pinned") as unknown });

    await use(newer);
    const before = [await running(), await leftovers()];
    const planned = await check();
    expect(planned.exitCode, planned.all).toBe(2);
    expect(planned.stdout).toMatch(
      /revision [0-9a-f]{40}, version 128 of the tables\nSet: .*\nRehearsal: .* needs 1\.\d GiB on the volume/,
    );
    expect(planned.stdout).toMatch(
      /a restore point is made\n[^]*Upgrade with: npm run sandbox -- pulumi up --stack upgrade$/,
    );
    expect([await running(), await leftovers()]).toEqual(before);
  });

  it("that loses a row is refused on a copy; the old one serves all the time, and nothing is left", async () => {
    const before = [await running(), await contentsOf(droplet)];
    const refused = await upgrade({ ...NEWER, fault: "loses-row" });
    expect(refused.exitCode).not.toBe(0);
    expect(refused.all).toContain("the new backend has lost documents: 3 of 4 are left");
    expect(refused.all).toContain("backendImage: did not pass on a copy of the data, see above. Nothing was changed");
    expect([await running(), await contentsOf(droplet)]).toEqual(before);
    expect(await leftovers()).toBe("");
  });

  it("that was refused is not used by the command that repairs the container either", async () => {
    const before = await contentsOf(droplet);
    const dashboard = await droplet("docker inspect --format '{{.Config.Image}}' convex-dashboard");
    await droplet("docker rm --force convex-backend");
    const drift = await cloud.operate("drift", STACK);
    const [, repair = ""] = /^Repair with: (.*)$/m.exec(drift.stdout) ?? [];
    const refused = await cloud.typed(repair);
    expect(refused.exitCode, repair).not.toBe(0);
    expect(refused.all).toContain("Nothing was changed, and no backend serves");
    await use({ backend: original, dashboard });
    succeeded(await cloud.typed(repair));
    expect(await image()).toBe(original);
    expect(await contentsOf(droplet, before.until)).toEqual(before);
  });

  it("beside a dashboard of another revision is refused, with the right one", async () => {
    const { dashboard } = await publishRevision(cloud.home, NEWER);
    const other = await publishRevision(cloud.home, NEWER, "backend");
    const before = await running();
    const check = () => cloud.operate("upgrade", STACK, ["--check"]);
    await use(other);
    const both = await check();
    expect([both.exitCode, both.stdout]).toEqual([2, expect.stringContaining(`\nDashboard:  ${other.dashboard}\n`)]);
    await use({ backend: other.backend, dashboard });
    const refused = await cloud.up(STACK);
    expect(refused.exitCode).not.toBe(0);
    expect(refused.all).toMatch(/dashboardImage: is not of revision [0-9a-f]{40}, it should be that of the backend\./);
    expect(refused.all).toContain(`npx pulumi config set dashboardImage ${other.dashboard}`);
    // Its images are on the droplet now.
    const planned = await check();
    expect(planned.exitCode).toBe(1);
    expect(planned.stdout).toMatch(/\nRefused: {4}dashboardImage: is not of revision [0-9a-f]{40},/);
    expect(await running()).toBe(before);
  });

  describe("that fails only after the swap", () => {
    const swapped = () => upgrade({ ...NEWER, fault: "ends-in-network" });
    /** The container and when it started, so that a run which only refuses the image shows that it has touched nothing. */
    let served = "";
    let refusal = "";
    const triedAgain = () => typed(/to try this image again: (.*)$/.exec(refusal)?.[1] ?? "");
    const undoing = () =>
      eventually("the data to be put back", 120, async () => {
        expect(await droplet("docker ps --all --quiet --filter name=convex-backend-refused")).not.toBe("");
      });

    it("is undone by itself, with the data of before and the reason", async () => {
      const before = await contentsOf(droplet);
      const failed = await swapped();
      expect(failed.exitCode).not.toBe(0);
      expect(failed.all).toMatch(
        /the new backend image passes: version 129 of the tables, 4 documents unchanged, restore point convex-/,
      );
      [refusal = ""] =
        /backendImage: \S+ was put in place and did not serve, so it was undone.*$/m.exec(failed.all) ?? [];
      expect(refusal).toMatch(/undone \(backend: has ended \d+ times in a row, waiting longer would not help\)/);
      expect(refusal).toContain(
        "npm run ssh -- --stack upgrade rm /mnt/convex/refused && npx pulumi up --stack upgrade ",
      );
      expect(await image()).toBe(original);
      expect(await contentsOf(droplet, before.until)).toEqual(before);
      expect(await readRow(await url(), "one")).toBe("one");
      expect(await droplet("docker ps --all --format '{{.Names}}' | sort")).toBe("convex-backend\nconvex-dashboard");
      served = await running();
    });

    it("is refused by each further up, also with a refresh, and drift says why", async () => {
      for (const options of [[], ["--refresh", "--run-program"]]) {
        const again = await cloud.up(STACK, ...options);
        expect(again.exitCode).not.toBe(0);
        expect(again.all).toContain(refusal);
        expect(await running()).toBe(served);
        const drift = await cloud.operate("drift", STACK);
        expect(drift.stdout).toContain(refusal);
        expect(drift.stdout).not.toMatch(/Repair with|docker rm|disconnect/);
      }
    });

    it("leaves an instance on which the printed commands set the previous image", async () => {
      const before = await contentsOf(droplet);
      const [, commands = ""] = /To keep the previous image: (npx .*?)\. If /.exec(refusal) ?? [];
      expect(commands).toContain(`backendImage ${original} --stack ${STACK} && `);
      succeeded(await typed(commands));
      expect(await image()).toBe(original);
      expect(await contentsOf(droplet, before.until)).toEqual(before);
      succeeded(await cloud.up(STACK, "--expect-no-changes"));
      expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
    });

    it("is tried again by the printed command, and undone by the next up if a kill stops that", async () => {
      const before = await contentsOf(droplet);
      await use(await publishRevision(cloud.home, { ...NEWER, fault: "ends-in-network" }));
      expect((await cloud.up(STACK)).all).toContain("was put in place and did not serve");
      const killed = triedAgain();
      await undoing();
      await droplet("pkill -KILL -f '[c]onvex/backend.sh|[b]ackups/restore.sh'");
      expect((await killed).exitCode).not.toBe(0);

      const next = await cloud.up(STACK);
      expect(next.exitCode).not.toBe(0);
      expect(next.all).toContain("the new backend does not serve; putting the previous image and the data of convex-");
      expect(await image()).toBe(original);
      expect(await contentsOf(droplet, before.until)).toEqual(before);
      expect(await droplet("docker ps --all --format '{{.Names}}' | sort")).toBe("convex-backend\nconvex-dashboard");
    });

    it("is undone first if a power cut stops that and another image is set, by the printed commands", async () => {
      const before = await contentsOf(droplet);
      const cut = triedAgain();
      await undoing();
      await cloud.switchDroplet("off");
      await cloud.switchDroplet("on");
      expect((await cut).exitCode).not.toBe(0);

      await use(await publishRevision(cloud.home, NEWER));
      const planned = await cloud.operate("upgrade", STACK, ["--check"]);
      expect([planned.exitCode, planned.stdout]).toEqual([1, expect.stringContaining("is being undone")]);
      const refused = await cloud.up(STACK);
      expect(refused.exitCode).not.toBe(0);
      const [, commands = ""] = /Finish it first, with the previous images: (.*); then set/.exec(refused.all) ?? [];
      succeeded(await typed(commands));
      expect(await image()).toBe(original);
      expect(await contentsOf(droplet, before.until)).toEqual(before);
      expect(await droplet("docker ps --all --format '{{.Names}}' | sort")).toBe("convex-backend\nconvex-dashboard");
      succeeded(await cloud.up(STACK, "--expect-no-changes"));
    });
  });

  it("goes through after a rehearsal that was killed, with the same data, and nothing is left", async () => {
    const before = await contentsOf(droplet);
    const killed = upgrade(NEWER);
    // In one command, because the rehearsal's backend is there for some seconds only.
    await droplet(
      "for _ in {1..600}; do [[ -z $(docker ps --quiet --filter name='convex-rehearsal$') ]] || break; sleep 0.1; done; pkill -KILL -f '[r]ehearse.sh'",
    );
    expect((await killed).exitCode).not.toBe(0);
    expect(await leftovers()).not.toBe("");
    expect(await readRow(await url(), "two")).toBe("two");

    const up = succeeded(await cloud.up(STACK));
    expect(up).toContain("the new backend image passes: version 129 of the tables, 4 documents unchanged");
    expect(await image()).not.toBe(original);
    expect(await contentsOf(droplet, before.until)).toEqual(before);
    expect(await readFile(await url(), file)).toBe("a file");
    expect(await leftovers()).toBe("");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
  });

  it("shows no secret", async () => {
    // The suffix of the bucket's name is no secret.
    const { "convex-bucket-suffix.result": suffix, ...secrets } = await secretsOf(cloud, STACK);
    expect(suffix).not.toBe("");
    expect(await leaksOf(cloud, STACK, processes, secrets)).toEqual([]);
  });
});
