import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { type Pending, State } from "../../operations/state.ts";
import { runUp } from "../../operations/up.ts";

const volume = { type: "digitalocean:index/volume:Volume", name: "convex-volume", id: "1", inputs: {}, outputs: {} };
const creating: Pending = { name: "convex-volume", operation: "creating" };
const deleting: Pending = { name: "convex-droplet", operation: "deleting" };
const CLEAR =
  "refresh --clear-pending-creates --target **pulumi:pulumi:Stack** --run-program=false --yes --skip-preview --non-interactive --stack dev";

let folder: string;
let said: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "up-"));
  vi.stubEnv("PULUMI_HOME", folder);
  vi.stubEnv("PULUMI_VERSION", "0");
  said = "";
  vi.spyOn(process.stderr, "write").mockImplementation((text) => {
    said += String(text);
    return true;
  });
  act("exit 0");
});

afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true });
});

/** A CLI, where the launcher of the npm package finds it, that notes how it is called. */
function act(script: string): void {
  const cli = path.join(folder, "versions/0/bin/pulumi");
  mkdirSync(path.dirname(cli), { recursive: true });
  writeFileSync(cli, `#!/bin/sh\necho "$*" >> ${folder}/calls\n${script}\n`);
  chmodSync(cli, 0o755);
}

const calls = () => readFileSync(path.join(folder, "calls"), "utf8").trim().split("\n");

/** What the state notes before and after the run. */
function note(before: Pending[], after: Pending[] = before): void {
  vi.spyOn(State, "read")
    .mockResolvedValueOnce(new State("dev", [volume], before))
    .mockResolvedValueOnce(new State("dev", [volume], after));
}

it.each(["--stack dev --yes", "-s dev", "--target **convex-volume --stack=dev"])(
  "passes all words on, if no run was killed: %s",
  async (words) => {
    note([]);
    expect(await runUp(words.split(" "))).toBe(0);
    expect(calls()).toEqual([`up ${words}`]);
    expect(said).toBe("");
  },
);

it("ends with Pulumi's exit code", async () => {
  note([creating]);
  act("exit 8");
  expect(await runUp(["--stack", "dev"])).toBe(8);
  expect(calls()).toEqual(["up --stack dev"]);
});

it("needs the name of a stack, as Pulumi would take the selected one", async () => {
  await expect(runUp(["--yes"])).rejects.toThrow("up: no stack given. Name one: npm run up -- --stack dev");
});

it("checks what exists, if a run was killed while it changed something", async () => {
  note([creating, deleting], []);
  expect(await runUp(["--stack", "dev", "--yes"])).toBe(0);
  expect(calls()).toEqual(["up --stack dev --yes --refresh --run-program"]);
  expect(said).toContain("a run was killed while it changed convex-droplet, so this one checks first");
});

it("does not check it against somebody's will", async () => {
  note([deleting], []);
  await runUp(["--stack", "dev", "--refresh=false"]);
  expect(calls()).toEqual(["up --stack dev --refresh=false"]);
  expect(said).toBe("");
});

it("ends the warnings about what a killed run was creating, once it is there", async () => {
  note([creating]);
  expect(await runUp(["--stack", "dev"])).toBe(0);
  expect(calls()).toEqual(["up --stack dev", CLEAR]);
  expect(said).toBe(
    "stack dev: convex-volume is there, so its state no longer notes that a run was killed while creating it.\n",
  );
});

it("leaves the note about something that is not there, and names the command that removes it", async () => {
  note([creating, { name: "convex-bucket", operation: "creating" }]);
  expect(await runUp(["--stack", "dev"])).toBe(0);
  expect(calls()).toEqual(["up --stack dev"]);
  expect(said).toMatch(
    /convex-bucket is not in the state, and may be in the account: .* npx pulumi refresh --clear-pending-creates --stack dev Costs: nothing/,
  );
});

it("succeeds as Pulumi did, if the note cannot be removed", async () => {
  note([creating]);
  act('[ "$1" = up ]');
  expect(await runUp(["--stack", "dev"])).toBe(0);
  expect(said).toContain("npx pulumi refresh --clear-pending-creates --stack dev");
});

it("explains that Pulumi Cloud has another update of the stack", async () => {
  note([]);
  act(`
    if [ "$1" = stack ]; then printf '    Update in progress:\\n\\tStarted: 2 hours ago\\n\\tRequested By: ann\\n'; exit; fi
    echo 'error: [409] Conflict: Another update is currently in progress.' >&2
    exit 1`);
  expect(await runUp(["--stack", "dev"])).toBe(1);
  expect(calls()).toEqual(["up --stack dev", "stack --stack dev"]);
  expect(said).toContain("stack dev: a run of ann, started 2 hours ago, has locked it,");
  expect(said).toMatch(/npx pulumi cancel --stack dev Costs: nothing if it is over; otherwise [^\n]*\n$/);
});
