import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { Runbook } from "../e2e/documents.ts";
import { startPulumi } from "../e2e/ended-up.ts";
import { eventually, type Run, TestCloud } from "../e2e/harness.ts";
import { readRow, writeRow } from "../e2e/probe.ts";
import { stepByStep } from "../steps.ts";

const STACK = "dead";

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, { "allowedCidrs[0]": "127.0.0.0/8" });
  // As in a terminal that outlived its login.
  const words = ["up", "--yes", "--skip-preview", "--stack", STACK];
  const up = await cloud.pulumi(words, { SSH_AUTH_SOCK: "/nowhere/agent.sock" });
  expect(up.exitCode, up.all).toBe(0);
  await writeRow((await cloud.outputs(STACK))["backendUrl"] ?? "", "kept", "through it all");
});

afterAll(() => cloud[Symbol.asyncDispose]());

const replace = () => cloud.up(STACK, "--replace", "**convex-droplet");

/** A preview takes seconds, unless it waits for a machine that does not answer. */
async function preview(...args: string[]): Promise<Run> {
  const started = Date.now();
  const run = await cloud.pulumi(["preview", "--stack", STACK, ...args]);
  expect(run.exitCode, run.all).toBe(0);
  expect(Date.now() - started).toBeLessThan(60_000);
  return run;
}

async function expectServing(): Promise<void> {
  const { backendUrl = "" } = await cloud.outputs(STACK);
  await eventually("the backend to serve the document that was written first", 60, async () => {
    expect(await readRow(backendUrl, "kept")).toBe("through it all");
  });
}

/** The route of the only thing of its kind, apart from the firewall of the public ports. */
async function only(kind: string, route: string): Promise<string> {
  const { [kind]: listed = [] } = (await (await cloud.cloud("GET", route)).json()) as Record<
    string,
    { id: string | number; name: string }[]
  >;
  const found = listed.filter(({ name }) => !name.endsWith("-public"));
  expect(found).toHaveLength(1);
  return `${route}/${found[0]?.id ?? ""}`;
}

// Each test continues where the one before ended.
stepByStep();

describe("a droplet that is off", () => {
  it("does not block a preview, nor an up that changes nothing", async () => {
    await cloud.switchDroplet("off");
    expect((await preview("--expect-no-changes")).all).toContain("45 unchanged");
    const up = await cloud.up(STACK, "--expect-no-changes");
    expect(up.exitCode, up.all).toBe(0);
  });

  it("is replaced, and its data is kept", async () => {
    expect((await preview("--replace", "**convex-droplet")).all).toContain("to replace");
    const up = await replace();
    expect(up.exitCode, up.all).toBe(0);
    await expectServing();
  });
});

it("a droplet that accepts no SSH connection does not block a preview", async () => {
  const route = await only("firewalls", "/v2/firewalls");
  const { firewall } = (await (await cloud.cloud("GET", route)).json()) as {
    firewall: { inbound_rules: { ports: string }[] };
  };
  const closed = firewall.inbound_rules.filter(({ ports }) => ports !== "22");
  await cloud.cloud("PUT", route, { ...firewall, inbound_rules: closed });
  expect((await preview("--expect-no-changes")).all).toContain("45 unchanged");
  await cloud.cloud("PUT", route, firewall);
});

it("a droplet that does not shut down is switched off and replaced", async () => {
  await cloud.fault({ kind: "action", action: "shutdown" });
  const up = await replace();
  expect(up.exitCode, up.all).toBe(0);
  expect(up.all).toContain("does not shut down. Switching it off");
  await expectServing();
});

it("a droplet that somebody destroyed is created again by the command that drift and the runbook name", async () => {
  await cloud.cloud("DELETE", await only("droplets", "/v2/droplets"));
  await eventually("the droplet to be gone", 60, async () => {
    expect(await (await cloud.cloud("GET", "/v2/droplets")).json()).toMatchObject({ droplets: [] });
  });
  await preview();
  const { stdout } = await cloud.operate("drift", STACK);
  const [, named = ""] = /^Repair with: (.*)$/m.exec(stdout) ?? [];
  expect(named, stdout).toBe((await Runbook.read(STACK)).left.at(-1));
  const up = await cloud.typed(named);
  expect(up.exitCode, up.all).toBe(0);
  await expectServing();
});

it("a droplet that a killed run has deleted is created again by `npm run up`, without another command", async () => {
  await cloud.fault({ kind: "request", method: "DELETE", path: "^/v2/droplets/\\d+$", delay_ms: 3000 });
  const killed = startPulumi(cloud, ["up", "--skip-preview", "--stack", STACK, "--replace", "**convex-droplet"]);
  try {
    await eventually("the droplet to be deleted", 240, async () =>
      (await cloud.faultsLeft()).every((left) => left === 0),
    );
  } finally {
    killed.kill("CLI");
  }
  await killed.ended;
  await eventually("the droplet to be gone", 60, async () => {
    expect(await (await cloud.cloud("GET", "/v2/droplets")).json()).toMatchObject({ droplets: [] });
  });
  const up = await cloud.operate("up", STACK, ["--yes", "--skip-preview", "--non-interactive"]);
  expect(up.exitCode, up.all).toBe(0);
  expect(up.all).toContain("a run was killed while it changed convex-droplet");
  await expectServing();
});

describe("a stack with parts that somebody deleted", () => {
  it("is destroyed by the commands that the failure names, also if its droplet is off", async () => {
    await cloud.switchDroplet("off");
    for (const [kind, route] of [
      ["firewalls", "/v2/firewalls"],
      ["ssh_keys", "/v2/account/keys"],
    ] as const) {
      await cloud.cloud("DELETE", await only(kind, route));
    }
    const destroy = () => cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", STACK]);
    const failed = await destroy();
    expect(failed.exitCode).not.toBe(0);
    const [, target] =
      /convex-firewall: is already gone .*: npm run sandbox -- pulumi refresh --stack \w+ --target '([^']+)'/.exec(
        failed.all,
      ) ?? [];
    expect(target, failed.all).toBeDefined();
    const refresh = await cloud.pulumi([
      ...["refresh", "--yes", "--skip-preview", "--stack", STACK],
      ...["--target", target ?? ""],
    ]);
    expect(refresh.exitCode, refresh.all).toBe(0);
    const destroyed = await destroy();
    expect(destroyed.exitCode, destroyed.all).toBe(0);
    expect(await (await cloud.cloud("GET", "/v2/volumes")).json()).toMatchObject({ volumes: [] });
  });
});
