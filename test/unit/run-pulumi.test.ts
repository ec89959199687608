import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { hostname, tmpdir, userInfo } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { runPulumi } from "../../contract/run-pulumi.ts";
import { waitFor } from "../../sandbox/wait-for.ts";

const HERE = { user: userInfo().username, host: hostname() };
/** Beyond the highest process id of Linux. */
const DEAD = 4_194_305;

let folder: string;
let cli: string;
let said: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "run-pulumi-"));
  cli = path.join(folder, "pulumi");
  said = "";
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
});

afterEach(() => {
  vi.restoreAllMocks();
  rmSync(folder, { recursive: true });
});

/** A CLI that notes how it is called, and does this then. */
function act(script: string): void {
  writeFileSync(cli, `#!/bin/sh\necho "$*" >> ${folder}/calls\n${script}\n`);
  chmodSync(cli, 0o755);
}

const calls = () => readFileSync(path.join(folder, "calls"), "utf8").trim().split("\n");

const fileUrl = (name: string) => `file://${folder}/.pulumi/locks/organization/app/dev/${name}.json?metadata=skip`;
const lockFile = (name: string) => path.join(folder, ".pulumi/locks/organization/app/dev", `${name}.json`);

/** A CLI that fails while a lock is there, as the original does. `pulumi cancel` removes the lock of a bucket. */
function lock({ url = fileUrl("a"), user = HERE.user, host = HERE.host, pid = DEAD } = {}): void {
  mkdirSync(path.dirname(lockFile("a")), { recursive: true });
  writeFileSync(lockFile("a"), "{}");
  act(`
    if [ "$1" = cancel ]; then rm ${lockFile("a")}; exit; fi
    if [ ! -e ${lockFile("a")} ]; then echo done >&2; exit 3; fi
    printf '\\033[31merror: \\033[0mthe stack is currently locked by 1 lock(s). Either wait …\\n' >&2
    printf '  %s: created by %s@%s (pid %s) at 2026-11-21T10:00:00+01:00\\n' '${url}' '${user}' '${host}' ${pid} >&2
    exit 255`);
}

it("runs the same words again if the run that has locked the stack is dead, and ends as the second one does", async () => {
  lock();
  expect((await runPulumi(cli, ["up", "--stack", "dev", "--yes"])).exitCode).toBe(3);
  expect(calls()).toEqual(["up --stack dev --yes", "up --stack dev --yes"]);
  expect(existsSync(lockFile("a"))).toBe(false);
  expect(said).toMatch(/currently locked[\s\S]*stack dev: its lock was released,[^\n]* Starting again\.\ndone\n$/);
});

it("releases a dead run's lock in a bucket with Pulumi's own command", async () => {
  lock({ url: "s3://states/.pulumi/locks/organization/app/dev/a.json?region=us-east-1" });
  expect((await runPulumi(cli, ["up"])).exitCode).toBe(3);
  expect(calls()).toEqual(["up", "cancel --yes --stack dev", "up"]);
});

it("takes a process of another program with the same id for no run", async () => {
  lock({ pid: process.pid });
  expect((await runPulumi(cli, ["up"])).exitCode).toBe(3);
});

it.each([
  ["another computer", { host: `not-${HERE.host}` }],
  ["another user, who may be on another computer with the same name", { user: `not-${HERE.user}` }],
])("explains a lock of %s, and leaves it", async (_whose, whose) => {
  lock(whose);
  expect((await runPulumi(cli, ["up"])).exitCode).toBe(255);
  expect(calls()).toEqual(["up"]);
  expect(existsSync(lockFile("a"))).toBe(true);
  const { user, host } = { ...HERE, ...whose };
  expect(said).toContain(`stack dev: a run of ${user}@${host} has worked on it since 2026-11-21T10:00:00+01:00`);
  expect(said).toMatch(/npx pulumi cancel --stack dev Costs: nothing if it is over; otherwise [^\n]*\n$/);
});

it("explains a lock of a run that still works on this computer, and leaves it", async () => {
  const sleep = path.join(folder, "sleeping/pulumi");
  mkdirSync(path.dirname(sleep));
  symlinkSync("/bin/sleep", sleep);
  const running = spawn(sleep, ["60"]);
  try {
    await once(running, "spawn");
    const pid = running.pid ?? 0;
    await waitFor("the program", 10, () => readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "pulumi");
    lock({ pid });
    expect((await runPulumi(cli, ["up"])).exitCode).toBe(255);
    expect(said).toContain(`Wait for it to end, or interrupt it: kill -INT ${pid}\n`);
    expect(existsSync(lockFile("a"))).toBe(true);
  } finally {
    running.kill();
  }
});

it("does not run again after another failure", async () => {
  act("echo 'error: bad luck' >&2; exit 4");
  expect(await runPulumi(cli, ["up"])).toEqual({ exitCode: 4, errors: "error: bad luck\n" });
  expect(calls()).toEqual(["up"]);
  expect(said).toBe("error: bad luck\n");
});

it.each(["INT", "TERM"] as const)("lets the CLI end by itself after one SIG%s", async (name) => {
  act(`
    trap 'echo ${name} >> ${folder}/signals; ended=yes' ${name}
    : > ${folder}/started
    while [ -z "$ended" ]; do sleep 0.1; done
    sleep 1
    exit 7`);
  const program = `
    import { runPulumi } from "./contract/run-pulumi.ts";
    process.exitCode = (await runPulumi(${JSON.stringify(cli)}, ["up"])).exitCode;`;
  const run = spawn(process.execPath, ["--input-type=module", "--eval", program], { detached: true, stdio: "ignore" });
  const ended = once(run, "close");
  await waitFor("the CLI", 30, () => existsSync(path.join(folder, "started")));
  // A terminal sends Ctrl-C to all processes in its foreground; `kill` sends to one.
  process.kill(name === "INT" ? -(run.pid ?? 0) : (run.pid ?? 0), `SIG${name}`);
  expect(await ended).toEqual([7, null]);
  expect(readFileSync(path.join(folder, "signals"), "utf8")).toBe(`${name}\n`);
});
