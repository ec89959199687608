import { mkdir, writeFile } from "node:fs/promises";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { endedUp } from "./ended-up.ts";
import { eventually, TestCloud } from "./harness.ts";

const STACK = "interrupted";

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK);
});

afterAll(() => cloud[Symbol.asyncDispose]());

async function count(route: string, kind: string): Promise<number> {
  const { [kind]: found = [] } = (await (await cloud.cloud("GET", route)).json()) as Record<string, unknown[]>;
  return found.length;
}

/** Deploys with the command that needs no other one after a kill. */
const up = (...args: string[]) => cloud.operate("up", STACK, ["--yes", "--skip-preview", "--non-interactive", ...args]);

const droplets = () => count("/v2/droplets", "droplets");

// One stack, never repaired by hand: each up continues where the one before was ended.
describe("an up that is ended", () => {
  it("by a kill while the droplet is created leaves a lock that `pulumi cancel` releases, and the next one says so", async () => {
    const killed = await endedUp(cloud, STACK, "kill", "a droplet to be created", async () => (await droplets()) === 1);
    expect(killed.all).not.toContain("convex-droplet created");

    const locked = await cloud.up(STACK);
    expect(locked.exitCode).not.toBe(0);
    expect(locked.all).toContain("the stack is currently locked by 1 lock(s)");
    expect(locked.all).toContain("pulumi cancel");
    const cancel = await cloud.pulumi(["cancel", "--yes", "--stack", STACK]);
    expect(cancel.exitCode, cancel.all).toBe(0);
  });

  it("by Ctrl-C during the setup of the host has first replaced a droplet that is in no state", async () => {
    const interrupted = await endedUp(cloud, STACK, "Ctrl-C", "packages to be installed", (text) =>
      text.includes("host.sh: waiting for cloud-init, which installs packages"),
    );
    expect(interrupted.exitCode).not.toBe(0);
    expect(interrupted.all).toContain("a run was killed while creating it. Deleting it, to create it again");
    expect(await droplets()).toBe(1);
  });

  it("by a kill while containers start has continued after Ctrl-C without other commands", async () => {
    const killed = await endedUp(cloud, STACK, "kill", "the backend to be created", (text) =>
      text.includes("convex-backend creating"),
    );
    expect(killed.all).not.toContain("locked");
    expect(killed.all).not.toContain("convex-dashboard created");
  });

  it("is completed by `npm run up`, which releases the lock itself, with nothing twice and nothing left over", async () => {
    const { exitCode, all } = await up();
    expect(exitCode, all).toBe(0);
    expect(all).toContain("is dead. Starting again.");
    expect(all).toMatch(
      /convex-backend.* is there, so its state no longer notes that a run was killed while creating it/,
    );
    expect(await droplets()).toBe(1);
    expect(await count("/v2/volumes", "volumes")).toBe(1);
    expect(await count("/v2/firewalls", "firewalls")).toBe(1);
    expect(await count("/v2/account/keys", "ssh_keys")).toBe(1);
    const containers = await cloud.onDroplet(STACK, "docker ps --all --format '{{.Names}} {{.State}}' | sort");
    expect(containers.stdout).toBe("convex-backend running\nconvex-dashboard running");
    const { adminKey = "" } = await cloud.outputs(STACK);
    const accepted = await cloud.onDroplet(
      STACK,
      'read -r key; curl -fsS -H "Authorization: Convex $key" http://127.0.0.1:3210/api/check_admin_key',
      `${adminKey}\n`,
    );
    expect(accepted.exitCode, accepted.all).toBe(0);
  });

  it("leaves no warnings after that", async () => {
    const again = await up("--expect-no-changes");
    expect(again.exitCode, again.all).toBe(0);
    expect(again.all).not.toContain("warning");
  });

  it("on another computer leaves a lock, which `npm run up` explains with the command that releases it", async () => {
    const folder = path.join(cloud.home.root, "state/.pulumi/locks/organization/convex-droplet", STACK);
    const lock = { pid: 4711, username: "ann", hostname: "not-here", timestamp: "2026-11-21T10:00:00Z" };
    await mkdir(folder, { recursive: true });
    await writeFile(path.join(folder, "lock.json"), JSON.stringify(lock));
    const locked = await up();
    expect(locked.exitCode).not.toBe(0);
    expect(locked.all).toContain("a run of ann@not-here has worked on it since 2026-11-21T10:00:00Z");
    const [command = ""] = /npm run sandbox -- pulumi cancel --stack \w+/.exec(locked.all) ?? [];
    const cancel = await cloud.typed(command);
    expect(cancel.exitCode, cancel.all).toBe(0);
    const unlocked = await up("--expect-no-changes");
    expect(unlocked.exitCode, unlocked.all).toBe(0);
  });
});

describe("an up that is killed after the cloud's answer and before the state is written", () => {
  const LOST = "lost";

  const counts = (routes: Record<string, string>) =>
    Promise.all(Object.entries(routes).map(([kind, route]) => count(route, kind)));
  const oneMore = (numbers: number[]) => numbers.map((number) => number + 1);

  /**
   * The cloud answers after the CLI is dead, but creates the resources.
   *
   * @param printed  what the CLI must have printed before, because it creates other resources at the same time
   */
  async function killWhile(routes: Record<string, string>, printed = ""): Promise<void> {
    const before = await counts(routes);
    for (const route of Object.values(routes)) {
      await cloud.fault({ kind: "request", method: "POST", path: `^${route}$`, delay_ms: 3000 });
    }
    const areAskedFor = async (text: string) =>
      text.includes(printed) && (await cloud.faultsLeft()).every((left) => left === 0);
    await endedUp(cloud, LOST, "kill", `${Object.keys(routes).join(" and ")} to be asked for`, areAskedFor);
    await eventually("them to be created", 30, async () => {
      expect(await counts(routes)).toEqual(oneMore(before));
    });
    const cancel = await cloud.pulumi(["cancel", "--yes", "--stack", LOST]);
    expect(cancel.exitCode, cancel.all).toBe(0);
  }

  it("is completed by the next one, which finds the resources that are in no state", async () => {
    await cloud.createStack(LOST);
    const keys = { ssh_keys: "/v2/account/keys" };
    const others = { firewalls: "/v2/firewalls", projects: "/v2/projects" };
    const before = await counts({ ...keys, ...others });
    await killWhile(keys, "convex-volume created");
    await killWhile(others);

    const up = await cloud.up(LOST);
    expect(up.exitCode, up.all).toBe(0);
    for (const kind of ["firewall", "project"]) {
      expect(up.all).toContain(`${kind} convex-lost is in the account but not in the stack's state`);
    }
    expect(await counts({ ...keys, ...others })).toEqual(oneMore(before));
  });

  it("reports a volume that is in no state, and does not touch it", async () => {
    const volume = { name: "convex-told-data", region: "nyc3", size_gigabytes: 100 };
    const { volume: found } = (await (await cloud.cloud("POST", "/v2/volumes", volume)).json()) as {
      volume: { id: string };
    };
    await cloud.createStack("told");
    const up = await cloud.up("told");
    expect(up.exitCode).not.toBe(0);
    expect(up.all).toContain(`doctl compute volume delete ${found.id}`);
    expect((await cloud.cloud("GET", `/v2/volumes/${found.id}`)).status).toBe(200);
  });
});
