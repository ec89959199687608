import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";

import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { withTable } from "../../docs/generate.ts";
import { cloudFolder } from "../../sandbox/cloud/state.ts";
import { type Contents, contentsOf } from "../e2e/contents.ts";
import { killedAfter } from "../e2e/ended-up.ts";
import { type Run, TestCloud } from "../e2e/harness.ts";
import { probe } from "../e2e/probe.ts";
import { stepByStep } from "../steps.ts";

// Disturbs a first deployment, the replacement of the droplet and a destroy at every point. The same command must then complete
// the work, without anything that a person does by hand except `pulumi cancel`, with all data and nothing left over in the account.
//
//   CONVEX_DROPLET_SWEEP_TABLE=write   writes the table in docs/crashes.md after a complete run

const TABLE = "docs/crashes.md";
const STACK = "swept";
const SETTINGS = { backups: "spaces", "allowedCidrs[0]": "127.0.0.0/8" };
const UP = ["up", "--skip-preview"];
const REPLACE = [...UP, "--replace", "**convex-droplet"];
const DESTROY = ["destroy", "--skip-preview"];
/** A disturbed command needs fewer runs than this. */
const MANY = 150;

/** What may be wrong with the answer to a call, and for what it stands. */
const ANSWERS: Record<string, object> = {
  "refused with 403": { status: 403 },
  "failed with 500": { status: 500 },
  "limited with 429": { status: 429 },
  "answered too late": { delay_ms: 5000 },
  "done, but not answered": { lost: true },
};

let cloud: TestCloud;
/** What a person had to do. */
const advised: string[] = [];
const table: string[][] = [["What is disturbed", "How", "Runs", "By a person", "Seconds"]];

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, SETTINGS);
});

afterAll(async () => {
  if (process.env["CONVEX_DROPLET_SWEEP_TABLE"] === "write") {
    writeFileSync(TABLE, withTable(readFileSync(TABLE, "utf8"), "## What happened", table));
  }
  await cloud[Symbol.asyncDispose]();
});

describe("a kill of the CLI after every resource", { timeout: 3_600_000 }, () => {
  stepByStep();

  it("of a first deployment", async () => {
    await row("first deployment", "a kill after each resource", () => killed(UP));
    await complete();
  });

  it("of a replaced droplet", async () => {
    const before = await contents();
    const droplet = await id("/v2/droplets", "droplets");
    await row("replacement of the droplet", "a kill after each resource", async () => {
      let runs = 0;
      // A run that is killed before the droplet is deleted leaves nothing to complete, so the next one gets further.
      for (let resources = 1; (await id("/v2/droplets", "droplets")) === droplet; resources += 1) {
        const { killed: wasKilled } = await killedAfter(cloud, [...REPLACE, "--stack", STACK], resources);
        runs += 1 + (await killed(UP));
        expect(wasKilled || (await id("/v2/droplets", "droplets")) !== droplet).toBe(true);
        await unlock();
      }
      return runs;
    });
    await complete();
    expect(await contents(before.until)).toEqual(before);
  });

  it("of a destroy", async () => {
    await row("destroy", "a kill after each resource", () => killed(DESTROY));
    await nothing();
  });

  describe.each(Object.entries(ANSWERS))("and each call once %s", (answer, fault) => {
    let calls: string[];
    beforeAll(async () => {
      calls = await callsMade();
      if (calls.length > 0) return;
      for (const words of [UP, DESTROY]) await repeated(words);
      calls = await callsMade();
    }, 600_000);
    afterEach(() => cloud.cloud("DELETE", "/_control/faults"));

    it("of a first deployment", async () => {
      for (const call of calls) await cloud.fault({ kind: "request", ...match(call), ...fault });
      await row("first deployment", `each call once ${answer}`, () => repeated(UP));
      await complete();
    });

    it("of a destroy", async () => {
      for (const call of calls) await cloud.fault({ kind: "request", ...match(call), ...fault });
      await row("destroy", `each call once ${answer}`, () => repeated(DESTROY));
      await nothing();
    });
  });
});

/** Repeats a command and kills it each time after one resource, until it ends by itself. Returns how often it ran. */
async function killed(words: string[]): Promise<number> {
  for (let runs = 1; runs < MANY; runs += 1) {
    await unlock();
    const run = await killedAfter(cloud, [...words, "--stack", STACK], 1);
    if (run.killed) continue;
    if (run.exitCode === 0) return runs;
    await followAdvice(run);
  }
  throw new Error(`it had not ended after ${MANY} runs`);
}

/** Repeats a command until it succeeds. Returns how often it ran. */
async function repeated(words: string[]): Promise<number> {
  let last: Run | undefined;
  for (let runs = 1; runs < MANY; runs += 1) {
    last = await cloud.pulumi([...words, "--yes", "--stack", STACK]);
    if (last.exitCode === 0) return runs;
    if ((await cloud.faultsLeft()).every((left) => left === 0)) await followAdvice(last);
  }
  throw new Error(last?.all);
}

/** Does what a run that failed tells a person to do about a volume or a bucket that a killed run has created. */
async function followAdvice(run: Run): Promise<void> {
  const [, volume] = /is empty: delete it with doctl compute volume delete ([\da-f-]{36})/.exec(run.all) ?? [];
  if (volume !== undefined) {
    advised.push("the empty volume was deleted");
    expect((await cloud.cloud("DELETE", `/v2/volumes/${volume}`)).status).toBe(204);
    return;
  }
  const [, suffix] = /Use another one: npx pulumi up --stack \w+ --replace '([^']+)'/.exec(run.all) ?? [];
  expect(suffix, run.all).toBeDefined();
  advised.push("another bucket was made");
  const up = await cloud.up(STACK, "--replace", suffix ?? "");
  expect(up.exitCode, up.all).toBe(0);
}

/** Releases the lock of a killed run. */
async function unlock(): Promise<void> {
  await cloud.pulumi(["cancel", "--yes", "--stack", STACK]);
}

async function row(what: string, how: string, disturb: () => Promise<number>): Promise<void> {
  const started = performance.now();
  const runs = await disturb();
  const cells = [
    what,
    how,
    String(runs),
    counted(advised.splice(0)),
    ((performance.now() - started) / 1000).toFixed(0),
  ];
  console.log(cells.join(" | "));
  table.push(cells);
}

/** Each different text, and how often it is there. */
function counted(texts: string[]): string {
  return [...new Set(texts)].map((text) => `${texts.filter((other) => other === text).length} × ${text}`).join(", ");
}

/** Checks that the stack is as declared and serves, and that the account has each of its parts once. */
async function complete(): Promise<void> {
  const again = await cloud.up(STACK, "--expect-no-changes");
  expect(again.exitCode, again.all).toBe(0);
  await probe(cloud, STACK, `mark ${table.length}`);
  const drift = () => cloud.operate("drift", STACK, ["--ignore", "backups"]);
  const lost = (await drift()).all.matchAll(/doctl spaces keys delete (\w+)/g);
  for (const [, key = ""] of lost) expect((await cloud.cloud("DELETE", `/v2/spaces/keys/${key}`)).status).toBe(204);
  const { exitCode, all } = await drift();
  expect(exitCode, all).toBe(0);
  expect(await account()).toEqual({ droplets: 1, volumes: 1, firewalls: 2, ssh_keys: 1, projects: 2, keys: 2 });
}

/** Checks that nothing of the stack is left. The account's own project stays. */
async function nothing(): Promise<void> {
  expect(await account()).toEqual({ droplets: 0, volumes: 0, firewalls: 0, ssh_keys: 0, projects: 1, keys: 0 });
}

async function account(): Promise<Record<string, number>> {
  const routes = {
    droplets: "/v2/droplets",
    volumes: "/v2/volumes",
    firewalls: "/v2/firewalls",
    ssh_keys: "/v2/account/keys",
    projects: "/v2/projects",
    keys: "/v2/spaces/keys",
  };
  const counts = Object.entries(routes).map(async ([kind, route]) => [kind, (await listed(route, kind)).length]);
  return Object.fromEntries(await Promise.all(counts)) as Record<string, number>;
}

async function id(route: string, kind: string): Promise<unknown> {
  return (await listed(route, kind))[0]?.id;
}

async function listed(route: string, kind: string): Promise<{ id: unknown }[]> {
  const answer = (await (await cloud.cloud("GET", route)).json()) as Record<string, { id: unknown }[]>;
  return answer[kind] ?? [];
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
