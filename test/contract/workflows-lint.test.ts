import { cp, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { CHECKOUT, WORKFLOWS } from "./workflows-runner.ts";

const LINTERS = path.join(import.meta.dirname, "linters");
const CONFIG = path.join(CHECKOUT, ".github/zizmor.yml");

let folder: string;
let repository: string;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-lint-"));
  repository = path.join(folder, "repository");
  // Like a user's repository: the callers of docs/ci.md with the workflows that they call, so that inputs and secrets are compared.
  await cp(WORKFLOWS, path.join(repository, ".github/workflows"), { recursive: true });
  const example = path.join(CHECKOUT, "examples/app-repo/.github/workflows/deploy.yml");
  await cp(example, path.join(repository, ".github/workflows/app-repo.yml"));
  await mkdir(path.join(repository, ".git"));
  for (const [name, text] of Object.entries(await callers())) await addWorkflow(name, text);

  // Built first, so that Go's messages about downloads are not in the linter's output.
  const tool = "github.com/rhysd/actionlint/cmd/actionlint";
  await execa("go", ["build", "-C", path.join(LINTERS, "actionlint"), "-o", path.join(folder, "actionlint"), tool]);

  const venv = path.join(folder, "venv");
  await execa("python3", ["-m", "venv", venv]);
  const requirements = path.join(LINTERS, "zizmor/requirements.txt");
  await execa(path.join(venv, "bin/pip"), ["install", "--quiet", "--no-compile", "--requirement", requirements]);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

function addWorkflow(name: string, text: string): Promise<void> {
  return writeFile(path.join(repository, ".github/workflows", name), text);
}

/** The workflows that docs/ci.md tells users to write, by file name. */
async function callers(): Promise<Record<string, string>> {
  const page = await readFile(path.join(CHECKOUT, "docs/ci.md"), "utf8");
  const found = page.matchAll(/^`\.github\/workflows\/([\w-]+\.yml)`[^`]*(?:`\w+`[^`]*)*```yaml\n(.*?)^```$/gms);
  return Object.fromEntries([...found].map(([, name = "", text = ""]) => [name, text]));
}

/** @returns the exit code and the linter's output */
async function actionlint(...names: string[]): Promise<{ exitCode: number; all: string }> {
  const files = names.map((name) => path.join(repository, ".github/workflows", name));
  const { exitCode, all } = await execa(path.join(folder, "actionlint"), files, { all: true, reject: false });
  return { exitCode: exitCode ?? 1, all };
}

async function zizmor(...names: string[]): Promise<{ exitCode: number; all: string }> {
  const files = names.map((name) => path.join(repository, ".github/workflows", name));
  const options = ["--offline", "--no-progress", "--config", CONFIG, "--persona", "pedantic"];
  const run = execa(path.join(folder, "venv/bin/zizmor"), [...options, ...files], { all: true, reject: false });
  const { exitCode, all } = await run;
  return { exitCode: exitCode ?? 1, all };
}

describe("the workflows, and those that docs/ci.md tells users to write", () => {
  const NAMES = [
    "ci.yml",
    "long.yml",
    "preview.yml",
    "up.yml",
    "drift.yml",
    "drill.yml",
    "pull-request.yml",
    "deploy.yml",
    "watch.yml",
    "app-repo.yml",
  ];

  it("are three callers in docs/ci.md", async () => {
    expect(Object.keys(await callers())).toEqual(["pull-request.yml", "deploy.yml", "watch.yml"]);
  });

  it("pass actionlint, with shellcheck for their commands", async () => {
    const { exitCode, all } = await actionlint(...NAMES);
    expect(all).toBe("");
    expect(exitCode).toBe(0);
  });

  it("pass zizmor in pedantic mode", async () => {
    const { exitCode, all } = await zizmor(...NAMES);
    expect(all).toContain("No findings to report");
    expect(exitCode).toBe(0);
  });
});

describe("the linters", () => {
  it("report a caller with a wrong input, a command that is open to injection, and an action that can change", async () => {
    await addWorkflow(
      "wrong.yml",
      `on: pull_request
jobs:
  call:
    uses: ./.github/workflows/preview.yml
    with:
      stock: dev
  run:
    runs-on: ubuntu-24.04
    steps:
      - uses: actions/checkout@v6
      - run: echo \${{ github.head_ref }} $UNQUOTED
`,
    );
    const syntax = await actionlint("wrong.yml");
    expect(syntax.exitCode).toBe(1);
    expect(syntax.all).toContain('input "stack" is required');
    expect(syntax.all).toContain('input "stock" is not defined');
    expect(syntax.all).toContain("SC2086");
    const security = await zizmor("wrong.yml");
    expect(security.exitCode).not.toBe(0);
    for (const audit of ["template-injection", "unpinned-uses", "artipacked", "excessive-permissions"]) {
      expect(security.all).toContain(audit);
    }
  });
});
