import { describe, expect, it } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { namedValues } from "../../contract/scripts.ts";
import { compareBackups, describeBackups } from "../../operations/findings/backups/backups.ts";
import type { Difference } from "../../operations/findings/inside.ts";
import { compare } from "../../operations/findings/look.ts";
import { costsOf } from "../../operations/findings/repair.ts";
import { fromScript } from "../../operations/findings/scripts.ts";
import { failed, insideOf, stateOf, type Told, told } from "./findings.ts";

const stateWith = (endpoint: string) => ({
  ...{ type: TYPES.command, name: RESOURCES.backups },
  inputs: { stdin: namedValues({ mountpoint: "/mnt/convex", repository_endpoint: endpoint }) },
});
const ON = stateWith("nyc3.digitaloceanspaces.com");

const NOW = Date.parse("2026-11-26T18:00:00Z") / 1000;
const [MINUTE, HOUR, DAY] = [60, 3600, 86_400];
/** A time so many seconds ago, RFC 3339. */
const before = (seconds: number) => new Date((NOW - seconds) * 1000).toISOString().replace(".000", "");

const WELL = { since: (NOW - 30 * DAY) as number | null, running: false, result: "success", ended: NOW, cause: "" };
const point = { ...WELL, last: { at: before(4 * MINUTE) } as object | null };
const base = { ...WELL, last: { at: before(16 * HOUR) } as object | null };
const drill = { ...WELL, last: { started: before(3 * DAY), result: "ok", problems: [] } as object | null };
const archive = {
  ...{
    now: NOW,
    archived: (NOW - 20) as number | null,
    failed: null as number | null,
    wal: null as string | null,
    failures: 0,
  },
  ...{ waiting: 0, oldest: null as number | null, gap: false, cause: "" },
};
const restores = { phase: null as string | null, request: "", to: "", running: false, kept: [] as string[] };

/** Copies of files in buckets, which not every stack has. */
const objects = { ...WELL, last: { at: before(40 * MINUTE) } as object | null };

interface Given {
  objects?: Partial<typeof objects>;
  point?: Partial<typeof point>;
  base?: Partial<typeof base>;
  drill?: Partial<typeof drill>;
  archive?: Partial<typeof archive>;
  restores?: Partial<typeof restores>;
}

const factsOf = (given: Given) => ({
  "backups.jobs": {
    now: NOW,
    point: { ...point, ...given.point },
    base: { ...base, ...given.base },
    ...(given.objects && { objects: { ...objects, ...given.objects } }),
    drill: { ...drill, ...given.drill },
  },
  "backups.archive": { ...archive, ...given.archive },
  "backups.restores": { ...restores, ...given.restores },
});
const found = (given: Given) => told(compareBackups(stateOf(ON), insideOf(factsOf(given))));

const BACKUP = "fix the cause, then run: npm run backup -- --stack dev now";
const DRILL = "fix the cause, then run: npm run drill -- --stack dev";
const REFUSED = "restore point, the files: failed. The bucket refuses the access key";
const LOG = "grep -ahA 9 'ERROR: \\[' /var/log/postgresql/postgresql-*.log | tail -n 20";
const TIMER = "replace convex-backups; refresh ";

describe("backups", () => {
  it("that are made and were proved are not found", () => {
    expect(found({})).toEqual([]);
  });

  it("that are off are only a notice, with the commands that switch them on", () => {
    expect(told(compareBackups(stateOf(stateWith("")), insideOf({})))).toEqual([
      [
        "notice backups the stack's state backups: are off, so what is lost with the volume cannot be restored",
        "switch them on with: npx pulumi config set --stack dev backups spaces, then: npx pulumi up --stack dev",
      ],
    ]);
  });

  it("of a stack whose deployment did not come so far are not found", () => {
    expect(compareBackups(stateOf(), insideOf({}))).toEqual([]);
  });

  it.each<[what: string, given: Given, ...told: Told]>([
    [
      "a late restore point",
      { point: { last: { at: before(16 * MINUTE) } } },
      "error backups backups.jobs backups.restore-point: is 16 min old, it should be less than 15 min old",
      BACKUP,
    ],
    [
      "a late restore point, with the cause",
      { point: { last: { at: before(3 * HOUR) }, cause: REFUSED, running: true } },
      `error backups backups.jobs backups.restore-point: is 3 h old, it should be less than 15 min old; the last error is: ${REFUSED}`,
      BACKUP,
    ],
    [
      "a late restore point without a timer",
      { point: { last: { at: before(3 * DAY) }, since: null } },
      "error backups backups.jobs backups.restore-point: is 3 days old, it should be less than 15 min old",
      TIMER,
    ],
    [
      "a first restore point that takes long",
      { point: { last: null, since: NOW - 16 * MINUTE, running: true } },
      "error backups backups.jobs backups.restore-point: was never made, although its timer has been active for 16 min; one is being made now",
      BACKUP,
    ],
    [
      "a late backup",
      { base: { last: { at: before(27 * HOUR) } } },
      "error backups backups.jobs backups.backup: is 27 h old, it should be less than 26 h old",
      BACKUP,
    ],
    [
      "a backup that was never made",
      { base: { last: null, since: NOW - 61 * MINUTE } },
      "error backups backups.jobs backups.backup: was never made, although its timer has been active for 61 min",
      BACKUP,
    ],
    [
      "a backup that failed, before the next one is due",
      { base: { cause: "backup: failed. The disk is full" } },
      "error backups backups.jobs backups.backup: was not made when it was last tried; the last error is: backup: failed. The disk is full",
      BACKUP,
    ],
    [
      "a late copy of the files in buckets",
      { objects: { last: { at: before(4 * HOUR) } } },
      "error backups backups.jobs backups.files: is 4 h old, it should be less than 3 h old",
      BACKUP,
    ],
    [
      "a copy of the files in buckets that failed, before the next one is due",
      { objects: { cause: "the buckets: cannot be mounted" } },
      "error backups backups.jobs backups.files: was not made when it was last tried; the last error is: the buckets: cannot be mounted",
      BACKUP,
    ],
    [
      "a drill that failed",
      { drill: { last: { started: before(DAY), result: "failed", problems: ["a", "b"] } } },
      "error backups backups.jobs backups.drill: failed on 2026-11-25T18:00:00Z, so the backups may not be restorable: a; b",
      DRILL,
    ],
    [
      "a drill that was killed",
      { drill: { result: "signal", ended: NOW - HOUR } },
      "error backups backups.jobs backups.drill: was not made when it was last tried: its service ended with signal",
      DRILL,
    ],
    [
      "a late drill",
      { drill: { last: { started: before(9 * DAY), result: "ok", problems: [] } } },
      "error backups backups.jobs backups.drill: is 9 days old, it should be less than 8 days old",
      DRILL,
    ],
    [
      "a drill that was never made",
      { drill: { last: null, since: NOW - 9 * DAY } },
      "error backups backups.jobs backups.drill: was never made, although its timer has been active for 9 days",
      DRILL,
    ],
    [
      "an archive whose last try failed",
      {
        archive: {
          failed: NOW - 10,
          wal: "000000010000000000000007",
          waiting: 1,
          oldest: NOW - 30,
          cause: "It is full",
        },
      },
      "error backups backups.archive backups.log: does not reach the bucket: the last part that did is 20 s old, files that wait: 1, 000000010000000000000007 failed 10 s ago. It is full",
      LOG,
    ],
    [
      "an archive that hangs",
      { archive: { archived: null, waiting: 2, oldest: NOW - 6 * MINUTE } },
      "error backups backups.archive backups.log: does not reach the bucket: nothing of it has reached the bucket, files that wait: 2",
      LOG,
    ],
    [
      "a gap",
      { archive: { gap: true } },
      "error backups backups.archive backups.log.gap: has a gap: parts of PostgreSQL's log were dropped, as they could not be archived fast enough, so no moment after the last restore point can be restored until there is a new backup",
      "once the bucket can be reached, run: npm run backup -- --stack dev now",
    ],
    [
      "a restore that was killed while it prepared",
      { restores: { phase: "prepare", request: "latest ", to: "convex-20261126T170000Z" } },
      "error backups backups.restores backups.restore: to convex-20261126T170000Z was interrupted: it had changed nothing yet",
      "finish it with: npm run restore -- --stack dev --to latest --yes, or drop it with: npm run restore -- --stack dev --forget",
    ],
    [
      "a restore that was killed between its renames",
      { restores: { phase: "swap", request: "2026-11-26 17:00:00Z abc", to: "2026-11-26 17:00:00+00", kept: ["/a"] } },
      "error backups backups.restores backups.restore: to 2026-11-26 17:00:00+00 was interrupted: the instance may be stopped until it is finished",
      "finish it with: npm run restore -- --stack dev --to '2026-11-26 17:00:00Z' --stanza abc --yes, or restore to another time, see: npm run backup -- --stack dev",
    ],
    [
      "a restore at work",
      { restores: { phase: "swap", request: "latest ", to: "x", running: true } },
      "notice backups backups.restores backups.restore: to x is running",
      "wait for its end",
    ],
    [
      "what restores have replaced",
      { restores: { kept: ["/mnt/convex/data.before-1", "/mnt/convex/data.before-2"] } },
      "notice backups backups.restores backups.kept: what restores have replaced is still on the volume: /mnt/convex/data.before-1, /mnt/convex/data.before-2",
      "remove it with: npm run restore -- --stack dev --forget",
    ],
  ])("show %s", (_, given, claim, repair) => {
    expect(found(given)).toEqual([[claim, repair]]);
  });

  it.each<[what: string, given: Given]>([
    [
      "a restore point that failed, because the next one is tried soon",
      { point: { cause: REFUSED, result: "exit-code" } },
    ],
    [
      "old jobs just after a boot",
      {
        point: { last: { at: before(DAY) }, since: NOW - 14 * MINUTE },
        base: { last: { at: before(9 * DAY) }, since: NOW - 14 * MINUTE },
        drill: { last: { started: before(9 * DAY), result: "ok", problems: [] }, since: NOW - 14 * MINUTE },
      },
    ],
    [
      "a new stack",
      {
        point: { last: null, since: NOW - 3 * MINUTE },
        base: { last: null, since: NOW - 3 * MINUTE },
        drill: { last: null, since: NOW - 3 * MINUTE },
      },
    ],
    [
      "a first copy of the files in buckets that takes hours",
      { objects: { last: null, running: true, since: NOW - 5 * HOUR } },
    ],
    ["a first backup that takes hours", { base: { last: null, running: true, since: NOW - 5 * HOUR } }],
    ["a failure of the archive that was followed by a success", { archive: { failed: NOW - 21, cause: "It is full" } }],
    ["a failed job that somebody has repeated by hand", { base: { result: "exit-code", ended: NOW - 17 * HOUR } }],
  ])("do not show %s", (_, given) => {
    expect(found(given)).toEqual([]);
  });

  it("that cannot be looked at are found", () => {
    const facts = { ...factsOf({}), "backups.jobs": failed("jq: command not found") };
    expect(told(compareBackups(stateOf(ON), insideOf(facts)))).toEqual([
      ["error backups backups.jobs backups.jobs: could not be looked at: jq: command not found", TIMER],
    ]);
  });

  it("are the only finding about their failed units", () => {
    const key = { type: TYPES.key, name: RESOURCES.deployKey, outputs: { publicKeyOpenssh: "ssh-ed25519 A" } };
    const facts = {
      ...factsOf({ drill: { result: "signal" } }),
      "units.failed": "convex-drill.service\nother.service",
    };
    const paths = (endpoint: string) =>
      compare(stateOf(key, stateWith(endpoint)), insideOf(facts)).map(({ path }) => path);
    expect(paths("a")).toContain("backups.drill");
    expect(paths("a")).toContain("units[other.service]");
    expect(paths("a")).not.toContain("units[convex-drill.service]");
    expect(paths("")).toContain("units[convex-drill.service]");
  });

  it("have timers that an up installs again, which stops nothing", () => {
    const timer: Difference = {
      ...{ script: "backups.sh", area: "backups", subject: "units.convex-drill.timer" },
      ...{ property: "active", expected: "active", found: "inactive" },
    };
    const [finding] = fromScript(timer);
    const repair = finding?.repair ?? { why: "" };
    expect(repair).toEqual({ up: ["convex-backups"] });
    expect("up" in repair && costsOf(repair)).toMatch(/nothing stops$/);
  });
});

describe("backups of a managed database", () => {
  const managed = { type: TYPES.cluster, name: RESOURCES.cluster };
  const jobs = (at: string) => ({
    "backups.jobs": { now: NOW, point: { ...point, last: { at } }, drill },
    "backups.restores": restores,
  });
  const found = (at: string) => told(compareBackups(stateOf(ON, managed), insideOf(jobs(at))));

  it("have a restore point every hour, and nothing of PostgreSQL's log", () => {
    expect(found(before(2 * HOUR))).toEqual([]);
    expect(found(before(4 * HOUR))).toEqual([
      ["error backups backups.jobs backups.restore-point: is 4 h old, it should be less than 3 h old", BACKUP],
    ]);
    expect(describeBackups(stateOf(ON, managed), insideOf(jobs(before(HOUR))))).toBe(
      "restore point 60 min ago, drill 3 days ago",
    );
  });

  it("that are off are a notice about the files on the volume", () => {
    expect(told(compareBackups(stateOf(stateWith(""), managed), insideOf({})))[0]?.[0]).toBe(
      "notice backups the stack's state backups: are DigitalOcean's own of the database, for 7 days, but the files on the volume have none",
    );
  });
});

describe("a line about healthy backups", () => {
  it.each<[line: string, given: Given]>([
    ["restore point 4 min ago, backup 16 h ago, drill 3 days ago", {}],
    ["restore point 4 min ago, backup 16 h ago, no drill yet", { drill: { last: null } }],
  ])("%s", (line, given) => {
    expect(describeBackups(stateOf(ON), insideOf(factsOf(given)))).toBe(line);
  });

  it("says that they are off", () => {
    expect(describeBackups(stateOf(stateWith("")), insideOf({}))).toBe(
      "are off, so what is lost with the volume cannot be restored",
    );
  });
});
