import { readdir, readFile } from "node:fs/promises";
import path from "node:path";

import { describe, expect, it } from "vitest";

import { CHECKOUT, readWorkflow, runJob, type Step, type Workflow, WORKFLOWS } from "../contract/workflows-runner.ts";

const NAMES = await readdir(WORKFLOWS);
const REUSABLE = ["drift.yml", "drill.yml", "preview.yml", "up.yml"];

const steps = (workflow: Workflow): Step[] => Object.values(workflow.jobs).flatMap((job) => job.steps);

it("are the project's own checks and four workflows for users to call", () => {
  expect(NAMES.toSorted()).toEqual(["ci.yml", "long.yml", ...REUSABLE].toSorted());
});

describe.each(NAMES)("%s", (name) => {
  it("uses only one action, which is pinned by its commit and stores no token", async () => {
    const uses = (await readFile(path.join(WORKFLOWS, name), "utf8")).match(/uses: .*/g);
    expect(new Set(uses)).toEqual(
      new Set(["uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2"]),
    );
    for (const step of steps(await readWorkflow(name)).filter((step) => step.uses !== undefined)) {
      expect(step.with).toEqual({ "persist-credentials": false });
    }
  });

  it("has no permissions except those of its jobs, and each job has a timeout", async () => {
    const { permissions, jobs } = await readWorkflow(name);
    expect(permissions).toEqual({});
    for (const job of Object.values(jobs)) {
      expect(job.permissions["contents"]).toBe("read");
      expect(job["timeout-minutes"]).toBeLessThanOrEqual(360);
    }
  });

  it("puts no expression into a command", async () => {
    for (const { run = "" } of steps(await readWorkflow(name))) expect(run).not.toContain("${{");
  });
});

describe.each(REUSABLE)("%s", (name) => {
  const SECRETS = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    // A drill asks only the droplet.
    ...(name === "drill.yml" ? [] : ["DIGITALOCEAN_TOKEN"]),
    "PULUMI_ACCESS_TOKEN",
    "PULUMI_BACKEND_URL",
    "PULUMI_CONFIG_PASSPHRASE",
  ];

  it("can only be called", async () => {
    expect(Object.keys((await readWorkflow(name)).on)).toEqual(["workflow_call"]);
  });

  it("gives its secrets only to the steps that run Pulumi", async () => {
    const workflow = await readWorkflow(name);
    const declared = Object.keys((workflow.on["workflow_call"] as { secrets: object }).secrets);
    expect(declared.toSorted()).toEqual(SECRETS);
    for (const job of Object.values(workflow.jobs)) expect(JSON.stringify(job.env)).not.toContain("secrets.");
    for (const { name: step, env = {} } of steps(workflow)) {
      const given = Object.keys(env).filter((variable) => env[variable]?.startsWith("${{ secrets."));
      expect(given.toSorted()).toEqual(["Preview", "Deploy", "Check for drift", "Drill"].includes(step) ? SECRETS : []);
      for (const variable of given) expect(env[variable]).toBe(`\${{ secrets.${variable} }}`);
    }
  });
});

// Their steps are the tests themselves, so no test can run them. Tests run the steps of the other workflows unchanged.
it.each([
  ["ci.yml", ["check", "test"]],
  ["long.yml", ["test:long"]],
])("%s calls package scripts that exist", async (workflow, expected) => {
  const manifest = JSON.parse(await readFile(path.join(CHECKOUT, "package.json"), "utf8")) as { scripts: object };
  const commands = steps(await readWorkflow(workflow)).map(({ run = "" }) => run);
  const scripts = commands.flatMap((run) => /^npm (?:run )?([\w:]+)$/.exec(run)?.[1] ?? []);
  expect(scripts).toEqual(expected);
  expect(Object.keys(manifest.scripts)).toEqual(expect.arrayContaining(scripts));
});

it.each(["preview.yml", "up.yml"])(
  "%s prepares the app of its caller before it runs Pulumi, and fails with it",
  async (name) => {
    const prepare = async (command?: string) => {
      const inputs = { stack: "dev", ...(command === undefined ? {} : { prepare: command }) };
      const { steps: ran } = await runJob(name, CHECKOUT, { inputs }, { PATH: process.env["PATH"] }, ["Prepare"]);
      return ran["Prepare"];
    };
    expect(await prepare()).toEqual({ exitCode: 0, all: "" });
    expect(await prepare("echo one; false; echo two")).toEqual({ exitCode: 1, all: "one" });
    const names = steps(await readWorkflow(name)).map((step) => step.name);
    expect(names.indexOf("Prepare")).toBe(names.indexOf("Install the packages") + 1);
  },
);

it("never cancels a deployment of a stack for another one", async () => {
  const { jobs } = await readWorkflow("up.yml");
  expect(jobs["up"]?.concurrency).toEqual({
    group: "convex-droplet-up-${{ inputs.stack }}",
    "cancel-in-progress": false,
  });
});

it("does not preview a pull request from a fork", async () => {
  const { jobs } = await readWorkflow("preview.yml");
  expect(jobs["preview"]?.if).toBe("github.event.pull_request.head.repo.full_name == github.repository");
});

it("gives each job only the permissions that it needs", async () => {
  const asked = await Promise.all(
    REUSABLE.map(async (name) => Object.values((await readWorkflow(name)).jobs).map((job) => job.permissions)),
  );
  expect(asked).toEqual([
    [{ contents: "read", issues: "write" }],
    [{ contents: "read" }],
    [{ contents: "read", "pull-requests": "write" }],
    [{ contents: "read" }],
  ]);
});
