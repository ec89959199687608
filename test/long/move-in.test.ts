import { createHash } from "node:crypto";

import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { mintAdminKey } from "../../contract/admin-key.ts";
import { projectFolder } from "../../sandbox/project.ts";
import { stepByStep } from "../steps.ts";
import { HandMade } from "../e2e/hand-made.ts";
import { eventually, type Run, TestCloud } from "../e2e/harness.ts";
import { call, readFile, writeFile, writeRow } from "../e2e/probe.ts";

const STACK = "moved-in";

let cloud: TestCloud;
let old: HandMade;
/** The ids of the files, and the checksums of what was stored. */
const stored = new Map<string, string>();

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", instanceName: "swarm-dev" });
  const { stdout: image } = await cloud.pulumi(["config", "get", "backendImage", "--stack", STACK]);
  const [up, built] = await Promise.all([cloud.up(STACK), HandMade.build(cloud, image.trim())]);
  old = built;
  expect(up.exitCode, up.all).toBe(0);
  for (let index = 0; index < 40; index++) await writeRow(old.url, `row ${index}`, `value ${index}`);
  for (let index = 0; index < 12; index++) await store("x".repeat(index * 10_000 + 1));
});

afterAll(async () => {
  await old[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

async function store(content: string): Promise<void> {
  stored.set(await writeFile(old.url, content), createHash("sha256").update(content).digest("hex"));
}

const from = async () => [
  "--from",
  `root@${old.host}`,
  "--identity",
  old.identity,
  "--host-key",
  await old.fingerprint(),
];

async function moveIn(...args: string[]): Promise<Run> {
  const run = await cloud.operate("move-in", STACK, args);
  expect(run.all).not.toContain(old.secret);
  expect(run.all).not.toContain("p@ss");
  return run;
}

/** Runs a cut-over, and sends it a signal when it prints a text. */
async function interrupt(text: string, signal: NodeJS.Signals): Promise<Run> {
  const words = ["operations/cli.ts", "move-in", "--stack", STACK, ...(await from()), "--cut-over", "--yes"];
  const running = execa("node", [`${process.cwd()}/${words[0] ?? ""}`, ...words.slice(1)], {
    ...{ cwd: projectFolder(cloud.home), env: cloud.env, all: true, reject: false },
  });
  let said = "";
  running.all.on("data", (chunk: Buffer) => {
    const before = said;
    said += chunk.toString();
    if (!before.includes(text) && said.includes(text)) running.kill(signal);
  });
  const { exitCode, stdout, all } = await running;
  expect(all).toContain(text);
  return { exitCode: exitCode ?? 1, stdout, all };
}

async function answersOf(url: string) {
  const rows = await call(url, "query", "sandbox:list", {});
  const files = [...stored.keys()].map(async (id) =>
    createHash("sha256")
      .update(await readFile(url, id))
      .digest("hex"),
  );
  return { rows, files: await Promise.all(files) };
}

async function checkKey(url: string, key: string): Promise<number> {
  return (await fetch(`${url}/api/check_admin_key`, { headers: { authorization: `Convex ${key}` } })).status;
}

describe("a hand-made installation", () => {
  stepByStep();

  it("is not touched before its host key is confirmed", async () => {
    const [, , ...rest] = await from();
    const unconfirmed = await moveIn("--from", `root@${old.host}`, ...rest.slice(0, 2));
    expect(unconfirmed.exitCode).toBe(1);
    expect(unconfirmed.all).toContain(`add: --host-key ${await old.fingerprint()}`);
    const other = await moveIn(
      "--from",
      `root@${old.host}`,
      ...rest.slice(0, 2),
      "--host-key",
      `SHA256:${"A".repeat(43)}`,
    );
    expect(other.exitCode).toBe(1);
    expect(other.all).toContain("Nothing was sent to it");
  });

  it("does not move into a stack with another secret, and the printed settings make it the same", async () => {
    const refused = await moveIn(...(await from()));
    expect(refused.exitCode).toBe(1);
    expect(refused.all).toContain("another secret");
    expect(refused.all).toContain("config set --stack moved-in --secret instanceSecret");
    // What the printed command pipes there.
    expect(await old.sh("cat /mnt/swarm_dev_convex/data/credentials/instance_secret")).toBe(old.secret);
    await cloud.configureSecretly(STACK, "instanceSecret", old.secret);
    const up = await cloud.up(STACK);
    expect(up.exitCode, up.all).toBe(0);
    expect((await cloud.outputs(STACK))["adminKey"]).toBe(mintAdminKey(old.name, old.secret));
  });

  it("is only read in a rehearsal, which leaves nothing in the stack", async () => {
    const before = await old.state();
    const rehearsal = await moveIn(...(await from()));
    expect(rehearsal.exitCode, rehearsal.all).toBe(0);
    expect(rehearsal.all).toMatch(/Moves: \d+ versions of documents, 12 stored files/);
    expect(rehearsal.all).toMatch(/Down: {2}about [\d.]+ s/);
    expect(rehearsal.all).toContain("--cut-over --yes");
    expect(await old.state()).toBe(before);
    expect(await inStack("ls /mnt/convex")).not.toContain("moving");
    expect(await databases()).not.toContain("moving");
  });

  it("needs --yes for the cut-over", async () => {
    const run = await moveIn(...(await from()), "--cut-over");
    expect(run.exitCode).toBe(2);
    expect((await fetch(`${old.url}/version`)).status).toBe(200);
  });

  it("serves again if the cut-over is interrupted before the swap", async () => {
    const run = await interrupt("checking the copy", "SIGINT");
    expect(run.exitCode).toBe(1);
    expect(run.all).toContain("starting the old backend again");
    await eventually("the old backend to answer", 30, async () => {
      expect((await fetch(`${old.url}/version`)).status).toBe(200);
    });
    // Rows and files that come after the copy of the files.
    await writeRow(old.url, "late", "row");
    await store("a late file");
  });

  it("moves by the same command after it was killed", async () => {
    const expected = await answersOf(old.url);
    expect(expected.files).toEqual([...stored.values()]);
    await interrupt("stopping the backend", "SIGKILL");
    let run = await moveIn(...(await from()), "--cut-over", "--yes");
    await eventually("the killed one's work on the droplet to end", 60, async () => {
      if (run.all.includes("at work on this droplet")) run = await moveIn(...(await from()), "--cut-over", "--yes");
      expect(run.all).not.toContain("at work on this droplet");
    });
    expect(run.exitCode, run.all).toBe(0);
    const { backendUrl = "" } = await cloud.outputs(STACK);
    expect(await answersOf(backendUrl)).toEqual(expected);
    expect(await checkKey(backendUrl, mintAdminKey(old.name, old.secret))).toBe(200);
    expect(await old.sh("docker inspect --format '{{.State.Running}}' convex-backend")).toBe("false");
  });

  it("moves again only if it may replace the rows, and prints the downtime", async () => {
    await old.sh("docker start convex-backend");
    await eventually("the old backend to answer", 30, async () => {
      expect((await fetch(`${old.url}/version`)).status).toBe(200);
    });
    await writeRow(old.url, "later", "row");
    const expected = await answersOf(old.url);
    const refused = await moveIn(...(await from()), "--cut-over", "--yes");
    expect(refused.exitCode).toBe(1);
    expect(refused.all).toMatch(/has \d+ documents and files of its own.*add: --replace/);
    const run = await moveIn(...(await from()), "--cut-over", "--yes", "--replace");
    expect(run.exitCode, run.all).toBe(0);
    process.stdout.write(`${/Down: .*/.exec(run.all)?.[0] ?? ""}\n`);
    expect(run.all).toMatch(/Down: {2}[\d.]+ s/);
    expect(run.all).toContain(`ssh root@${old.host} docker start convex-backend`);
    const { backendUrl = "" } = await cloud.outputs(STACK);
    expect(await answersOf(backendUrl)).toEqual(expected);
    expect(await old.sh("cd / && runuser -u postgres -- psql -Atd swarmdb -c 'SELECT count(*) FROM orders'")).toBe(
      "100",
    );
    expect((await cloud.pulumi(["preview", "--refresh", "--expect-no-changes", "--stack", STACK])).exitCode).toBe(0);
  });

  it("leaves what the stack had before until that is removed, and no drift", async () => {
    expect((await databases()).match(/swarm_dev_before_/g)).toHaveLength(2);
    const forgotten = await moveIn("--forget");
    expect(forgotten.exitCode, forgotten.all).toBe(0);
    expect(await databases()).not.toContain("before");
    expect(await inStack("ls /mnt/convex")).not.toContain("before");
    const drift = await cloud.operate("drift", STACK);
    expect(drift.exitCode, drift.all).toBe(0);
  });
});

async function inStack(command: string): Promise<string> {
  const { all, exitCode } = await cloud.onDroplet(STACK, command);
  expect(exitCode, all).toBe(0);
  return all;
}

const databases = () => inStack("cd / && runuser -u postgres -- psql -Atc 'SELECT datname FROM pg_database'");
