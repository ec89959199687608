import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { beforeEach, describe, expect, it, onTestFinished } from "vitest";

const EXAMPLE = path.resolve(import.meta.dirname, "../../examples/app-repo");
const SCRIPT = path.join(EXAMPLE, "scripts/check-target.ts");

const URL_VARIABLE = "CONVEX_SELF_HOSTED_URL";
const KEY_VARIABLE = "CONVEX_SELF_HOSTED_ADMIN_KEY";
const TARGET = { [URL_VARIABLE]: "https://api.example.com", [KEY_VARIABLE]: "convex-self-hosted|01abcdef" };
const WRITE_ENV = "Write .env.local with `npm run env` of convex-droplet, or set it in the environment.";

let app: string;

beforeEach(async () => {
  app = await mkdtemp(path.join(tmpdir(), "app-repo-"));
  onTestFinished(() => rm(app, { recursive: true }));
  await install("1.48.0");
});

async function install(version: string): Promise<void> {
  const folder = path.join(app, "node_modules/convex");
  await mkdir(folder, { recursive: true });
  await writeFile(path.join(folder, "package.json"), JSON.stringify({ version }));
}

/** The lines of mistakes, and whether a deploy may go on. */
async function check(env: Record<string, string>): Promise<{ exitCode: number | undefined; mistakes: string[] }> {
  const { exitCode, stderr } = await execa("node", [SCRIPT], {
    cwd: app,
    env: { PATH: process.env["PATH"], ...env },
    extendEnv: false,
    reject: false,
  });
  return { exitCode, mistakes: stderr === "" ? [] : stderr.split("\n") };
}

describe("the check before the example app's deploy", () => {
  it("lets a complete target pass, from the environment or the files that the CLI reads", async () => {
    expect(await check(TARGET)).toEqual({ exitCode: 0, mistakes: [] });
    await writeFile(path.join(app, ".env.local"), `${URL_VARIABLE}=http://127.0.0.1:3210\n`);
    await writeFile(path.join(app, ".env"), `${URL_VARIABLE}=no\n${KEY_VARIABLE}="convex-self-hosted|01abcdef"\n`);
    expect(await check({})).toEqual({ exitCode: 0, mistakes: [] });
  });

  it.each([
    ["1.26.1", "it ends with \"Cannot read properties of undefined (reading 'length')\""],
    ["1.29.2", "it asks for evaluate_push, which backends of its time answer with 404"],
    ["1.31.7", 'its pushes are refused with "BadJsonBody ... appDefinition: missing field functions"'],
  ])("refuses release %s of the CLI", async (version, fault) => {
    await install(version);
    expect(await check(TARGET)).toEqual({
      exitCode: 1,
      mistakes: [
        `convex: ${version} is broken (${fault}), it should be another. Run: npm install --save-exact convex@1.48.0`,
      ],
    });
  });

  it("recommends the release that the example has", async () => {
    const { dependencies } = JSON.parse(await readFile(path.join(EXAMPLE, "package.json"), "utf8")) as {
      dependencies: { convex: string };
    };
    expect(dependencies.convex).toBe("1.48.0");
  });

  it.each(["CONVEX_DEPLOY_KEY", "CONVEX_DEPLOYMENT_TOKEN", "CONVEX_DEPLOYMENT"])(
    "refuses %s, wherever the CLI would find it",
    async (name) => {
      const refused = (source: string) => ({
        exitCode: 1,
        mistakes: [`${name}: is set in ${source}, it should not be: it means Convex's own cloud. Remove it there.`],
      });
      expect(await check({ ...TARGET, [name]: "prod:happy-otter-123|secret" })).toEqual(refused("the environment"));
      await writeFile(path.join(app, ".env"), `${name}=dev:happy-otter-123\n`);
      expect(await check(TARGET)).toEqual(refused(".env"));
      expect(await check({ ...TARGET, [name]: "" })).toEqual({ exitCode: 0, mistakes: [] });
    },
  );

  it("names all mistakes at once, and never a part of the key", async () => {
    await rm(path.join(app, "node_modules"), { recursive: true });
    expect(await check({})).toEqual({
      exitCode: 1,
      mistakes: [
        "node_modules/convex/package.json: is missing, it should be there. Install it with: npm ci",
        `${URL_VARIABLE}: is not set, it should be the platform's backendUrl. ${WRITE_ENV}`,
        `${KEY_VARIABLE}: is not set, it should be the platform's adminKey. ${WRITE_ENV}`,
      ],
    });
    await install("1.48.0");
    expect(await check({ [URL_VARIABLE]: "https://api.example.com/", [KEY_VARIABLE]: "01abcdef" })).toEqual({
      exitCode: 1,
      mistakes: [
        `${URL_VARIABLE}: is https://api.example.com/, it should be scheme, host and port alone, such as https://api.example.com. ${WRITE_ENV}`,
        `${KEY_VARIABLE}: is not a whole key, it should be the instance's name, a | and hexadecimal digits. ${WRITE_ENV}`,
      ],
    });
  });
});
