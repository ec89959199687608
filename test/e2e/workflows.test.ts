import { copyFile, readFile } from "node:fs/promises";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { projectFolder } from "../../sandbox/project.ts";
import { GitHub, type Issue } from "../contract/workflows-github.ts";
import { type JobResult, packagesAreInstalled, runJob } from "../contract/workflows-runner.ts";
import { Clone } from "./clone.ts";
import { eventually, TestCloud } from "./harness.ts";
import { leaksIn, ProcessWatch, secretsOf } from "./leaks.ts";
import { stepByStep } from "../steps.ts";

const STACK = "delivered";

let cloud: TestCloud;
let github: GitHub;
let repository: Clone;
let processes: ProcessWatch;
let pullRequest: Issue;
let passphrase: string;
/** Everything that steps printed or wrote to a summary. */
let log = "";

beforeAll(async () => {
  cloud = await TestCloud.start();
  github = await GitHub.start();
  processes = new ProcessWatch();
  passphrase = (await readFile(path.join(cloud.home.root, "passphrase"), "utf8")).trim();
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8" });
  repository = await userRepository();
  pullRequest = github.addIssue({ pull_request: {} });
});

afterAll(async () => {
  await repository[Symbol.asyncDispose]();
  await processes[Symbol.asyncDispose]();
  await github[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

/** A checkout of a user's copy of this repository, with the stack's file in it. */
async function userRepository(): Promise<Clone> {
  const clone = await Clone.make();
  await packagesAreInstalled(clone.folder);
  const file = `Pulumi.${STACK}.yaml`;
  await copyFile(path.join(projectFolder(cloud.home), file), path.join(clone.folder, file));
  // Each sandbox has its own images.
  for (const key of ["backendImage", "dashboardImage"]) {
    const { stdout } = await cloud.pulumi(["config", "get", key, "--stack", STACK]);
    const set = await clone.pulumi(cloud.env, ["config", "set", key, stdout, "--stack", STACK]);
    expect(set.exitCode, set.all).toBe(0);
  }
  return clone;
}

/** Runs a workflow as GitHub's runner does: its environment contains the cloud's address and no secrets. */
async function run(workflow: string, secrets: Record<string, string> = {}): Promise<JobResult> {
  const { PULUMI_BACKEND_URL, DIGITALOCEAN_TOKEN, ...runner } = cloud.env;
  const result = await runJob(
    workflow,
    repository.folder,
    {
      inputs: { stack: STACK },
      secrets: {
        PULUMI_BACKEND_URL: PULUMI_BACKEND_URL ?? "",
        DIGITALOCEAN_TOKEN: DIGITALOCEAN_TOKEN ?? "",
        PULUMI_CONFIG_PASSPHRASE: passphrase,
        ...secrets,
      },
      github: { token: github.token, event: { pull_request: { number: pullRequest.number } } },
    },
    { ...runner, ...github.environment, PULUMI_RUN_PROGRAM: undefined, PULUMI_CONFIG_PASSPHRASE_FILE: undefined },
  );
  log +=
    result.summary +
    Object.values(result.steps)
      .map(({ all }) => all)
      .join("\n");
  return result;
}

/** Checks that all steps succeeded; a failure shows the step's output. */
function expectAllWell({ steps }: JobResult, names: string[]): void {
  for (const [name, { exitCode, all }] of Object.entries(steps)) expect(exitCode, `${name}: ${all}`).toBe(0);
  expect(Object.keys(steps)).toEqual(names);
}

const PREVIEW = ["Install the packages", "Prepare", "Preview", "Comment"];
const UP = ["Install the packages", "Prepare", "Deploy", "Check for drift"];
const DRIFT = ["Install the packages", "Check for drift", "Update the issue"];

// Only workflows work on this stack; each test continues where the one before ended.
describe("a stack with workflows", () => {
  stepByStep();

  it("is previewed on a pull request", async () => {
    expectAllWell(await run("preview.yml"), PREVIEW);
    expect(pullRequest.comments).toHaveLength(1);
    expect(pullRequest.comments[0]?.body).toMatch(/\*\*\d+ to create\*\*, 0 unchanged\./);
    expect(pullRequest.comments[0]?.body).toContain(
      "| create | `convex-volume` | `digitalocean:index/volume:Volume` |",
    );
  });

  it("is deployed, and has no drift after that", async () => {
    expectAllWell(await run("up.yml"), UP);
    const { backendUrl = "" } = await cloud.outputs(STACK);
    expect((await fetch(`${backendUrl}/version`)).status).toBe(200);
  });

  it("updates the same comment, with and without changes", async () => {
    expectAllWell(await run("preview.yml"), PREVIEW);
    expect(pullRequest.comments[0]?.body).toMatch(/\*\*Nothing to change\*\*, \d+ unchanged\./);
    await repository.pulumi(cloud.env, ["config", "set", "logLevel", "warn", "--stack", STACK]);
    expectAllWell(await run("preview.yml"), PREVIEW);
    expect(pullRequest.comments).toHaveLength(1);
    expect(pullRequest.comments[0]?.body).toContain("| replace | `convex-backend` |");
    await repository.pulumi(cloud.env, ["config", "set", "logLevel", "info", "--stack", STACK]);
  });

  it("is previewed without a connection to the droplet", async () => {
    await cloud.switchDroplet("off");
    expectAllWell(await run("preview.yml"), PREVIEW);
    await cloud.switchDroplet("on");
    await eventually("the backend", 90, async () => {
      const { backendUrl = "" } = await cloud.outputs(STACK);
      expect((await fetch(`${backendUrl}/version`)).status).toBe(200);
    });
  });

  it("gets one issue while there is drift", async () => {
    expectAllWell(await run("drift.yml"), DRIFT);
    expect(github.issues).toEqual([pullRequest]);

    await cloud.onDroplet(STACK, "docker rm --force convex-dashboard");
    expectAllWell(await run("drift.yml"), DRIFT);
    expect(github.issues[1]).toMatchObject({ title: `Stack ${STACK} has drifted`, state: "open" });
    expect(github.issues[1]?.body).toContain("dashboard");
    expectAllWell(await run("drift.yml"), DRIFT);
    expect(github.issues).toHaveLength(2);
  });

  it("keeps its issue if drift cannot be checked, and its comment shows that a preview failed", async () => {
    const before = structuredClone(github.issues[1]);
    const { steps } = await run("drift.yml", { PULUMI_CONFIG_PASSPHRASE: "not the passphrase" });
    expect(Object.keys(steps)).toEqual(DRIFT.slice(0, 2));
    expect(steps["Check for drift"]?.exitCode).toBe(1);
    expect(github.issues[1]).toEqual(before);

    const preview = await run("preview.yml", { PULUMI_CONFIG_PASSPHRASE: "not the passphrase" });
    expect(preview.steps["Preview"]?.exitCode).not.toBe(0);
    expect(preview.steps["Preview"]?.all).toContain("incorrect passphrase");
    expect(pullRequest.comments[0]?.body).toContain("**The preview failed.**");
  });

  it("is repaired by the next deployment, and its issue closed by the next check", async () => {
    expectAllWell(await run("up.yml"), UP);
    expectAllWell(await run("drift.yml"), DRIFT);
    expect(github.issues).toHaveLength(2);
    expect(github.issues[1]).toMatchObject({ state: "closed" });
  });

  it("shows none of its secrets in a log, a summary, a comment, an issue or a command", async () => {
    const secrets = await secretsOf(cloud, STACK);
    expect(Object.keys(secrets).length).toBeGreaterThan(5);
    expect([
      ...leaksIn("log or summary", log, secrets),
      ...leaksIn("GitHub", JSON.stringify(github.issues), secrets),
      ...leaksIn("command", processes.commandLines, secrets),
    ]).toEqual([]);
    expect(log).not.toContain(github.token);
    expect(processes.commandLines).not.toContain(github.token);
  });
});
