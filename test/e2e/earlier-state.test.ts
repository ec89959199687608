import { readFile } from "node:fs/promises";

import { afterAll, beforeAll, expect, it } from "vitest";

import { projectFolder } from "../../sandbox/project.ts";
import { run, TestCloud } from "./harness.ts";

/** As it was called there: names in the account derive from it. */
const STACK = "sandbox";

/**
 * States of stacks as earlier commits have deployed them, on a sandbox, with its passphrase, which is used for nothing else.
 * What a change of the program means to those who have such a stack is read from a preview.
 */
const STATES = [
  {
    file: "before-named-values.json",
    passphrase: "h3HiELITqS0uhwbNThbVa1FX81p1DqCzmaPgOhRcFs8",
    // The scripts run again, which change nothing where nothing differs, and the droplet's state learns that its disk stays.
    updated: [
      ...["convex-acceptance", "convex-droplet", "convex-function-environment"],
      ...["convex-scripts", "convex-server", "convex-setup"],
    ],
  },
];

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
});

afterAll(() => cloud[Symbol.asyncDispose]());

it.each(STATES)("$file: replaces nothing, and runs again what it should", async ({ file, passphrase, updated }) => {
  const env = { ...cloud.env, PULUMI_CONFIG_PASSPHRASE_FILE: undefined, PULUMI_CONFIG_PASSPHRASE: passphrase };
  const pulumi = async (args: string[], input = "") => {
    const done = await run("pulumi", [...args, "--non-interactive"], projectFolder(cloud.home), { env, input });
    expect(done.exitCode, done.all).toBe(0);
    return done.stdout;
  };
  const state = await readFile(new URL(`states/${file}`, import.meta.url), "utf8");
  await pulumi(["stack", "init", STACK]);
  await pulumi(["stack", "import", "--stack", STACK], state);
  const { deployment } = JSON.parse(state) as {
    deployment: { resources: { urn: string; inputs: Record<string, unknown> }[] };
  };
  const image = (name: string) => deployment.resources.find(({ urn }) => urn.endsWith(`::${name}`))?.inputs["image"];
  for (const [key, value] of [
    ["size", "s-2vcpu-4gb"],
    ["tunnelPort", "15555"],
    ["backendImage", image("convex-backend")],
    ["dashboardImage", image("convex-dashboard")],
  ]) {
    await pulumi(["config", "set", "--stack", STACK, String(key), String(value)]);
  }
  await pulumi(["config", "set", "--stack", STACK, "--path", "allowedCidrs[0]", "127.0.0.0/8"]);

  const preview = JSON.parse(await pulumi(["preview", "--json", "--stack", STACK])) as {
    steps: { op: string; urn: string }[];
  };
  const steps = preview.steps
    .filter(({ op }) => op !== "same")
    .map(({ op, urn }) => `${op} ${urn.split("::").at(-1) ?? ""}`);
  expect(steps.toSorted()).toEqual(updated.map((name) => `update ${name}`));
});
