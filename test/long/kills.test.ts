import { randomInt } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { SCRIPTS } from "../../contract/scripts.ts";
import { withTable } from "../../docs/generate.ts";
import { projectFolder } from "../../sandbox/project.ts";
import { HandMade } from "../e2e/hand-made.ts";
import { eventually, type Run, ssh, TestCloud } from "../e2e/harness.ts";
import { call, writeFile, writeRow } from "../e2e/probe.ts";
import { randomNumbers } from "./random.ts";

// Kills something at random moments of each operation. Afterwards the instance must serve again by itself, with exactly the rows and
// files from before or from after the operation, and the same command must succeed.
//
//   CONVEX_DROPLET_KILLS_SEED=NUMBER   the random moments of an earlier run, which has printed this number
//   CONVEX_DROPLET_KILLS_TABLE=write   writes the table in docs/kills.md after a complete run

const STACK = "kills";
const TABLE = "docs/kills.md";
/** A row that shows that writes work, and does not count as content. */
const PULSE = "pulse";

const seed = Number(process.env["CONVEX_DROPLET_KILLS_SEED"] ?? randomInt(2 ** 31));
const random = randomNumbers(seed);

/** An instance, on the stack's droplet or on the old machine. */
interface Instance {
  url: string;
  folder: string;
  /** Runs a command as root. @throws Error if it fails */
  sh(command: string): Promise<string>;
}

/** What an instance contains. */
interface Contents {
  rows: string;
  /** The checksums of its files. */
  files: string;
  /** The checksum of its documents up to a time, because each check of a backend adds some. */
  documents: string;
  until: string;
}

/** One run of an operation that will be disturbed. */
interface Trial {
  words: string[];
  before: Contents;
  after: Contents;
  /** For an operation that does not change the instance: whether its result is there. */
  isDone?: () => Promise<boolean>;
  /** What holds before the command is run again. */
  checkHalfway?: (outcome: Outcome) => Promise<void>;
  /** Checks what only this operation leaves, and removes what it has kept. */
  end: () => Promise<void>;
}

type Outcome = "before" | "after";

let cloud: TestCloud;
let stack: Instance & { id: string };
let old: HandMade & Instance;
let leftovers = "";
/** How long each operation takes if nothing disturbs it, in milliseconds. */
const lengths = new Map<string, number>();
const table: string[][] = [["Operation", "Killed", "Second", "Last message", "State", "Command", "Seconds"]];

const VICTIMS = {
  "the command": (group: number) => process.kill(-group, "SIGKILL"),
  "the droplet": () => cloud.actOnDroplet(stack.id, "power_cycle"),
  PostgreSQL: () => stack.sh("pkill -KILL -x postgres || true"),
  "the S3 server": () => cloud.cloud("POST", "/_control/spaces", { action: "kill" }),
} satisfies Record<string, (group: number) => unknown>;
type Victim = keyof typeof VICTIMS;

/** The operations, and how often each victim is killed. */
const OPERATIONS: Record<string, { kills: [number, number, number, number]; begin: () => Promise<Trial> }> = {
  backup: { kills: [1, 2, 1, 2], begin: beginBackup },
  restore: { kills: [3, 3, 2, 2], begin: beginRestore },
  drill: { kills: [1, 2, 1, 1], begin: beginDrill },
  "move-in": { kills: [3, 3, 2, 1], begin: beginMoveIn },
};

/** The moments are spread over each operation, as shares of its length. Its last twentieth is shorter than runs differ. */
const KILLS = Object.entries(OPERATIONS).flatMap(([operation, { kills }]) => {
  const victims = (Object.keys(VICTIMS) as Victim[]).flatMap((victim, index) =>
    Array.from({ length: kills[index] ?? 0 }, () => ({ victim, order: random() })),
  );
  return victims
    .toSorted((one, other) => one.order - other.order)
    .map(({ victim }, index) => {
      const moment = (0.95 * (index + random())) / victims.length;
      const title = `${victim} during a ${operation}, at ${Math.round(moment * 100)} %`;
      return { title, operation, victim, moment };
    });
});

beforeAll(async () => {
  console.log(`to repeat this run: CONVEX_DROPLET_KILLS_SEED=${seed}`);
  cloud = await TestCloud.start();
  const settings = { size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", backups: "spaces" };
  await cloud.createStack(STACK, { ...settings, instanceName: "swarm-dev" });
  const { stdout: image } = await cloud.pulumi(["config", "get", "backendImage", "--stack", STACK]);
  const [, made] = await Promise.all([cloud.up(STACK).then(succeeded), HandMade.build(cloud, image.trim())]);
  old = Object.assign(made, { folder: "/mnt/swarm_dev_convex/data" });
  await cloud.configureSecretly(STACK, "instanceSecret", old.secret);
  succeeded(await cloud.up(STACK));
  stack = await deployed();
  await change(stack, "first");
  succeeded(await operate(["backup", "now"]));
  leftovers = await whatIsLeft();
});

afterAll(async () => {
  if (process.env["CONVEX_DROPLET_KILLS_TABLE"] === "write" && table.length > KILLS.length) {
    writeFileSync(TABLE, withTable(readFileSync(TABLE, "utf8"), "## What happened", table));
  }
  await old[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

describe("an operation is done or undone after the kill of", { timeout: 300_000 }, () => {
  it.each(KILLS.map((kill) => [kill.title, kill] as const))("%s", async (_, { operation, victim, moment }) => {
    const { running, trial, second } = await runUntil(operation, moment);
    const { words, before, after, isDone, checkHalfway, end } = trial;
    const [step, killed] = [running.step(), performance.now()];
    await VICTIMS[victim](running.group);
    await serves();
    const run = await running.ended;
    await quiet();
    await serves();
    const seconds = (performance.now() - killed) / 1000;

    const isAfter = await equals(after);
    if (!isAfter) expect(await contents(stack, before.until), run.all).toEqual(before);
    const outcome = (await (isDone?.() ?? isAfter)) ? "after" : "before";
    if (run.exitCode === 0) expect(outcome, run.all).toBe("after");
    await checkHalfway?.(outcome);

    succeeded(await operate(words));
    expect(await contents(stack, after.until)).toEqual(after);
    await end();
    await quiet();
    expect(await whatIsLeft()).toBe(leftovers);
    succeeded(await operate(["drift"]));
    const command = victim === "the command" ? "killed" : run.exitCode === 0 ? "succeeded" : "failed";
    const row = [operation, victim, second, step, outcome, command, seconds.toFixed(1)];
    console.log(row.join(" | "));
    table.push(row);
  });
});

/** Runs an operation until this share of its length. If it has ended before, that was its length, and the next run is the one. */
async function runUntil(operation: string, moment: number) {
  for (;;) {
    const trial = await (OPERATIONS[operation] ?? expect.fail()).begin();
    const started = performance.now();
    const running = startCommand(trial.words);
    const length = lengths.get(operation);
    const hasEnded = running.ended.then(() => true);
    if (length !== undefined && !(await Promise.race([hasEnded, sleep(moment * length, false)]))) {
      const second = `${((moment * length) / 1000).toFixed(1)} of ${(length / 1000).toFixed(1)}`;
      return { trial, running, second };
    }
    succeeded(await running.ended);
    lengths.set(operation, performance.now() - started);
    expect(await contents(stack, trial.after.until)).toEqual(trial.after);
    await trial.end();
  }
}

async function beginBackup(): Promise<Trial> {
  await change(stack, "for a backup");
  const before = await contents(stack);
  const backups = async () =>
    (JSON.parse(succeeded(await operate(["backup", "--format", "json"]), "stdout")) as { backups: unknown[] }).backups
      .length;
  const earlier = await backups();
  return {
    ...{ words: ["backup", "now"], before, after: before },
    isDone: async () => (await backups()) > earlier,
    end: async () => {
      succeeded(await operate(["backup", "verify"]));
    },
  };
}

async function beginDrill(): Promise<Trial> {
  const before = await contents(stack);
  const report = () => stack.sh("cat /mnt/convex/backups/drill.json 2> /dev/null || true");
  const earlier = await report();
  return {
    ...{ words: ["drill"], before, after: before },
    isDone: async () => (await report()) !== earlier,
    end: async () => {
      expect(JSON.parse(await report())).toMatchObject({ result: "ok" });
    },
  };
}

async function beginRestore(): Promise<Trial> {
  const after = await contents(stack);
  const point = await stack.sh(
    `bash ${SCRIPTS}/backups/point.sh now 2> /dev/null; jq -r .point /mnt/convex/backups/point.json`,
  );
  await change(stack, "lost");
  return {
    ...{ words: ["restore", "--to", point, "--yes"], before: await contents(stack), after },
    end: async () => {
      succeeded(await operate(["restore", "--forget"]));
    },
  };
}

async function beginMoveIn(): Promise<Trial> {
  await startOld();
  await change(stack, "replaced");
  await change(old, "moved");
  const [before, after] = [await contents(stack), await contents(old)];
  const isStopped = async () =>
    (await old.sh("docker inspect --format '{{.State.Running}}' convex-backend")) === "false";
  return {
    words: [
      ...["move-in", "--from", `root@${old.host}`, "--identity", old.identity, "--host-key", await old.fingerprint()],
      ...["--cut-over", "--yes", "--replace"],
    ],
    ...{ before, after },
    checkHalfway: async (outcome) => {
      if (outcome === "after") {
        expect(await isStopped()).toBe(true);
      } else {
        await startOld();
        expect(await contents(old, after.until)).toEqual(after);
      }
    },
    end: async () => {
      expect(await isStopped()).toBe(true);
      succeeded(await operate(["move-in", "--forget"]));
    },
  };
}

/** As docs/move-in.md says. */
async function startOld(): Promise<void> {
  await old.sh("docker start convex-backend > /dev/null");
  await eventually("the old backend to serve", 60, () => pulse(old));
}

async function deployed(): Promise<typeof stack> {
  const { backendUrl = "", publicIp = "", sshPrivateKey = "", sshHostKey = "" } = await cloud.outputs(STACK);
  const { droplets } = (await (await cloud.cloud("GET", "/v2/droplets")).json()) as {
    droplets: { id: number; networks: { v4: { ip_address: string }[] } }[];
  };
  const droplet = droplets.find(({ networks }) => networks.v4.some((found) => found.ip_address === publicIp));
  return {
    id: String(droplet?.id),
    url: backendUrl,
    folder: "/mnt/convex/data",
    sh: async (command) =>
      succeeded(await ssh({ host: publicIp, key: sshPrivateKey, hostKey: sshHostKey }, command)).trim(),
  };
}

/** Runs a command of this repository as the leader of a process group, as a terminal does. */
function startCommand([verb = "", ...rest]: string[]) {
  const words = [path.resolve("operations/cli.ts"), verb, "--stack", STACK, ...rest];
  const running = execa("node", words, {
    ...{ cwd: projectFolder(cloud.home), env: cloud.env, all: true, reject: false, detached: true, stdin: "ignore" },
  });
  let printed = "";
  running.all.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  const ended = running.then(({ exitCode, stdout, all }) => ({ exitCode: exitCode ?? 137, stdout, all }));
  return { group: running.pid ?? 0, ended, step: () => stepIn(printed) };
}

/** The last message about progress, without names and numbers. */
function stepIn(printed: string): string {
  const [, script = "", message = ""] = [...printed.matchAll(/^([a-z-]+)(?:\.sh)?: (?!error)(.*)$/gm)].at(-1) ?? [];
  const step = message.replace(/( (to|of|from( backup)?))? ?\S*\d.*| \(.*/, "");
  return /^[a-z]/.test(step) ? step : script === "" ? "" : `${script} has ended`;
}

function operate([verb = "", ...rest]: string[]): Promise<Run> {
  return cloud.operate(verb, STACK, rest);
}

function succeeded(run: Run, output: "stdout" | "all" = "all"): string {
  expect(run.exitCode, run.all).toBe(0);
  return run[output];
}

/** Adds a row and a file. */
async function change({ url }: Instance, text: string): Promise<void> {
  const unique = `${text} ${Date.now()}`;
  await writeRow(url, unique, unique);
  await writeFile(url, unique);
}

async function contents(instance: Instance, until = ""): Promise<Contents> {
  const rows = (await call(instance.url, "query", "sandbox:list", {})) as { key: string }[];
  const said = await instance.sh(`
    cd / && runuser -u postgres -- psql -Atd swarm_dev << 'END'
SELECT ${until === "" ? "max(ts)" : until} AS until FROM documents LIMIT 1 \\gset
SELECT :until;
SELECT md5(string_agg(d::text, '|' ORDER BY ts, table_id, id)) FROM documents d WHERE ts <= :until;
END
    cd ${instance.folder}/storage/files && find . -type f ! -name '.*' -exec sha256sum {} + | sort`);
  const [newest = "", documents = "", ...files] = said.split("\n");
  const counted = rows.filter(({ key }) => key !== PULSE);
  return { rows: JSON.stringify(counted), files: files.join("\n"), documents, until: newest };
}

async function equals(expected: Contents): Promise<boolean> {
  return JSON.stringify(await contents(stack, expected.until)) === JSON.stringify(expected);
}

/** Writes and reads. */
async function pulse({ url }: Instance): Promise<void> {
  const signal = AbortSignal.timeout(5000);
  await fetch(`${url}/version`, { signal });
  await writeRow(url, PULSE, String(Date.now()));
}

const serves = () => eventually("the instance to serve", 180, () => pulse(stack));

/** Waits until the droplet is booted and no script works there. */
async function quiet(): Promise<void> {
  await eventually("the work on the droplet to end", 300, async () => {
    const working = await stack.sh(
      `systemctl is-system-running | grep -E 'starting|initializing' || true; pgrep -af '[c]onvex-droplet/(backups|move-in)/' || true`,
    );
    expect(working).toBe("");
  });
}

/** Folders, databases and services that an operation may leave, and the timers. */
function whatIsLeft(): Promise<string> {
  return stack.sh(`
    cd /mnt/convex && ls -d * backups/* postgresql/*/* /run/convex-droplet-beside 2> /dev/null | grep -Ev '\\.(json|lock)$|^backups/swapped$'
    cd / && runuser -u postgres -- psql -Atc 'SELECT datname FROM pg_database ORDER BY 1'
    systemctl list-units --plain --no-legend 'convex-*beside*'
    systemctl is-active convex-restore-point.timer convex-base-backup.timer convex-drill.timer`);
}
