import { cp, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { ensureImage } from "../../sandbox/images/build.ts";
import type { FinishedPush } from "../../sandbox/images/backend/pushes.ts";
import { revision } from "../../sandbox/images/recipe.ts";
import {
  adminKey,
  backendEnvironment,
  DATABASE,
  TestPostgres,
  TestSandbox,
  type TestContainer,
} from "./images-harness.ts";

// The CLI from npm against the stand-in backend, with the commands that an app's CI runs.

const CHECKOUT = path.resolve(import.meta.dirname, "../..");
const EXAMPLE = path.join(CHECKOUT, "examples/app-repo");
/** If the CLI treats an answer as a temporary failure, it repeats the request for half a minute. */
const AT_ONCE_MS = 25_000;
const PEM = "-----BEGIN PRIVATE KEY-----\nMIIEvQ+/=\n\tsecond 'line' with \"quotes\"\n-----END PRIVATE KEY-----";

let sandbox: TestSandbox;
let postgres: TestPostgres;
let backend: TestContainer;
let url: string;
/** A copy of the example, with the packages of this checkout. */
let app: string;

beforeAll(async () => {
  sandbox = await TestSandbox.create();
  postgres = await TestPostgres.start(sandbox);
  await postgres.createDatabase(DATABASE);
  const image = await ensureImage("backend", await revision(), () => undefined);
  backend = await sandbox.run(image, { env: backendEnvironment(postgres) });
  url = await backend.answers(3210);
  app = await mkdtemp(path.join(os.tmpdir(), "convex-cli-"));
  await cp(EXAMPLE, app, { recursive: true, filter: (file) => path.basename(file) !== "node_modules" });
  await symlink(path.join(CHECKOUT, "node_modules"), path.join(app, "node_modules"));
});

afterAll(async () => {
  await rm(app, { recursive: true });
  await postgres[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});

interface Run {
  exitCode: number | undefined;
  stdout: string;
  stderr: string;
  milliseconds: number;
}

/** Runs the CLI as a CI job does: without a terminal, and with only the URL and the key in the environment. */
async function convex(args: string[], { key = adminKey(), input = "" } = {}): Promise<Run> {
  const started = Date.now();
  const { exitCode, stdout, stderr } = await execa("node", ["node_modules/convex/bin/main.js", ...args], {
    cwd: app,
    env: {
      PATH: process.env["PATH"],
      HOME: app,
      CI: "1",
      CONVEX_SELF_HOSTED_URL: url,
      CONVEX_SELF_HOSTED_ADMIN_KEY: key,
    },
    extendEnv: false,
    input,
    stripFinalNewline: false,
    reject: false,
  });
  return { exitCode, stdout, stderr, milliseconds: Date.now() - started };
}

/** The output of a command that has to succeed. */
async function output(...args: string[]): Promise<string> {
  const { exitCode, stdout, stderr } = await convex(args);
  expect(exitCode, stderr).toBe(0);
  return stdout;
}

async function pushed(): Promise<FinishedPush> {
  const response = await fetch(`${url}/_control/push`, { headers: { authorization: `Convex ${adminKey()}` } });
  return (await response.json()) as FinishedPush;
}

async function variables(): Promise<unknown> {
  const route = `${url}/api/list_environment_variables`;
  const response = await fetch(route, { headers: { authorization: `Convex ${adminKey()}` } });
  return ((await response.json()) as { environmentVariables: unknown }).environmentVariables;
}

describe("env", () => {
  it("sets, gets, lists and removes", async () => {
    await output("env", "set", "GREETING", "good morning");
    await output("env", "set", "EMPTY=");
    expect(await output("env", "get", "GREETING")).toBe("good morning\n");
    expect(await output("env", "list")).toBe("GREETING=good morning\nEMPTY=\n");
    await output("env", "remove", "EMPTY");
    expect(await variables()).toEqual({ GREETING: "good morning" });
    expect((await convex(["env", "get", "EMPTY"])).stderr).toContain('Environment variable "EMPTY" not found');
  });

  it("reads a value with several lines from stdin, without the last line end, and gets it unchanged", async () => {
    expect((await convex(["env", "set", "JWT_PRIVATE_KEY"], { input: `${PEM}\n` })).exitCode).toBe(0);
    expect(await variables()).toMatchObject({ JWT_PRIVATE_KEY: PEM });
    expect(await output("env", "get", "JWT_PRIVATE_KEY")).toBe(`${PEM}\n`);
  });

  it("sets variables from a file, and replaces existing values only with --force", async () => {
    await writeFile(path.join(app, "function.env"), "GREETING=good evening\nNEW=1\n");
    const refused = await convex(["env", "set", "--from-file", "function.env"]);
    expect(refused).toMatchObject({ exitCode: 1 });
    expect(refused.stderr).toContain("GREETING already exists with different value");
    expect(await variables()).toMatchObject({ GREETING: "good morning" });
    await output("env", "set", "--from-file", "function.env", "--force");
    expect(await variables()).toMatchObject({ GREETING: "good evening", NEW: "1" });
  });
});

describe("run and data", () => {
  it("call the built-in functions and show the data that these wrote", async () => {
    expect(await output("run", "sandbox:put", '{"key":"a","value":{"n":1}}')).toBe('"a"\n');
    expect(await output("run", "sandbox:put", '{"key":"b","value":"two"}')).toBe('"b"\n');
    expect(JSON.parse(await output("run", "sandbox:get", '{"key":"a"}'))).toEqual({ key: "a", value: { n: 1 } });
    expect(await output("data")).toBe("sandbox_entries\n");
    const rows = (await output("data", "sandbox_entries", "--format", "jsonLines")).trimEnd().split("\n");
    const fields = /^\{ "_id": "[0-9a-f]{32}", "_creationTime": \d{13}[.\d]*, /;
    expect(rows.map((row) => row.replace(fields, ""))).toEqual([
      '"key": "b", "value": "two" }',
      '"key": "a", "value": { "n": 1 } }',
    ]);
    expect(await output("data", "sandbox_entries", "--limit", "1", "--order", "asc")).toContain('{ "n": 1 }');
  });

  it("report a call of an unknown function", async () => {
    const run = await convex(["run", "nothing:here"]);
    expect(run).toMatchObject({ exitCode: 1 });
    expect(run.stderr).toContain("Could not find public function for 'nothing:here'");
  });
});

describe("deploy", () => {
  it("records exactly the app's modules and schema", async () => {
    await output("deploy", "--message", "the first");
    const push = await pushed();
    expect(push.modules.map(({ path, environment }) => [path, environment])).toEqual([["messages.js", "isolate"]]);
    expect(push.modules[0]?.source).toContain('.query("messages").order("desc").take(100)');
    expect(push.schema?.source).toContain('index("by_author", ["author"])');
    expect(push).toMatchObject({
      functions: "convex/",
      definition: { path: "convex.config.js" },
      nodeDependencies: [],
      udfServerVersion: "1.48.0",
      message: "the first",
    });
  });

  it("does not change the committed generated code", async () => {
    const folder = "convex/_generated";
    const names = (await readdir(path.join(EXAMPLE, folder))).sort();
    expect((await readdir(path.join(app, folder))).sort()).toEqual(names);
    for (const name of names)
      expect(await readFile(path.join(app, folder, name), "utf8")).toBe(
        await readFile(path.join(EXAMPLE, folder, name), "utf8"),
      );
  });

  it("does not send unchanged modules again", async () => {
    const before = await pushed();
    const { exitCode, stderr } = await convex(["deploy", "--verbose"]);
    expect(exitCode, stderr).toBe(0);
    expect(stderr).toMatch(/"moduleDiff": \{\s+"added": \[\],\s+"removed": \[\]\s+\}/);
    const { pushedAt, message, ...push } = await pushed();
    expect(before).toEqual({ ...push, pushedAt: before.pushedAt, message: "the first" });
    expect(Date.parse(pushedAt)).toBeGreaterThan(Date.parse(before.pushedAt));
    expect(message).toBeNull();
  });

  it("sends changed modules, and removes deleted ones", async () => {
    const [before] = (await pushed()).modules;
    await writeFile(path.join(app, "convex/extra.ts"), "export const answer = 42;\n");
    await output("deploy");
    // The bundler makes a third module, which the two others share.
    expect((await pushed()).modules.map(({ path }) => path)).toEqual([
      expect.stringMatching(/^_deps\/[A-Z0-9]+\.js$/),
      "extra.js",
      "messages.js",
    ]);
    await rm(path.join(app, "convex/extra.ts"));
    await output("deploy");
    expect((await pushed()).modules).toEqual([before]);
  });

  it("changes nothing on a dry run", async () => {
    const before = await pushed();
    await writeFile(path.join(app, "convex/extra.ts"), "export const answer = 42;\n");
    const { exitCode, stderr } = await convex(["deploy", "--dry-run", "--verbose"]);
    await rm(path.join(app, "convex/extra.ts"));
    expect(exitCode, stderr).toBe(0);
    expect(stderr).toMatch(/"added": \[[^\]]+"extra.js",\s+"messages.js"\s+\],\s+"removed": \[\s+"messages.js"\s+\]/);
    expect(await pushed()).toEqual(before);
  });

  it("only records functions: a call of one fails and says so", async () => {
    const run = await convex(["run", "messages:list"]);
    expect(run).toMatchObject({ exitCode: 1 });
    expect(run.stderr).toContain("'messages:list' was pushed. This stand-in of the backend records what is pushed");
  });
});

describe("keys", () => {
  it("of another deployment are refused immediately, and change nothing", async () => {
    const key = adminKey({}, "00".repeat(32));
    const before = await pushed();
    for (const args of [["env", "set", "X", "1"], ["env", "list"], ["data"], ["run", "sandbox:list"], ["deploy"]]) {
      const { exitCode, stderr, milliseconds } = await convex(args, { key });
      expect(exitCode, args.join(" ")).toBe(1);
      expect(stderr, args.join(" ")).toContain("The provided admin key was invalid for this instance");
      expect(stderr).not.toContain(key);
      expect(milliseconds).toBeLessThan(AT_ONCE_MS);
    }
    expect(await variables()).not.toHaveProperty("X");
    expect(await pushed()).toEqual(before);
  });

  it("that are read-only can read", async () => {
    const key = adminKey({ isReadOnly: true });
    expect((await convex(["env", "get", "GREETING"], { key })).stdout).toBe("good evening\n");
    expect((await convex(["data"], { key })).stdout).toBe("sandbox_entries\n");
    expect(JSON.parse((await convex(["run", "sandbox:list"], { key })).stdout)).toHaveLength(2);
  });

  it("that are read-only cannot write", async () => {
    const key = adminKey({ isReadOnly: true });
    const before = await pushed();
    const put = ["run", "sandbox:put", '{"key":"c","value":1}'];
    for (const args of [["env", "set", "X", "1"], put, ["deploy"]]) {
      const { exitCode, stderr, milliseconds } = await convex(args, { key });
      expect(exitCode, args.join(" ")).toBe(1);
      expect(stderr, args.join(" ")).toContain("You do not have permission to perform this operation");
      expect(milliseconds).toBeLessThan(AT_ONCE_MS);
    }
    expect(await variables()).not.toHaveProperty("X");
    expect(await pushed()).toEqual(before);
    expect(JSON.parse(await output("run", "sandbox:list"))).toHaveLength(2);
  });
});

describe("a command that the stand-in does not support", () => {
  it.each([
    ["logs"],
    ["export", "--path", "backup.zip"],
    ["import", "--table", "messages", "--append", "--yes", "messages.jsonl"],
    ["function-spec"],
  ])("is refused immediately, with the reason: %s", async (...args) => {
    await writeFile(path.join(app, "messages.jsonl"), '{"author":"a","body":"b"}\n');
    const { exitCode, stderr, milliseconds } = await convex(args);
    expect(exitCode).toBe(1);
    expect(stderr).toContain("not served by this stand-in of the backend");
    expect(milliseconds).toBeLessThan(AT_ONCE_MS);
  });
});

it("variables and pushes outlive the backend's process", async () => {
  const before = { push: await pushed(), variables: await variables() };
  await backend.signal("SIGKILL");
  await backend.ended();
  await backend.start();
  url = await backend.answers(3210);
  expect({ push: await pushed(), variables: await variables() }).toEqual(before);
});
