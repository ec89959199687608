import { readdir, readFile } from "node:fs/promises";
import path from "node:path";

import { describe, expect, it } from "vitest";

import { CHECKOUT, readWorkflow, type Step, type Workflow, WORKFLOWS } from "../contract/workflows-runner.ts";

const NAMES = await readdir(WORKFLOWS);
const REUSABLE = ["drift.yml", "preview.yml", "up.yml"];

const steps = (workflow: Workflow): Step[] => Object.values(workflow.jobs).flatMap((job) => job.steps);

it("are the project's own checks and three to be called", () => {
  expect(NAMES.toSorted()).toEqual(["ci.yml", ...REUSABLE].toSorted());
});

describe.each(NAMES)("%s", (name) => {
  it("runs nobody's code but that of one action, pinned by its commit, which leaves no token behind", async () => {
    const uses = (await readFile(path.join(WORKFLOWS, name), "utf8")).match(/uses: .*/g);
    expect(new Set(uses)).toEqual(
      new Set(["uses: actions/checkout@de0fac2e4500dabe0009e67214ff5f5447ce83dd # v6.0.2"]),
    );
    for (const step of steps(await readWorkflow(name)).filter((step) => step.uses !== undefined)) {
      expect(step.with).toEqual({ "persist-credentials": false });
    }
  });

  it("has no permission that a job does not ask for, and ends its jobs in time", async () => {
    const { permissions, jobs } = await readWorkflow(name);
    expect(permissions).toEqual({});
    for (const job of Object.values(jobs)) {
      expect(job.permissions["contents"]).toBe("read");
      expect(job["timeout-minutes"]).toBeLessThanOrEqual(120);
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
    "DIGITALOCEAN_TOKEN",
    "PULUMI_ACCESS_TOKEN",
    "PULUMI_BACKEND_URL",
    "PULUMI_CONFIG_PASSPHRASE",
  ];

  it("can only be called", async () => {
    expect(Object.keys((await readWorkflow(name)).on)).toEqual(["workflow_call"]);
  });

  it("gives the secrets it declares to the steps that run Pulumi, and to no other", async () => {
    const workflow = await readWorkflow(name);
    const declared = Object.keys((workflow.on["workflow_call"] as { secrets: object }).secrets);
    expect(declared.toSorted()).toEqual(SECRETS);
    for (const job of Object.values(workflow.jobs)) expect(JSON.stringify(job.env)).not.toContain("secrets.");
    for (const { name: step, env = {} } of steps(workflow)) {
      const given = Object.keys(env).filter((variable) => env[variable]?.startsWith("${{ secrets."));
      expect(given.toSorted()).toEqual(["Preview", "Deploy", "Check for drift"].includes(step) ? SECRETS : []);
      for (const variable of given) expect(env[variable]).toBe(`\${{ secrets.${variable} }}`);
    }
  });
});

// Its steps are the tests themselves, so no test can run them; those of the others are run as they stand.
it("ci.yml calls package scripts that there are", async () => {
  const manifest = JSON.parse(await readFile(path.join(CHECKOUT, "package.json"), "utf8")) as { scripts: object };
  const commands = steps(await readWorkflow("ci.yml")).map(({ run = "" }) => run);
  const scripts = commands.flatMap((run) => /^npm (?:run )?(\w+)$/.exec(run)?.[1] ?? []);
  expect(scripts).toEqual(["check", "test"]);
  expect(Object.keys(manifest.scripts)).toEqual(expect.arrayContaining(scripts));
});

it("lets no deployment of a stack be cancelled by another", async () => {
  const { jobs } = await readWorkflow("up.yml");
  expect(jobs["up"]?.concurrency).toEqual({
    group: "convex-droplet-up-${{ inputs.stack }}",
    "cancel-in-progress": false,
  });
});

it("previews no pull request of a fork", async () => {
  const { jobs } = await readWorkflow("preview.yml");
  expect(jobs["preview"]?.if).toBe("github.event.pull_request.head.repo.full_name == github.repository");
});

it("asks for each job's least permissions", async () => {
  const asked = await Promise.all(
    REUSABLE.map(async (name) => Object.values((await readWorkflow(name)).jobs).map((job) => job.permissions)),
  );
  expect(asked).toEqual([
    [{ contents: "read", issues: "write" }],
    [{ contents: "read", "pull-requests": "write" }],
    [{ contents: "read" }],
  ]);
});
