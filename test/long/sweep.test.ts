import { readFileSync } from "node:fs";
import path from "node:path";

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { cloudFolder } from "../../sandbox/cloud/state.ts";
import { publishRevision } from "../../sandbox/images/build.ts";
import { type Contents, contentsOf } from "../e2e/contents.ts";
import { killedAfter } from "../e2e/ended-up.ts";
import { TestCloud } from "../e2e/harness.ts";
import { stepByStep } from "../steps.ts";
import { DEPLOYED, DisturbedStack, EMPTY } from "./disturbed.ts";

// Disturbs a first deployment, the replacement of the droplet, an upgrade and a destroy at every point. The same command must then complete
// the work, without anything that a person does by hand except `pulumi cancel`, with all data and nothing left over in the account.
// disturbed.ts names the variable that writes the table of docs/crashes.md.

const STACK = "swept";
const SETTINGS = { backups: "spaces", "allowedCidrs[0]": "127.0.0.0/8" };
const UP = ["up", "--skip-preview"];
const REPLACE = [...UP, "--replace", "**convex-droplet"];
const DESTROY = ["destroy", "--skip-preview"];

/** What may be wrong with the answer to a call, and for what it stands. */
const ANSWERS: Record<string, object> = {
  "refused with 403": { status: 403 },
  "failed with 500": { status: 500 },
  "limited with 429": { status: 429 },
  "answered too late": { delay_ms: 5000 },
  "done, but not answered": { lost: true },
};

/** The engine has not always recorded the last one of a killed run, so some runs have to get further than the one before. */
const further = (runs: number) => Math.ceil(runs / 2);

let cloud: TestCloud;
let stack: DisturbedStack;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, SETTINGS);
  stack = new DisturbedStack(cloud, STACK);
});

afterAll(async () => {
  stack.writeTable();
  await cloud[Symbol.asyncDispose]();
});

describe("a kill of the CLI after every resource", { timeout: 3_600_000 }, () => {
  stepByStep();

  it("of a first deployment", async () => {
    await stack.row("first deployment", "a kill after each resource", () => killed(UP));
    await stack.expectComplete(DEPLOYED);
  });

  it("of a replaced droplet", async () => {
    const before = await contents();
    const droplet = await id("/v2/droplets", "droplets");
    await stack.row("replacement of the droplet", "a kill after each resource", async () => {
      let runs = 0;
      // Most of the resources are on the droplet, and deleted before it. What a run has deleted until its end, the next one creates again, and only
      // the run that deletes the droplet has to be completed by runs that are killed, too.
      for (let resources = 1; (await id("/v2/droplets", "droplets")) === droplet; resources += 1) {
        const { killed: wasKilled } = await killedAfter(cloud, [...REPLACE, "--stack", STACK], resources);
        const isReplaced = (await id("/v2/droplets", "droplets")) !== droplet;
        expect(wasKilled || isReplaced).toBe(true);
        await stack.unlock();
        runs += 1 + (await (isReplaced ? killed(UP, further) : repeated(UP)));
      }
      return runs;
    });
    // Before the next check, which writes a row and a file.
    expect(await contents(before.until)).toEqual(before);
    await stack.expectComplete(DEPLOYED);
  });

  it("of an upgrade", async () => {
    const before = await contents();
    const { backend, dashboard } = await publishRevision(cloud.home, { metadataVersion: 129 });
    await cloud.configure(STACK, "backendImage", backend);
    await cloud.configure(STACK, "dashboardImage", dashboard);
    await stack.row("upgrade of both images", "a kill after each resource", () => killed(UP, further));
    const image = await cloud.onDroplet(STACK, "docker inspect --format '{{.Config.Image}}' convex-backend");
    expect(image.stdout).toBe(backend);
    expect(await contents(before.until)).toEqual(before);
    await stack.expectComplete(DEPLOYED);
  });

  it("of a destroy", async () => {
    // Here, it has recorded none of the last ones.
    await stack.row("destroy", "a kill after each resource", () => killed(DESTROY, (runs) => runs));
    await stack.expectAccount(EMPTY);
  });

  describe.each(Object.entries(ANSWERS))("and each call once %s", (answer, fault) => {
    let calls: string[];
    beforeAll(async () => {
      calls = await callsMade();
      if (calls.length > 0) return;
      for (const words of [UP, DESTROY]) await repeated(words);
      calls = await callsMade();
    }, 600_000);
    // Of calls that this command has not made. The test's own would meet them.
    const forgetFaults = () => cloud.cloud("DELETE", "/_control/faults");
    afterEach(forgetFaults);

    it("of a first deployment", async () => {
      for (const call of calls) await cloud.fault({ kind: "request", ...match(call), ...fault });
      await stack.row("first deployment", `each call once ${answer}`, () => repeated(UP));
      await forgetFaults();
      await stack.expectComplete(DEPLOYED);
    });

    it("of a destroy", async () => {
      for (const call of calls) await cloud.fault({ kind: "request", ...match(call), ...fault });
      await stack.row("destroy", `each call once ${answer}`, () => repeated(DESTROY));
      await forgetFaults();
      await stack.expectAccount(EMPTY);
    });
  });
});

/**
 * Repeats a command and kills it each time, until it ends by itself. Returns how often it ran.
 *
 * @param resources  after how many resources, in this run; the first is run 1
 */
function killed(words: string[], resources = (_: number) => 1): Promise<number> {
  let runs = 0;
  return stack.completed(async (more) => {
    await stack.unlock();
    runs += 1;
    const run = await killedAfter(cloud, [...words, ...more, "--stack", STACK], resources(runs));
    return run.killed ? undefined : run;
  });
}

/** Repeats a command until it succeeds. Returns how often it ran. */
function repeated(words: string[]): Promise<number> {
  return stack.completed(
    (more) => cloud.pulumi([...words, ...more, "--yes", "--stack", STACK]),
    async () => (await cloud.faultsLeft()).some((left) => left > 0),
  );
}

async function id(route: string, kind: string): Promise<unknown> {
  return (await stack.listed(route, kind))[0]?.id;
}

function contents(until?: string): Promise<Contents> {
  return contentsOf(async (command) => (await cloud.onDroplet(STACK, command)).stdout, until);
}

/** Method and path of each different call so far, with `*` for ids. */
async function callsMade(): Promise<string[]> {
  const log = readFileSync(path.join(await cloudFolder(cloud.home), "log"), "utf8");
  const calls = [...log.matchAll(/ (GET|POST|PUT|PATCH|DELETE) (\/v2\/\S+) \d+$/gm)].map(
    ([, method, route = ""]) => `${method ?? ""} ${route.replace(/\/(?:\d[\d.]*|[\da-f-]{36})(?=\/|$)/g, "/*")}`,
  );
  return [...new Set(calls)];
}

function match(call: string): { method: string; path: string } {
  const [method = "", route = ""] = call.split(" ");
  return { method, path: `^${route.replaceAll("*", "[^/]+")}$` };
}
