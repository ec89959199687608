import { copyFile, mkdtemp, readdir, readFile, rm, symlink, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { parse } from "yaml";

export const CHECKOUT = path.resolve(import.meta.dirname, "../..");
export const WORKFLOWS = path.join(CHECKOUT, ".github/workflows");

/** The parts of a workflow file that this file reads. */
export interface Workflow {
  on: { workflow_call?: { inputs?: Record<string, { default?: string }> } } & Record<string, unknown>;
  permissions: Record<string, string>;
  jobs: Record<string, Job>;
}

export interface Job {
  if?: string;
  "timeout-minutes": number;
  permissions: Record<string, string>;
  concurrency?: { group: string; "cancel-in-progress": boolean };
  env?: Record<string, string>;
  steps: Step[];
}

export interface Step {
  name: string;
  id?: string;
  if?: string;
  uses?: string;
  with?: Record<string, unknown>;
  env?: Record<string, string>;
  run?: string;
}

/** The values for expressions such as `${{ inputs.stack }}`. */
export interface Contexts {
  inputs: Record<string, string>;
  /** A secret that is not set is empty, as on GitHub. */
  secrets?: Record<string, string>;
  github?: { token: string; event?: { pull_request: { number: number } } };
  /** Outputs of steps that ran before, by id. */
  steps?: Record<string, Record<string, string>>;
}

export interface StepResult {
  exitCode: number;
  /** Stdout and stderr, in the order they came. */
  all: string;
}

/** The results of a job's steps that ran: by name, in their order. */
export interface JobResult {
  steps: Record<string, StepResult>;
  /** The run's summary, from all steps. */
  summary: string;
}

export async function readWorkflow(name: string): Promise<Workflow> {
  return parse(await readFile(path.join(WORKFLOWS, name), "utf8")) as Workflow;
}

/**
 * Runs the one job of a workflow as GitHub's runner does, each `run:` unchanged: expressions in `env` are replaced, a failed
 * step ends the job except for steps with `!cancelled()`, outputs and summaries go through files. Actions are not run: the
 * only one would check out the folder.
 *
 * @param folder  the folder in which the steps run
 * @param env     the runner's environment
 * @param only    the names of the steps to run; default: all
 */
export async function runJob(
  workflow: string,
  folder: string,
  contexts: Contexts,
  env: Record<string, string | undefined>,
  only?: string[],
): Promise<JobResult> {
  const { on, jobs } = await readWorkflow(workflow);
  const [job, ...others] = Object.values(jobs);
  if (job === undefined || others.length > 0) throw new Error(`${workflow}: has not exactly one job`);
  const temporary = env["RUNNER_TEMP"] ?? (await mkdtemp(path.join(tmpdir(), "convex-droplet-runner-")));
  try {
    const outputs = { ...contexts.steps };
    const results: JobResult = { steps: {}, summary: "" };
    let failed = false;
    for (const step of job.steps.filter(({ name }) => only === undefined || only.includes(name))) {
      if (step.run === undefined || (failed && !runsAfterFailure(step))) continue;
      const files = {
        GITHUB_OUTPUT: path.join(temporary, "output"),
        GITHUB_STEP_SUMMARY: path.join(temporary, "summary"),
      };
      for (const file of Object.values(files)) await writeFile(file, "");
      const values = { ...contexts, inputs: { ...defaults(on), ...contexts.inputs }, steps: outputs };
      const { exitCode, all } = await execa("bash", ["-e", "-c", step.run], {
        cwd: folder,
        env: {
          ...env,
          ...evaluated(job.env, values),
          ...evaluated(step.env, values),
          RUNNER_TEMP: temporary,
          ...files,
        },
        all: true,
        reject: false,
      });
      results.steps[step.name] = { exitCode: exitCode ?? 1, all };
      results.summary += await readFile(files.GITHUB_STEP_SUMMARY, "utf8");
      if (step.id !== undefined) outputs[step.id] = outputsIn(await readFile(files.GITHUB_OUTPUT, "utf8"));
      failed ||= exitCode !== 0;
    }
    return results;
  } finally {
    if (env["RUNNER_TEMP"] === undefined) await rm(temporary, { recursive: true, force: true });
  }
}

function defaults(on: Workflow["on"]): Record<string, string> {
  return Object.fromEntries(
    Object.entries(on.workflow_call?.inputs ?? {}).flatMap(([name, input]) =>
      input.default === undefined ? [] : [[name, input.default]],
    ),
  );
}

function runsAfterFailure({ name, if: condition }: Step): boolean {
  if (condition === undefined) return false;
  if (condition === "${{ !cancelled() }}") return true;
  throw new Error(`step ${name}: its condition ${condition} is not known here`);
}

function evaluated(env: Record<string, string> | undefined, values: Contexts) {
  return Object.fromEntries(Object.entries(env ?? {}).map(([name, text]) => [name, evaluate(text, values)]));
}

/** Evaluates plain text, or one expression that reads a context. Other expressions are errors, because they allow injection. */
function evaluate(text: string, values: Contexts): string {
  const expression = /^\$\{\{ ([\w.]+) \}\}$/.exec(text)?.[1];
  if (expression === undefined) {
    if (text.includes("${{")) throw new Error(`${text}: is not a plain reference to a context`);
    return text;
  }
  if (expression.startsWith("secrets.")) return values.secrets?.[expression.slice("secrets.".length)] ?? "";
  const found = expression
    .replace(/^(steps\.\w+)\.outputs\b/, "$1")
    .split(".")
    .reduce<unknown>((value, key) => (value as Record<string, unknown> | undefined)?.[key], values);
  if (typeof found !== "string" && typeof found !== "number") throw new Error(`${text}: has no value here`);
  return String(found);
}

function outputsIn(file: string): Record<string, string> {
  const lines = file.split("\n").filter((line) => line !== "");
  return Object.fromEntries(lines.map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]));
}

/** A folder with the checkout's files and, if given, other package scripts. It is removed after the test. */
export class Workspace implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(scripts: Record<string, string> = {}): Promise<Workspace> {
    const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-workspace-"));
    const own = ["package.json", "package-lock.json", ".git", ".sandbox"];
    for (const name of (await readdir(CHECKOUT)).filter((entry) => !own.includes(entry))) {
      await symlink(path.join(CHECKOUT, name), path.join(folder, name));
    }
    const manifest = JSON.parse(await readFile(path.join(CHECKOUT, "package.json"), "utf8")) as Record<string, object>;
    Object.assign(manifest["scripts"] ?? {}, scripts);
    await writeFile(path.join(folder, "package.json"), JSON.stringify(manifest));
    await copyFile(path.join(CHECKOUT, "package-lock.json"), path.join(folder, "package-lock.json"));
    await packagesAreInstalled(folder);
    return new Workspace(folder);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}

/** Makes the copy of the lock file older than the checkout's packages, which were installed from the same lock file. */
export async function packagesAreInstalled(folder: string): Promise<void> {
  await utimes(path.join(folder, "package-lock.json"), 0, 0);
}
