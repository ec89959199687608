import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { projectFolder } from "../../sandbox/project.ts";
import { run, TestCloud } from "./harness.ts";
import { readRow, writeRow } from "./probe.ts";
import { stepByStep } from "../steps.ts";

/** The recorded stacks had this name, which is part of every URN. */
const STACK = "sandbox";

/** States that earlier releases wrote on a sandbox, with their passphrases, which are used for nothing else. */
const STATES = [
  {
    file: "before-named-values.json",
    passphrase: "h3HiELITqS0uhwbNThbVa1FX81p1DqCzmaPgOhRcFs8",
    steps: [
      // A component, which is nothing but a parent for resources that exist.
      "create Database convex",
      // The scripts run again. They change nothing if nothing differs.
      "update Command convex-acceptance",
      "update Command convex-function-environment",
      "update Command convex-server",
      "update Command convex-setup",
      "update CopyToRemote convex-scripts",
      // The state records that the droplet's disk does not grow.
      "update Droplet convex-droplet",
    ],
  },
];

/** Inputs whose recorded values are the earlier release's: positional arguments, other scripts, a disk that grows. */
const EARLIER_INPUTS = new Set(["create", "source", "resizeDisk"]);

interface Resource {
  urn: string;
  type: string;
  id?: string;
  inputs?: Record<string, unknown>;
  outputs?: Record<string, unknown>;
}

interface State {
  deployment: { resources: Resource[] };
}

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
});

afterAll(() => cloud[Symbol.asyncDispose]());

// Each test continues where the one before ended.
describe.each(STATES)("a stack with the state $file", ({ file, passphrase, steps }) => {
  stepByStep();

  let recorded: State;
  let deployed: State;
  let outputs: Record<string, string>;

  it("plans to replace and delete nothing", async () => {
    const env = { ...cloud.env, PULUMI_CONFIG_PASSPHRASE_FILE: undefined, PULUMI_CONFIG_PASSPHRASE: passphrase };
    const pulumi = async (args: string[], input = "") => {
      const done = await run("pulumi", [...args, "--non-interactive"], projectFolder(cloud.home), { env, input });
      expect(done.exitCode, done.all).toBe(0);
      return done.stdout;
    };
    const text = await readFile(new URL(`states/${file}`, import.meta.url), "utf8");
    recorded = JSON.parse(text) as State;
    await pulumi(["stack", "init", STACK]);
    await pulumi(["stack", "import", "--stack", STACK], text);
    for (const [key, value] of [
      ["size", "s-2vcpu-4gb"],
      ["tunnelPort", "15555"],
      ["backendImage", find(recorded, "convex-backend").inputs?.["image"]],
      ["dashboardImage", find(recorded, "convex-dashboard").inputs?.["image"]],
    ]) {
      await pulumi(["config", "set", "--stack", STACK, String(key), String(value)]);
    }
    await pulumi(["config", "set", "--stack", STACK, "--path", "allowedCidrs[0]", "127.0.0.0/8"]);
    expect(planned(await pulumi(["preview", "--json", "--stack", STACK]))).toEqual(steps);
    await pulumi(["stack", "rm", "--force", "--yes", "--stack", STACK]);
  });

  // What is in the cloud and on the machine is of this release; the state is of the earlier one.
  it("plans the same if its resources exist", async () => {
    await cloud.createStack(STACK, { "allowedCidrs[0]": "127.0.0.0/8" });
    expect(await cloud.up(STACK)).toMatchObject({ exitCode: 0 });
    outputs = await cloud.outputs(STACK);
    await writeRow(outputs["backendUrl"] ?? "", "written", "before");

    deployed = await exported();
    const earlier = path.join(cloud.home.root, "earlier.json");
    await writeFile(earlier, JSON.stringify(asRecorded(deployed, recorded)));
    expect(await cloud.pulumi(["stack", "import", "--stack", STACK, "--file", earlier])).toMatchObject({ exitCode: 0 });
    expect(planned((await cloud.pulumi(["preview", "--json", "--stack", STACK])).stdout)).toEqual(steps);
  });

  it("keeps every resource, output and document in an up", async () => {
    const up = await cloud.up(STACK);
    expect(up.exitCode, up.all).toBe(0);
    expect(up.all).toMatch(/1 created\n.*6 updated\n.*24 unchanged/);
    expect(up.all).not.toMatch(/replaced|deleted/);
    expect(idsOf(await exported())).toEqual(idsOf(deployed));
    expect(await cloud.outputs(STACK)).toEqual(outputs);
    expect(await readRow(outputs["backendUrl"] ?? "", "written")).toBe("before");
  });

  it("is as declared afterwards", async () => {
    const again = await cloud.up(STACK, "--expect-no-changes");
    expect(again.exitCode, again.all).toBe(0);
    const drift = await cloud.operate("drift", STACK);
    expect(drift.exitCode, drift.all).toBe(0);
  });
});

async function exported(): Promise<State> {
  return JSON.parse((await cloud.pulumi(["stack", "export", "--show-secrets", "--stack", STACK])).stdout) as State;
}

/** What a preview plans to do, sorted: operation, type and logical name. */
function planned(preview: string): string[] {
  const { steps } = JSON.parse(preview) as { steps: { op: string; urn: string }[] };
  return steps
    .filter(({ op }) => op !== "same")
    .map(({ op, urn }) => `${op} ${label(urn)}`)
    .toSorted();
}

/** Type and logical name. */
function label(urn: string): string {
  const [type = "", name = ""] = urn.split("::").slice(-2);
  return `${type.split(":").at(-1) ?? ""} ${name}`;
}

function find({ deployment }: State, name: string): Resource {
  const found = deployment.resources.find(({ urn }) => urn.endsWith(`::${name}`));
  if (found === undefined) throw new Error(`the state has no ${name}`);
  return found;
}

/** The ids of all resources that providers have created, by type and logical name. */
function idsOf({ deployment }: State): Record<string, unknown> {
  const created = deployment.resources.filter(({ type, id }) => id !== undefined && !isProvider(type));
  return Object.fromEntries(created.map(({ urn, id }) => [label(urn), id]));
}

function isProvider(type: string): boolean {
  return type.startsWith("pulumi:providers:");
}

/** The recorded resources with their places, options and arguments, and with the ids and values of the deployed ones. */
function asRecorded(deployed: State, recorded: State): State {
  const current = new Map(deployed.deployment.resources.map((resource) => [label(resource.urn), resource]));
  const resources = recorded.deployment.resources.map((resource): Resource => {
    const { id, inputs = {}, outputs = {} } = current.get(label(resource.urn)) ?? resource;
    return {
      ...resource,
      // The recorded resources refer to their provider by its id.
      ...(id === undefined || isProvider(resource.type) ? {} : { id }),
      inputs: withValues(resource.inputs, inputs),
      outputs: withValues(resource.outputs, outputs),
    };
  });
  return { ...deployed, deployment: { ...deployed.deployment, resources } };
}

/** The recorded properties with the values of the deployed ones. */
function withValues(recorded: Record<string, unknown> = {}, deployed: Record<string, unknown>) {
  return Object.fromEntries(
    Object.entries(recorded)
      .filter(([key]) => key in deployed)
      .map(([key, value]) => [key, EARLIER_INPUTS.has(key) ? value : deployed[key]]),
  );
}
