import { execFileSync } from "node:child_process";
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { writeEnvironmentFile } from "../../operations/env/file.ts";
import { writeGithubEnvironment } from "../../operations/env/github.ts";

const KEY = "convex-self-hosted|0123ab";
const VARIABLES = { CONVEX_SELF_HOSTED_ADMIN_KEY: KEY };
const LINE = `CONVEX_SELF_HOSTED_ADMIN_KEY="${KEY}"\n`;

let app: string;
let file: string;

beforeEach(() => {
  app = mkdtempSync(path.join(tmpdir(), "env-file-"));
  file = path.join(app, ".env.local");
});

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(app, { recursive: true });
});

const mode = (name: string) => statSync(name).mode & 0o777;
const git = (...args: string[]) => execFileSync("git", ["-C", app, ...args], { stdio: "pipe" });
/** The error message of writing the file; empty if there is none. */
async function refusal(variables: Record<string, string> = VARIABLES): Promise<string> {
  try {
    await writeEnvironmentFile(file, variables);
  } catch (error) {
    return (error as Error).message;
  }
  return "";
}

describe("an environment file", () => {
  it("is created so that only its owner can read it", async () => {
    expect(await writeEnvironmentFile(file, VARIABLES)).toEqual({
      added: ["CONVEX_SELF_HOSTED_ADMIN_KEY"],
      changed: [],
      closed: false,
    });
    expect(readFileSync(file, "utf8")).toBe(LINE);
    expect(mode(file)).toBe(0o600);
    expect(readdirSync(app)).toEqual([".env.local"]);
  });

  it("is not written the second time", async () => {
    await writeEnvironmentFile(file, VARIABLES);
    const { ino, mtimeMs } = statSync(file);
    expect(await writeEnvironmentFile(file, VARIABLES)).toEqual({ added: [], changed: [], closed: false });
    expect(statSync(file)).toMatchObject({ ino, mtimeMs });
  });

  it.each([LINE, "A=1\n"])("is closed to other users if they could read it: %j", async (text) => {
    writeFileSync(file, text);
    chmodSync(file, 0o644);
    expect(await writeEnvironmentFile(file, VARIABLES)).toMatchObject({ closed: true });
    expect(mode(file)).toBe(0o600);
  });

  it("is followed if it is a link, and stays a link", async () => {
    mkdirSync(path.join(app, "shared"));
    const shared = path.join(app, "shared", "environment");
    writeFileSync(shared, "A=1\n");
    symlinkSync("shared/environment", file);
    await writeEnvironmentFile(file, VARIABLES);
    expect(lstatSync(file).isSymbolicLink()).toBe(true);
    expect(readFileSync(shared, "utf8")).toBe(`A=1\n${LINE}`);
    expect(mode(shared)).toBe(0o600);
  });

  it("is refused if it cannot be written", async () => {
    symlinkSync("nowhere", file);
    expect(await refusal()).toBe(
      `${file}: is a link to nothing, it should be a file. Remove the link or create its target.`,
    );
    file = app;
    expect(await refusal()).toBe(`${app}: is not a regular file, it should be one. Name another with --file.`);
    file = path.join(app, "none", ".env");
    expect(await refusal()).toBe(
      `${app}/none: is not a folder, it should be the app's. Name another file with --file.`,
    );
  });

  it("is not changed if it cannot be changed safely", async () => {
    writeFileSync(file, 'CONVEX_URL=\n"http://old"\n');
    expect(await refusal({ CONVEX_URL: "http://192.0.2.1:3210" })).toBe(
      `${file}: cannot be changed safely, each value should begin on the line of its name. Fix it, then run this again.`,
    );
    expect(readFileSync(file, "utf8")).toBe('CONVEX_URL=\n"http://old"\n');
    writeFileSync(file, Buffer.from("A=1\n", "utf16le").fill(0xff, 0, 1));
    expect(await refusal()).toBe(
      `${file}: is not in UTF-8, it should be. Save it in that encoding and run this again.`,
    );
  });

  it.each([
    ["CONVEX_DEPLOY_KEY", "with it the Convex CLI deploys to Convex's own cloud"],
    ["CONVEX_DEPLOYMENT_TOKEN", "with it the Convex CLI deploys to Convex's own cloud"],
    ["CONVEX_DEPLOYMENT", "the Convex CLI refuses it together with a self-hosted deployment"],
  ])("is refused if it, or the other file that the CLI reads, sets %s", async (name, reason) => {
    for (const place of [file, path.join(app, ".env")]) {
      writeFileSync(place, `${name}=dev:happy-otter-1\n`);
      expect(await refusal()).toBe(
        `${place}:1: sets ${name}, it should not: ${reason}. Remove it there, then run this again.`,
      );
      expect(readFileSync(place, "utf8")).toBe(`${name}=dev:happy-otter-1\n`);
      writeFileSync(place, `# ${name}=dev:happy-otter-1\n${name}=\n`);
    }
    expect(await refusal()).toBe("");
  });
});

describe("an environment file in git", () => {
  beforeEach(() => {
    git("init", "--quiet");
  });

  it("is refused until git ignores it, and the message's command makes git ignore it", async () => {
    const command = `echo '.env.local' >> ${app}/.gitignore`;
    expect(await refusal()).toBe(
      `${file}: git would commit it, it should be ignored, because it contains the admin key. Run: ${command}`,
    );
    expect(readdirSync(app)).toEqual([".git"]);
    execFileSync("sh", ["-c", command]);
    expect(await refusal()).toBe("");
  });

  it("is refused if git already tracks it, even if it is ignored, until it is removed from git", async () => {
    writeFileSync(file, "A=1\n");
    writeFileSync(path.join(app, ".gitignore"), ".env.local\n");
    git("add", "--force", ".env.local");
    const message = await refusal();
    expect(message).toContain(`${file}: is in git, it should not be, because it contains the admin key. Run: git -C `);
    execFileSync("sh", ["-c", message.slice(message.indexOf("Run: ") + 5)], { stdio: "pipe" });
    expect(await refusal()).toBe("");
    expect(readFileSync(file, "utf8")).toBe(`A=1\n${LINE}`);
  });
});

describe("the environment of a GitHub Actions job", () => {
  it("masks the secret before it sets variables, and supports values of several lines", async () => {
    const target = path.join(app, "github");
    writeFileSync(target, "EARLIER=1\n");
    const printed = vi.spyOn(process.stdout, "write").mockReturnValue(true);
    await writeGithubEnvironment({ A: "1", B: "two\nlines=x" }, ["100%\nsecret"], target);
    expect(printed.mock.calls).toEqual([["::add-mask::100%25%0Asecret\n"]]);
    expect(readFileSync(target, "utf8")).toMatch(
      /^EARLIER=1\nA<<(end-[0-9a-f-]{36})\n1\n\1\nB<<(end-[0-9a-f-]{36})\ntwo\nlines=x\n\2\n$/,
    );
  });
});
