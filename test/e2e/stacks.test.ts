import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { Clone } from "./clone.ts";
import { eventually, TestCloud } from "./harness.ts";
import { readRow, writeRow } from "./probe.ts";
import { stepByStep } from "../steps.ts";

const STACKS = ["one", "two"] as const;

/** A resource in a preview. */
interface Planned {
  urn: string;
  protect?: boolean;
  retainOnDelete?: boolean;
  inputs?: Record<string, unknown>;
}

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
});

afterAll(async () => {
  await cloud[Symbol.asyncDispose]();
});

describe("the stacks that come with the program", () => {
  it("can be previewed in a fresh clone if only the token is set", async () => {
    await using clone = await Clone.make();
    const dev = await plan(clone, "dev");
    const prod = await plan(clone, "prod");

    // In prod, nobody may reach the ports yet, the address is fixed, and there are backups.
    const publicOnly = (name: string) => !name.endsWith("::convex-public-firewall");
    const prodOnly =
      /:Spaces::convex$|::convex-(reserved-ip|backup-passphrase|bucket|bucket-suffix|backup-key|spaces|spaces-key)$/;
    expect([...dev.keys()].filter(publicOnly).sort()).toEqual(
      [...prod.keys()]
        .map((name) => name.replace("-prod", "-dev"))
        .filter((name) => !prodOnly.test(name))
        .sort(),
    );
    expect([dev.size, prod.size]).toEqual([45, 52]);

    expect(whatDiffers(dev)).toEqual({
      size: "s-2vcpu-4gb",
      isVolumeSafe: true,
      isDatabaseSafe: true,
      openPorts: { "22": ["0.0.0.0/0", "::/0"], "3210": ["0.0.0.0/0", "::/0"], "3211": ["0.0.0.0/0", "::/0"] },
      backendBoundTo: ["0.0.0.0", "0.0.0.0"],
      dashboardBoundTo: ["127.0.0.1"],
      backendMemory: 2457,
    });
    expect(whatDiffers(prod)).toEqual({
      size: "s-4vcpu-8gb",
      isVolumeSafe: true,
      isDatabaseSafe: true,
      openPorts: { "22": ["0.0.0.0/0", "::/0"] },
      backendBoundTo: ["127.0.0.1", "127.0.0.1"],
      dashboardBoundTo: ["127.0.0.1"],
      backendMemory: 4915,
    });
  });
});

// Each test continues where the one before ended.
describe("two stacks side by side", () => {
  stepByStep();

  it("are created at the same time", async () => {
    for (const stack of STACKS) {
      await cloud.createStack(stack, { size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8" });
    }
    const runs = await Promise.all(STACKS.map((stack) => cloud.up(stack)));
    for (const { all, exitCode } of runs) {
      expect(all).toContain("45 created");
      expect(exitCode).toBe(0);
    }
  });

  it("both serve their own data on their own machine", async () => {
    const [one, two] = await bothOutputs();
    expect(one["publicIp"]).not.toBe(two["publicIp"]);
    for (const [stack, { backendUrl = "" }] of [["one", one] as const, ["two", two] as const]) {
      await writeRow(backendUrl, "stack", stack);
    }
    expect(await readRow(one["backendUrl"] ?? "", "stack")).toBe("one");
    expect(await readRow(two["backendUrl"] ?? "", "stack")).toBe("two");
  });

  it("accept their own admin key, and not the other's", async () => {
    const [one, two] = await bothOutputs();
    expect(one["instanceName"]).toBe(two["instanceName"]);
    expect(await checkKey(one, one)).toBe(200);
    expect(await checkKey(two, two)).toBe(200);
    expect(await checkKey(one, two)).toBe(401);
    expect(await checkKey(two, one)).toBe(401);
  });

  it("do not see each other's droplets in a run", async () => {
    const looks = await Promise.all(
      STACKS.map((stack) => cloud.pulumi(["preview", "--refresh", "--expect-no-changes", "--stack", stack])),
    );
    for (const { all, exitCode } of looks) {
      expect(all).toContain("45 unchanged");
      expect(exitCode).toBe(0);
    }
  });

  it("can be destroyed separately, even by a run without a tunnel", async () => {
    const [, two] = await bothOutputs();
    const destroy = await cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", "one"], {
      PULUMI_RUN_PROGRAM: "false",
    });
    expect(destroy.exitCode).toBe(0);

    const { droplets } = (await (await cloud.cloud("GET", "/v2/droplets")).json()) as { droplets: { name: string }[] };
    expect(droplets.map(({ name }) => name)).toEqual(["convex-two"]);
    const { volumes } = (await (await cloud.cloud("GET", "/v2/volumes")).json()) as { volumes: { name: string }[] };
    expect(volumes.map(({ name }) => name)).toEqual(["convex-two-data"]);

    await eventually("the other stack to answer", 10, async () => {
      expect(await readRow(two["backendUrl"] ?? "", "stack")).toBe("two");
    });
    const look = await cloud.pulumi(["preview", "--refresh", "--expect-no-changes", "--stack", "two"]);
    expect(look.all).toContain("45 unchanged");
    expect(look.exitCode).toBe(0);
  });
});

/** The resources that a first `up` would create, by logical name. */
async function plan(clone: Clone, stack: string): Promise<Map<string, Planned>> {
  expect((await clone.pulumi(cloud.env, ["stack", "init", stack])).exitCode).toBe(0);
  const { stdout, all, exitCode } = await clone.pulumi(cloud.env, ["preview", "--json", "--stack", stack]);
  expect(exitCode, all).toBe(0);
  const { steps } = JSON.parse(stdout) as { steps: { op: string; newState: Planned }[] };
  expect(steps.filter(({ op }) => op !== "create")).toEqual([]);
  return new Map(steps.map(({ newState }) => [newState.urn.split("::").slice(-2).join("::"), newState]));
}

/** The properties that differ between a development stack and a production stack. */
function whatDiffers(resources: Map<string, Planned>) {
  const found = (name: string) => {
    const resource = [...resources].find(([key]) => key.endsWith(`::convex-${name}`))?.[1];
    if (resource?.inputs === undefined) throw new Error(`convex-${name}: is not planned`);
    return { ...resource, inputs: resource.inputs };
  };
  const isSafe = ({ protect = false, retainOnDelete = false }: Planned) => protect && retainOnDelete;
  const rules = [...resources.values()].flatMap(
    // The stack itself has no inputs.
    ({ inputs = {} }) => (inputs["inboundRules"] ?? []) as { portRange: string; sourceAddresses: string[] }[],
  );
  const addresses = (name: string) => (found(name).inputs["ports"] as { ip: string }[]).map(({ ip }) => ip);
  return {
    size: found("droplet").inputs["size"],
    isVolumeSafe: isSafe(found("volume")),
    isDatabaseSafe: isSafe(found("database")),
    openPorts: Object.fromEntries(rules.map(({ portRange, sourceAddresses }) => [portRange, sourceAddresses])),
    backendBoundTo: addresses("backend"),
    dashboardBoundTo: addresses("dashboard"),
    backendMemory: found("backend").inputs["memory"],
  };
}

async function bothOutputs(): Promise<[Record<string, string>, Record<string, string>]> {
  return [await cloud.outputs("one"), await cloud.outputs("two")];
}

/** The status that a stack's backend answers to a stack's key. */
async function checkKey(backend: Record<string, string>, key: Record<string, string>): Promise<number> {
  const url = `${backend["backendUrl"] ?? ""}/api/check_admin_key`;
  return (await fetch(url, { headers: { authorization: `Convex ${key["adminKey"] ?? ""}` } })).status;
}
