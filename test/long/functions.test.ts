import { cp, mkdir, mkdtemp, rename, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { FinishedPush } from "../../sandbox/images/backend/pushes.ts";
import { TestCloud } from "../e2e/harness.ts";
import { leaksOf, ProcessWatch, secretsOf } from "../e2e/leaks.ts";
import { succeeded } from "../e2e/succeeded.ts";
import { stepByStep } from "../steps.ts";

const CHECKOUT = path.resolve(import.meta.dirname, "../..");
const STACK = "functions";
/** What another deployment would be chosen by. */
const ELSEWHERE = { CONVEX_DEPLOYMENT: "prod:else", CONVEX_DEPLOY_KEY: "prod:else|0123" };

let cloud: TestCloud;
let processes: ProcessWatch;
/** A monorepo, and the package with the functions in it. */
let workspace: string;
let backend: string;

beforeAll(async () => {
  cloud = await TestCloud.start();
  processes = new ProcessWatch();
  workspace = await mkdtemp(path.join(tmpdir(), "convex-droplet-monorepo-"));
  backend = path.join(workspace, "packages/backend");
  await mkdir(path.join(workspace, "shared"));
  const example = path.join(CHECKOUT, "examples/app-repo");
  await cp(path.join(example, "convex"), path.join(backend, "functions"), { recursive: true });
  await put("package-lock.json", "{}");
  await put("shared/words.ts", 'export const word = "first";\n');
  await put("packages/backend/package.json", '{"type":"module","dependencies":{"convex":"1.48.0"}}');
  await put("packages/backend/convex.json", '{"functions":"functions/"}');
  await put("packages/backend/functions/words.ts", 'export { word } from "../../../shared/words.js";\n');
  await put("packages/backend/.env.local", "CONVEX_DEPLOYMENT=prod:else\nCONVEX_SELF_HOSTED_URL=http://127.0.0.1:1\n");
  await put(".gitignore", "node_modules\n.env.local\n");
  await execa("git", ["init", "--quiet"], { cwd: workspace });
  // It is closed from outside, so the functions have to come through SSH.
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb", functionPackage: backend, functionProbe: "sandbox:list" });
});

afterAll(async () => {
  await processes[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
  await rm(workspace, { recursive: true });
});

async function put(file: string, text: string): Promise<void> {
  await writeFile(path.join(workspace, file), text);
}

/** What the backend got last. */
async function pushed(): Promise<FinishedPush | null> {
  const { adminKey = "" } = await cloud.outputs(STACK);
  const ask = "curl --silent --config - http://127.0.0.1:3210/_control/push";
  return JSON.parse(
    succeeded(await cloud.onDroplet(STACK, ask, `header = "Authorization: Convex ${adminKey}"\n`)),
  ) as FinishedPush | null;
}

/** The changes that a preview shows, by resource. */
async function planned(): Promise<Record<string, string>> {
  const { stdout } = await cloud.pulumi(["preview", "--json", "--stack", STACK]);
  const { steps } = JSON.parse(stdout) as { steps: { op: string; urn: string }[] };
  return Object.fromEntries(
    steps.filter(({ op }) => op !== "same").map(({ op, urn }) => [urn.slice(urn.lastIndexOf("::") + 2), op]),
  );
}

/** Runs `up`, which has to fail. Returns its output on one line. */
async function failedUp(): Promise<string> {
  const { exitCode, all } = await cloud.up(STACK);
  expect(exitCode, all).not.toBe(0);
  return all.replaceAll(/\s+/g, " ");
}

const source = async () => (await pushed())?.modules.map((module) => module.source).join("\n");

describe("functions that the stack deploys", () => {
  stepByStep();

  it("are refused by a preview while the CLI is not installed, with the command that installs it", async () => {
    const { exitCode, all } = await cloud.pulumi(["preview", "--stack", STACK]);
    expect(exitCode).not.toBe(0);
    expect(all.replaceAll(/\s+/g, " ")).toContain(
      `functionPackage: convex: is installed neither here nor in a folder above, it should be. Run: cd ${backend} && npm ci`,
    );
    await symlink(path.join(CHECKOUT, "node_modules"), path.join(workspace, "node_modules"));
  });

  it("are deployed by the first up, to this stack and not to the one that files and shell of the app name", async () => {
    const up = succeeded(await cloud.pulumi(["up", "--yes", "--skip-preview", "--stack", STACK], ELSEWHERE));
    expect(up).toContain("Deployed Convex functions to the backend");
    expect(up).toContain("sandbox:list succeeds");
    const push = await pushed();
    expect(push?.functions).toBe("functions/");
    // The bundler makes a third module, which the two share.
    expect(push?.modules.map((module) => module.path)).toEqual([
      expect.stringMatching(/^_deps\//),
      "messages.js",
      "words.js",
    ]);
  });

  it("are not deployed again by a second up", async () => {
    const before = await pushed();
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect(await pushed()).toEqual(before);
  });

  it("are deployed again if code changes that they import from elsewhere in the workspace", async () => {
    await put("shared/words.ts", 'export const word = "second";\n');
    expect(await planned()).toEqual({ "convex-functions": "replace" });
    succeeded(await cloud.up(STACK));
    expect(await source()).toContain('"second"');
  });

  it("fail the run with the query's own error if the probe fails, and the next run tries it again without a push", async () => {
    const before = await pushed();
    await cloud.configure(STACK, "functionProbe", "messages:list");
    for (const attempt of [1, 2]) {
      const said = await failedUp();
      expect(said, `attempt ${attempt}`).toMatch(
        /functionProbe messages:list: fails, it should succeed without arguments\. .* Its error: 'messages:list' was pushed\./,
      );
    }
    await cloud.configure(STACK, "functionProbe", "sandbox:list");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect(await pushed()).toEqual(before);
  });

  it("stay as they are if the CLI fails, and the run shows its reason", async () => {
    const before = await pushed();
    await put("packages/backend/functions/words.ts", 'export { word } from "../../../shared/nowhere.js";\n');
    const said = await failedUp();
    expect(said).toContain('Could not resolve "../../../shared/nowhere.js"');
    expect(said).toContain(`the Convex CLI could not deploy ${backend} (exit code 1)`);
    expect(await pushed()).toEqual(before);
  });

  it("are not deployed to another instance that answers on the droplet", async () => {
    await put("packages/backend/functions/words.ts", 'export const word = "third";\n');
    const stranger =
      "docker stop convex-backend && mkdir -p /srv/other && printf other > /srv/other/instance_name && " +
      "systemd-run --quiet --unit stranger python3 -m http.server 3210 --bind 127.0.0.1 --directory /srv/other && " +
      "timeout 20 bash -c 'until curl -fs http://127.0.0.1:3210/instance_name; do sleep 0.2; done'";
    succeeded(await cloud.onDroplet(STACK, stranger));
    expect(await failedUp()).toContain(
      'the backend: is instance "other", it should be convex-self-hosted, so no functions were deployed.',
    );
    const back =
      "systemctl stop stranger && docker start convex-backend && " +
      "timeout 60 bash -c 'until curl -fs http://127.0.0.1:3210/version; do sleep 0.2; done'";
    succeeded(await cloud.onDroplet(STACK, back));
    expect(await source()).not.toContain('"third"');
    succeeded(await cloud.up(STACK));
    expect(await source()).toContain('"third"');
  });

  it("are not needed by a refresh, a drift check and an up that leaves them out, only by one that would deploy them", async () => {
    await rename(workspace, `${workspace}-away`);
    try {
      succeeded(await cloud.pulumi(["refresh", "--yes", "--stack", STACK], { PULUMI_RUN_PROGRAM: "true" }));
      const { all } = await cloud.operate("drift", STACK, ["--ignore", "backups"]);
      expect(all).toContain("is as declared");
      const said = await failedUp();
      expect(said).toContain(
        `functionPackage: ${backend}: is missing, it should be the folder of the package with the app's functions.`,
      );
      expect(said).toContain(`up --stack ${STACK} --exclude '**convex-functions'`);
      succeeded(await cloud.up(STACK, "--exclude", "**convex-functions", "--expect-no-changes"));
    } finally {
      await rename(`${workspace}-away`, workspace);
    }
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it("are on a replaced droplet, which a computer without the app can make, and are not deployed again by the next up", async () => {
    const before = await pushed();
    await rename(workspace, `${workspace}-away`);
    try {
      succeeded(await cloud.up(STACK, "--replace", "**convex-droplet", "--exclude", "**convex-functions"));
    } finally {
      await rename(`${workspace}-away`, workspace);
    }
    // With another address, the probe would run there, which is an update.
    expect(Object.values(await planned())).not.toContain("replace");
    succeeded(await cloud.up(STACK));
    expect(await pushed()).toEqual(before);
  });

  it("stay if the stack no longer deploys them", async () => {
    const before = await pushed();
    for (const key of ["functionPackage", "functionProbe"]) {
      succeeded(await cloud.pulumi(["config", "rm", key, "--stack", STACK]));
    }
    expect(await planned()).toMatchObject({ "convex-functions": "delete" });
    succeeded(await cloud.up(STACK));
    expect(await pushed()).toEqual(before);
  });

  it("are deployed without a secret in a log, a process list, the state or a readable file", async () => {
    expect(await leaksOf(cloud, STACK, processes, await secretsOf(cloud, STACK))).toEqual([]);
    const { adminKey = "" } = await cloud.outputs(STACK);
    expect(cloud.transcript).not.toContain(adminKey);
    expect(processes.commandLines).not.toContain(adminKey);
  });
});
