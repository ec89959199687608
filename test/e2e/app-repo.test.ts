import { appendFile, cp, readFile, rm, stat } from "node:fs/promises";
import path from "node:path";

import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";

import type { FinishedPush } from "../../sandbox/images/backend/pushes.ts";
import { Clone } from "./clone.ts";
import { blocksIn } from "./documents.ts";
import { run, type Run, TestCloud } from "./harness.ts";
import { stepByStep } from "../steps.ts";
import { succeeded } from "./succeeded.ts";

// Follows docs/app-repos.md exactly: each test runs the next of its commands.

const STACK = "dev";
const REPOSITORY_URL = "https://git.example.com/acme/app.git";

let cloud: TestCloud;
let platform: Clone;
let reader: Reader;
let outputs: Record<string, string>;
/** The app's clone, which the first step makes. */
let app: string;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb" });
  const up = await cloud.up(STACK);
  expect(up.exitCode, up.all).toBe(0);
  outputs = await cloud.outputs(STACK);
  platform = await Clone.make();
  app = path.resolve(platform.folder, "../app");
  reader = await Reader.start(platform);
});

afterAll(async () => {
  await platform[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

/** Types the document's commands into one shell, starting in the platform's checkout. */
class Reader {
  /** All output. */
  transcript = "";
  readonly #blocks: string[];
  readonly #env: Record<string, string | undefined>;
  #folder: string;

  private constructor(folder: string, blocks: string[], env: Record<string, string | undefined>) {
    this.#folder = folder;
    this.#blocks = blocks;
    this.#env = env;
  }

  static async start({ folder }: Clone): Promise<Reader> {
    const document = await readFile(path.join(folder, "docs/app-repos.md"), "utf8");
    return new Reader(folder, blocksIn(document), {
      ...cloud.env,
      CI: "1",
      // git clones the example instead of the document's repository.
      GIT_CONFIG_COUNT: "1",
      GIT_CONFIG_KEY_0: `url.${await exampleRepository(folder)}.insteadOf`,
      GIT_CONFIG_VALUE_0: REPOSITORY_URL,
    });
  }

  get left(): number {
    return this.#blocks.length;
  }

  async next(): Promise<Run> {
    const whereFile = path.join(cloud.home.root, "where");
    const block = this.#blocks.shift() ?? "";
    const finished = await this.run(`${block}\npwd > ${whereFile}`);
    this.#folder = (await readFile(whereFile, "utf8")).trim();
    return finished;
  }

  /** Runs a script as a step of a GitHub Actions job does. */
  async run(script: string): Promise<Run> {
    const finished = await run("bash", ["-e", "-c", script], this.#folder, { env: this.#env });
    // A runner does not print the lines that tell it what to mask.
    this.transcript += finished.all.replaceAll(/^::add-mask::.*$/gm, "");
    return finished;
  }
}

/** Copies the committed example to a new repository. */
async function exampleRepository(checkout: string): Promise<string> {
  const folder = path.resolve(checkout, "../repository");
  await cp(path.join(checkout, "examples/app-repo"), folder, { recursive: true });
  const git = (...args: string[]) => execa("git", args, { cwd: folder });
  await git("init", "--quiet", "--initial-branch", "main");
  await git("add", ".");
  await git("-c", "user.name=test", "-c", "user.email=test@example.com", "commit", "--quiet", "--message", "app");
  return folder;
}

async function fromBackend(route: string): Promise<unknown> {
  const headers = { authorization: `Convex ${outputs["adminKey"] ?? ""}` };
  return await (await fetch(`${outputs["backendUrl"] ?? ""}${route}`, { headers })).json();
}

async function pushed(): Promise<FinishedPush | null> {
  return (await fromBackend("/_control/push")) as FinishedPush | null;
}

describe("the document on app repositories", () => {
  stepByStep();

  it("1: clones the app and installs its packages", async () => {
    succeeded(await reader.next());
    expect(await pushed()).toBeNull();
  });

  it("2: writes URL and key to a file that only its owner can read", async () => {
    succeeded(await reader.next());
    const file = path.join(app, ".env.local");
    const text = await readFile(file, "utf8");
    expect(text).toContain(`CONVEX_SELF_HOSTED_URL=${outputs["backendUrl"] ?? ""}\n`);
    expect(text).toContain(`CONVEX_SELF_HOSTED_ADMIN_KEY="${outputs["adminKey"] ?? ""}"\n`);
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const { stdout } = await execa("git", ["status", "--porcelain"], { cwd: app });
    expect(stdout).toBe("");
  });

  it("3: deploys its functions, and does not change the repository", async () => {
    succeeded(await reader.next());
    const push = await pushed();
    expect(push?.modules.map(({ path }) => path)).toEqual(["messages.js"]);
    expect(push?.schema?.path).toBe("schema.js");
    const { stdout } = await execa("git", ["status", "--porcelain"], { cwd: app });
    expect(stdout).toBe("");
  });

  it("4: calls a function, which runs, or which the stand-in reports as pushed", async () => {
    // A failed command ends the shell, so the folder stays the one of the step before.
    const { all } = await reader.next();
    expect(all).toMatch(/'messages:list' was pushed|^\[\]$/m);
  });

  it("5: sets the functions' variables", async () => {
    const listed = await reader.next();
    succeeded(listed);
    expect(listed.all).toContain("SEVERAL_LINES");
    expect(await fromBackend("/api/list_environment_variables")).toEqual({
      environmentVariables: { GREETING: "good morning", SEVERAL_LINES: "one line\nanother" },
    });
  });

  it("6: reads the platform's outputs in the app's own Pulumi program, the key as a secret", async () => {
    succeeded(await reader.next());
    const { stdout } = await reader.run("npx pulumi -C infra stack output --json --show-secrets");
    expect(JSON.parse(stdout)).toEqual({
      CONVEX_SELF_HOSTED_URL: outputs["backendUrl"],
      CONVEX_SELF_HOSTED_ADMIN_KEY: outputs["adminKey"],
      CONVEX_SITE_URL: outputs["siteUrl"],
    });
    reader.transcript = reader.transcript.replaceAll(stdout, "");
    const { stdout: state } = await reader.run("npx pulumi -C infra stack export");
    expect(state).toContain("CONVEX_SELF_HOSTED_ADMIN_KEY");
    expect(state).not.toContain(outputs["adminKey"]);
  });

  it("7: prints the functions' target", async () => {
    const shown = await reader.next();
    succeeded(shown);
    expect(shown.stdout).toBe(outputs["backendUrl"]);
  });

  it("has no other commands", () => {
    expect(reader.left).toBe(0);
  });
});

describe("the example's workflow", () => {
  it("deploys a change, with only the state as its source", async () => {
    await rm(path.join(app, ".env.local"));
    await appendFile(path.join(app, "convex/messages.ts"), "\nexport const added = list;\n");
    const before = await pushed();
    const workflow = parse(await readFile(path.join(app, ".github/workflows/deploy.yml"), "utf8")) as {
      jobs: { functions: { steps: { name: string; run?: string }[] } };
    };
    let shown = "";
    for (const { name, run: script } of workflow.jobs.functions.steps) {
      if (script === undefined) continue;
      const step = await reader.run(script);
      expect(step.exitCode, `${name}\n${step.all}`).toBe(0);
      shown += step.all;
    }
    expect(shown).toContain(`\n::add-mask::${outputs["adminKey"] ?? ""}\n`);
    const [module] = (await pushed())?.modules ?? [];
    expect(module?.source).toContain("added");
    expect(module?.hash).not.toBe(before?.modules[0]?.hash);
  });
});

it("no command showed the key", () => {
  expect(reader.transcript).toContain("Deployed Convex functions");
  expect(reader.transcript).not.toContain(outputs["adminKey"]);
});
