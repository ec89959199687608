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
  await put("package.json", '{"dependencies":{"convex":"1.48.0"}}');
  await put("convex/messages.ts");
  await install("1.48.0");
});

async function put(file: string, text = ""): Promise<void> {
  await mkdir(path.dirname(path.join(app, file)), { recursive: true });
  await writeFile(path.join(app, file), text);
}

async function install(version: string): Promise<void> {
  await put("node_modules/convex/package.json", JSON.stringify({ version }));
}

/** Runs the check: its exit code, and the lines with mistakes. */
async function check(
  env: Record<string, string>,
  folder = "",
): Promise<{ exitCode: number | undefined; mistakes: string[] }> {
  const { exitCode, stderr } = await execa(process.execPath, [SCRIPT], {
    cwd: path.join(app, folder),
    env: { PATH: process.env["PATH"], ...env },
    extendEnv: false,
    reject: false,
  });
  return { exitCode, mistakes: stderr === "" ? [] : stderr.split("\n") };
}

describe("the check before the example app's deploy", () => {
  it("passes a complete target, from the environment or the files that the CLI reads", async () => {
    expect(await check(TARGET)).toEqual({ exitCode: 0, mistakes: [] });
    await writeFile(path.join(app, ".env.local"), `${URL_VARIABLE}=http://127.0.0.1:3210\n`);
    await writeFile(path.join(app, ".env"), `${URL_VARIABLE}=no\n${KEY_VARIABLE}="convex-self-hosted|01abcdef"\n`);
    expect(await check({})).toEqual({ exitCode: 0, mistakes: [] });
  });

  it.each([
    ["1.26.1", "it fails with \"Cannot read properties of undefined (reading 'length')\""],
    ["1.29.2", "it calls evaluate_push, and backends of that time answer with 404"],
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

  it("recommends the release in the example's package.json", async () => {
    const { dependencies } = JSON.parse(await readFile(path.join(EXAMPLE, "package.json"), "utf8")) as {
      dependencies: { convex: string };
    };
    expect(dependencies.convex).toBe("1.48.0");
  });

  it.each(["CONVEX_DEPLOY_KEY", "CONVEX_DEPLOYMENT_TOKEN", "CONVEX_DEPLOYMENT"])(
    "refuses %s in each place that the CLI reads",
    async (name) => {
      const refused = (source: string) => ({
        exitCode: 1,
        mistakes: [expect.stringContaining(`${name}: is set in ${source}, it should not be: `) as string],
      });
      expect(await check({ ...TARGET, [name]: "prod:happy-otter-123|secret" })).toEqual(
        refused("the shell's environment"),
      );
      await put(".env", `# ours\n${name}=dev:happy-otter-123\n`);
      expect(await check(TARGET)).toEqual(refused(".env:2"));
      expect(await check({ ...TARGET, [name]: "" })).toEqual({ exitCode: 0, mistakes: [] });
    },
  );

  it("prints all mistakes at once, and never a part of the key", async () => {
    await rm(path.join(app, "node_modules"), { recursive: true });
    expect(await check({})).toEqual({
      exitCode: 1,
      mistakes: [
        "convex: is installed neither here nor in a folder above, it should be. Run: npm install",
        `${URL_VARIABLE}: is not set, it should be the platform's backendUrl. ${WRITE_ENV}`,
        `${KEY_VARIABLE}: is not set, it should be the platform's adminKey. ${WRITE_ENV}`,
      ],
    });
    await install("1.48.0");
    expect(await check({ [URL_VARIABLE]: "https://api.example.com/", [KEY_VARIABLE]: "01abcdef" })).toEqual({
      exitCode: 1,
      mistakes: [
        `${URL_VARIABLE}: is https://api.example.com/ in the shell's environment, it should be scheme, host and port alone, such as https://api.example.com. Run: unset ${URL_VARIABLE}`,
        `${KEY_VARIABLE}: is not a whole key in the shell's environment, it should be the instance's name, a | and hexadecimal digits. Run: unset ${KEY_VARIABLE}`,
      ],
    });
  });
});

describe("the check of an app's folder", () => {
  it("finds the CLI of a hoisted monorepo, and its release", async () => {
    await put("packages/backend/package.json", '{"devDependencies":{"convex":"*"}}');
    await put("packages/backend/convex/messages.ts");
    expect(await check(TARGET, "packages/backend")).toEqual({ exitCode: 0, mistakes: [] });
    await install("1.31.7");
    await put("pnpm-lock.yaml");
    const { mistakes } = await check(TARGET, "packages/backend");
    expect(mistakes).toHaveLength(1);
    expect(mistakes[0]).toMatch(/^convex: 1.31.7 is broken .* Run: pnpm add --save-exact convex@1.48.0$/);
  });

  it("refuses a root without Convex, and names the folder with the functions", async () => {
    await rm(path.join(app, "convex"), { recursive: true });
    await put("package.json", '{"workspaces":["packages/*"]}');
    await put("packages/web/package.json", '{"dependencies":{"convex":"*"}}');
    await put("packages/backend/package.json", '{"dependencies":{"convex":"*"}}');
    await put("packages/backend/convex.json", '{"functions":"src/functions/"}');
    await put("packages/backend/src/functions/messages.ts");
    expect(await check({})).toEqual({
      exitCode: 1,
      mistakes: [
        "package.json: does not list convex, it should be the package that the functions belong to. Deploy from where they are: packages/backend",
      ],
    });
    expect(await check(TARGET, "packages/backend")).toEqual({ exitCode: 0, mistakes: [] });
    expect((await check(TARGET, "packages/web")).mistakes).toEqual([
      'convex: is missing, it should contain the functions: without it, a deploy removes all functions of the deployment. Name their folder in convex.json: {"functions":"FOLDER"}',
    ]);
  });

  it("finds functions in Create React App's folder", async () => {
    await put("package.json", '{"dependencies":{"convex":"*","react-scripts":"5.0.1"}}');
    expect((await check(TARGET)).mistakes).toHaveLength(1);
    await put("src/convex/messages.ts");
    expect((await check(TARGET)).exitCode).toBe(0);
  });

  it.each([
    ["package-lock.json", "npm ci"],
    ["yarn.lock", "yarn install"],
    ["bun.lock", "bun install"],
  ])("with %s, prints %s", async (lockfile, command) => {
    await rm(path.join(app, "node_modules"), { recursive: true });
    await put(lockfile);
    expect((await check(TARGET)).mistakes[0]).toMatch(new RegExp(`Run: ${command}$`));
  });
});

describe("the check of the value that wins", () => {
  const KEY = TARGET[KEY_VARIABLE];

  it.each([
    [
      "a stale .env.local",
      { ".env.local": `\n${URL_VARIABLE}=http://old:3210/\n` },
      {},
      /is http:\/\/old:3210\/ in .env.local:2,/,
    ],
    [
      "the shell",
      {},
      { [URL_VARIABLE]: "http://old/x" },
      /is http:\/\/old\/x in the shell's .* Run: unset CONVEX_SELF_HOSTED_URL$/,
    ],
    ["an empty value", { ".env.local": `${URL_VARIABLE}=\n` }, {}, /is empty in .env.local:1, which hides all others/],
    ["an empty variable of the shell", {}, { [URL_VARIABLE]: "" }, /is empty in the shell's environment.* Run: unset /],
    [
      "the last of two",
      { ".env.local": `${URL_VARIABLE}=http://a\n${URL_VARIABLE}=no\n` },
      {},
      /is not a URL in .env.local:2/,
    ],
    [
      "a reference that the CLI does not expand",
      { ".env.local": `${URL_VARIABLE}=http://$HOST:3210` },
      {},
      /in .env.local:1, it should be scheme/,
    ],
  ])("names the place: %s", async (_, files, env, says) => {
    await put(".env", `${URL_VARIABLE}=https://api.example.com\n${KEY_VARIABLE}="${KEY}"\n`);
    expect(await check({})).toEqual({ exitCode: 0, mistakes: [] });
    for (const [file, text] of Object.entries(files)) await put(file, text);
    const { mistakes } = await check(env);
    expect(mistakes).toHaveLength(1);
    expect(mistakes[0]).toMatch(says);
  });

  it("names a file with the variable that the CLI does not read", async () => {
    await put(".env.production", `A=1\n${URL_VARIABLE}=https://api.example.com\n`);
    expect((await check({ [KEY_VARIABLE]: KEY })).mistakes).toEqual([
      `${URL_VARIABLE}: is not set where the Convex CLI looks, only in .env.production:2, it should be the platform's backendUrl. ${WRITE_ENV}`,
    ]);
  });

  it("never prints a key that was written as the URL", async () => {
    const { mistakes } = await check({ [URL_VARIABLE]: KEY, [KEY_VARIABLE]: "https://user:secret@api.example.com" });
    expect(mistakes.join("\n")).not.toMatch(/01abcdef|secret/);
    expect(mistakes).toHaveLength(2);
  });

  it.each([
    ["NEXT_PUBLIC_CONVEX_URL", "https://happy-otter-123.convex.cloud"],
    ["NEXT_PUBLIC_CONVEX_HTTP_URL", "https://happy-otter-123.convex.site"],
    ["NEXT_PUBLIC_CONVEX_SITE_URL", "https://happy-otter-123.eu-west-1.convex.site"],
    ["VITE_CONVEX_SITE_URL", "https://happy-otter-123.convex.site"],
    ["VITE_API", "https://happy-otter-123.convex.site/v1"],
    ["CONVEX_URL", "https://happy-otter-123.convex.cloud"],
    ["EXPO_PUBLIC_CONVEX_URL", "http://old:3210"],
  ])("finds a leftover of another deployment: %s=%s", async (name, url) => {
    await put(".env.local", `# cloud\n${name}=${url}\n`);
    const { mistakes, exitCode } = await check(TARGET);
    expect(exitCode).toBe(1);
    expect(mistakes).toHaveLength(1);
    expect(mistakes[0]).toContain(`${name}: is ${new URL(url).href} in .env.local:2, it should be `);
  });

  it.each([
    ["VITE_CONVEX_URL", ".env.production", ", which wins in production"],
    ["PUBLIC_CONVEX_URL", ".env.development", ", which wins in development"],
    ["VUE_APP_CONVEX_URL", ".env.production.local", ", which wins in production"],
    // In Next, Expo and Create React App, .env.local wins over it.
    ["NEXT_PUBLIC_CONVEX_URL", ".env.production", undefined],
    ["EXPO_PUBLIC_CONVEX_URL", ".env.production", undefined],
    ["REACT_APP_CONVEX_URL", ".env.production", undefined],
    ["NEXT_PUBLIC_CONVEX_URL", ".env.production.local", ", which wins in production"],
    ["NEXT_PUBLIC_CONVEX_URL", ".env", undefined],
    ["GATSBY_CONVEX_URL", ".env.production", ", which wins in production"],
  ])("%s in %s: the check follows its framework's order", async (name, file, says) => {
    await put(".env.local", `${name}=https://api.example.com\n`);
    await put(file, `${name}=http://old:3210\n`);
    const { mistakes } = await check(TARGET);
    expect(mistakes).toEqual(
      says === undefined
        ? []
        : [
            `${name}: is http://old:3210/ in ${file}:1${says}, it should be https://api.example.com, because browsers refuse http: and ws: from a page over https:. Write there: ${name}=https://api.example.com`,
          ],
    );
    expect((await check({ ...TARGET, [name]: "https://api.example.com" })).mistakes).toEqual([]);
  });

  it.each([
    ["http://api.example.com", ", because browsers refuse http: and ws: from a page over https:"],
    ["ws://api.example.com", ", because browsers refuse http: and ws: from a page over https:"],
    ["http://localhost:3210", ""],
    ["https://old.example.com", ""],
  ])("says of %s whether a page over HTTPS cannot call it", async (url, why) => {
    await put(".env.local", `VITE_CONVEX_URL=${url}\n`);
    expect((await check(TARGET)).mistakes).toEqual([
      `VITE_CONVEX_URL: is ${new URL(url).href} in .env.local:1, it should be https://api.example.com${why}. ` +
        "Write there: VITE_CONVEX_URL=https://api.example.com",
    ]);
  });

  it("expands references to other variables as the framework does", async () => {
    await put(".env.local", `${URL_VARIABLE}=https://api.example.com\nNEXT_PUBLIC_CONVEX_URL=$${URL_VARIABLE}\n`);
    expect(await check({ [KEY_VARIABLE]: KEY })).toEqual({ exitCode: 0, mistakes: [] });
  });

  it("does not expand references to variables of later files in Next", async () => {
    await put(".env", `${URL_VARIABLE}=https://api.example.com\nVITE_CONVEX_URL=$${URL_VARIABLE}\n`);
    await put(".env.local", `NEXT_PUBLIC_CONVEX_URL=$${URL_VARIABLE}/x\nVITE_CONVEX_URL=$${URL_VARIABLE}\n`);
    expect((await check({ [KEY_VARIABLE]: KEY })).mistakes).toEqual([
      expect.stringContaining("NEXT_PUBLIC_CONVEX_URL: is not a URL in .env.local:1") as string,
    ]);
  });

  it("ignores files that no tool reads", async () => {
    await put(".env.example", "CONVEX_URL=https://happy-otter-123.convex.cloud\n");
    expect(await check(TARGET)).toEqual({ exitCode: 0, mistakes: [] });
  });
});
