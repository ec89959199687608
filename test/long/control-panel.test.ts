import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { eventually, type Run, TestCloud } from "../e2e/harness.ts";
import { stepByStep } from "../steps.ts";

const STACK = "panel";

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK);
  const up = await cloud.up(STACK);
  expect(up.exitCode, up.all).toBe(0);
});

afterAll(() => cloud[Symbol.asyncDispose]());

interface Thing {
  id: string | number;
  name: string;
}

/** The stack's resource of a kind. Those that the account has from the start have other names. */
async function own<T>(kind: string, route = `/v2/${kind}`): Promise<T & Thing> {
  const { [kind]: found = [] } = (await (await cloud.cloud("GET", route)).json()) as Record<string, (T & Thing)[]>;
  const [thing] = found.filter(({ name }) => name.startsWith(`convex-${STACK}`));
  if (thing === undefined) throw new Error(`no ${kind}`);
  return thing;
}

interface Droplet {
  status: string;
  size_slug: string;
  disk: number;
  volume_ids: string[];
}

const droplet = () => own<Droplet>("droplets");

/** Runs actions as a person does in the control panel, and waits for each to end. */
async function act(route: string, ...actions: object[]): Promise<void> {
  for (const action of actions) {
    const response = await cloud.cloud("POST", `${route}/actions`, action);
    expect(response.ok, await response.clone().text()).toBe(true);
    const { action: begun } = (await response.json()) as { action: { id: number } };
    await eventually("the action to end", 60, async () => {
      const { action: now } = (await (await cloud.cloud("GET", `/v2/actions/${begun.id}`)).json()) as {
        action: { status: string };
      };
      expect(now.status).toBe("completed");
    });
  }
}

interface Look {
  exitCode: number;
  found: string[];
  repairs: string[];
}

async function drift(): Promise<Look> {
  const { exitCode, stdout, all } = await cloud.operate("drift", STACK, ["--format", "json", "--ignore", "backups"]);
  expect(stdout, all).not.toBe("");
  const { findings, unknown } = JSON.parse(stdout) as {
    findings: { path: string; message: string; repair: string }[];
    unknown: string[];
  };
  expect(unknown).toEqual([]);
  return {
    exitCode,
    found: findings.map(({ path, message }) => `${path}: ${message}`),
    repairs: findings.map(({ repair }) => repair),
  };
}

const CLEAN: Look = { exitCode: 0, found: [], repairs: [] };

async function follow(printed: string): Promise<void> {
  const run = await cloud.typed(printed);
  expect(run.exitCode, run.all).toBe(0);
}

async function refused(...args: string[]): Promise<Run> {
  const run = await cloud.pulumi([...args, "--stack", STACK]);
  expect(run.exitCode).not.toBe(0);
  return run;
}

// Each test continues where the one before ended.
stepByStep();

it("a preview refuses a size with a smaller disk, and the droplet keeps running", async () => {
  await cloud.configure(STACK, "size", "s-1vcpu-2gb");
  const { all } = await refused("preview");
  expect(all).toContain("convex-droplet:size: s-1vcpu-2gb has a disk of 50 GB, it should have at least the 80 GB");
  const { id, status } = await droplet();
  expect(status).toBe("active");
  expect(await (await cloud.cloud("GET", `/v2/droplets/${id}/actions`)).json()).toMatchObject({
    actions: [{ type: "create" }],
  });
  await cloud.configure(STACK, "size", "s-2vcpu-4gb");
});

describe("a change in the control panel", () => {
  it("that cannot be undone is reported, refused with the fix, and taken over", async () => {
    const [volume, machine] = [await own("volumes"), await droplet()];
    await act(`/v2/volumes/${volume.id}`, { type: "resize", size_gigabytes: 150 });
    await act(
      `/v2/droplets/${machine.id}`,
      ...[{ type: "power_off" }, { type: "resize", size: "s-4vcpu-8gb", disk: true }, { type: "power_on" }],
    );
    await eventually("the droplet to be up", 60, async () => {
      expect((await cloud.onDroplet(STACK, "systemctl is-active docker")).stdout).toBe("active");
    });
    const { repairs } = await eventually("drift to find only the two sizes", 60, async () => {
      const look = await drift();
      expect(look.found).toEqual([
        "cloud.convex-droplet.size: is s-4vcpu-8gb, it should be s-2vcpu-4gb",
        "cloud.convex-volume.size: is 150, it should be 100",
      ]);
      return look;
    });

    const refresh = await refused("up", "--refresh", "--yes", "--skip-preview");
    expect(refresh.all).toContain(
      "convex-droplet:volumeSizeGb: 100 is below 150, the size of volume convex-panel-data",
    );
    expect(refresh.all).not.toContain("can only be expanded");
    await cloud.configure(STACK, "volumeSizeGb", "150");
    expect((await refused("preview")).all).toContain("convex-droplet:volumeSizeGb: the volume already has 150 GB");

    await follow(repairs[1] ?? "");
    const { stdout } = await cloud.onDroplet(STACK, "df --output=size -BG /mnt/convex | tail -1");
    expect(Number.parseInt(stdout)).toBeGreaterThan(140);
    await follow((repairs[0] ?? "").split("; or")[0] ?? "");
    expect(await droplet()).toMatchObject({ id: machine.id, status: "active", size_slug: "s-4vcpu-8gb", disk: 160 });
  });

  it("that can be undone is undone by the one command that drift names, on the same droplet", async () => {
    const [machine, volume] = [await droplet(), await own("volumes")];
    const key = await own("ssh_keys", "/v2/account/keys");
    const project = await own("projects");
    await cloud.cloud("PUT", `/v2/account/keys/${key.id}`, { name: "another" });
    await cloud.cloud("PATCH", `/v2/projects/${project.id}`, { name: "another" });
    await cloud.cloud("POST", "/v2/projects/default/resources", { resources: [`do:droplet:${machine.id}`] });
    await cloud.cloud("DELETE", `/v2/firewalls/${(await own("firewalls")).id}`);
    const resources = [{ resource_id: String(machine.id), resource_type: "droplet" }];
    await cloud.cloud("DELETE", "/v2/tags/convex-droplet/resources", { resources });
    await act(`/v2/droplets/${machine.id}`, { type: "enable_ipv6" });
    await act(`/v2/volumes/${volume.id}`, { type: "detach", droplet_id: machine.id });

    const { stdout } = await cloud.operate("drift", STACK);
    for (const line of [
      'cloud.convex-droplet.tags: missing ["convex-droplet"]',
      `cloud.convex-droplet.volumeIds: missing ["${volume.id}"]`,
      "cloud.convex-firewall: is not there, it should be",
      "cloud.convex-project.name: is another, it should be convex-panel",
      `cloud.convex-project-resources.resources[0]: missing "do:droplet:${machine.id}"`,
      "cloud.convex-ssh-key.name: is another, it should be convex-panel",
    ]) {
      expect(stdout).toContain(line);
    }
    await follow(/^Repair with: (.*)$/m.exec(stdout)?.[1] ?? "");
    expect(await droplet()).toMatchObject({ id: machine.id, volume_ids: [volume.id] });
    // The stack does not declare the account's default project.
    await cloud.cloud("PATCH", `/v2/projects/${project.id}`, { is_default: true });
    await eventually("a clean look", 60, async () => {
      expect(await drift()).toEqual(CLEAN);
    });
  });
});
