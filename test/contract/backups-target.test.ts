import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

import { execaSync } from "execa";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const STANZA = "the-volume";
let folder: string;

beforeEach(() => {
  folder = mkdtempSync(path.join(tmpdir(), "convex-droplet-target-"));
});
afterEach(() => {
  rmSync(folder, { recursive: true });
});

/** Seconds since 1970 of a time on the day of the tests. */
const at = (time: string) => Date.parse(`2026-11-27T${time}Z`) / 1000;
const pointAt = (time: string) => `convex-20261127T${time.replaceAll(":", "")}Z`;

/** A restore point as restic lists it. */
const point = (time: string, ...tags: string[]) => ({
  ...{ id: `snapshot-${time}`, paths: ["/mnt/convex/data", "/mnt/convex/instance"] },
  tags: [`point=${pointAt(time)}`, ...tags],
});

/** A backup as pgBackRest lists it, which ends a minute after its start. */
const backup = (label: string, start: string, { timeline = 1, database = 1, lsn = "0/2000000" } = {}) => ({
  ...{ label, error: false, database: { id: database }, info: { size: 1000 } },
  archive: { start: `0000000${timeline}0000000000000002`, stop: `0000000${timeline}0000000000000002` },
  lsn: { start: lsn, stop: lsn },
  timestamp: { start: at(start), stop: at(start) + 60 },
});

interface Bucket {
  points: ReturnType<typeof point>[];
  backups: ReturnType<typeof backup>[];
  /** For each cluster, in the order of their ids: its timelines' starts and their history. */
  clusters?: Record<number, { start: string; history?: string }>[];
  /** Their system identifiers, and versions of PostgreSQL. */
  systems?: number[];
  versions?: number[];
}

/** What target.py chooses, or its refusal. */
function choose(
  to: string,
  { points, backups, clusters = [{}], systems = [11, 22], versions = [17, 17] }: Bucket,
): Record<string, string> | string {
  const archives = clusters.map((_, index) => ({
    database: { id: index + 1 },
    id: `${versions[index] ?? 17}-${index + 1}`,
  }));
  const db = clusters.map((_, index) => ({
    id: index + 1,
    "system-id": systems[index],
    version: String(versions[index] ?? 17),
  }));
  const info = [{ name: STANZA, backup: backups, archive: archives, db }];
  writeFileSync(path.join(folder, "info"), JSON.stringify(info));
  writeFileSync(path.join(folder, "snapshots"), JSON.stringify(points));
  for (const [index, timelines] of clusters.entries()) {
    const archive = path.join(folder, archives[index]?.id ?? "");
    mkdirSync(archive, { recursive: true });
    const histories = Object.entries(timelines).map(([timeline, { start, history = "" }]) => {
      const name = `0000000${timeline}.history`;
      writeFileSync(path.join(archive, name), history);
      return [name, { type: "file", time: at(start) }] as const;
    });
    writeFileSync(path.join(archive, "archive"), JSON.stringify(Object.fromEntries(histories)));
  }
  const helper = path.join(import.meta.dirname, "../../machine/backups/target.py");
  const { exitCode, stdout } = execaSync("python3", ["-IS", helper, "choose", STANZA, to, folder, "dev"], {
    reject: false,
  });
  if (exitCode !== 0) return stdout;
  return Object.fromEntries(stdout.split("\n").map((line) => line.split(/=(.*)/, 2) as [string, string]));
}

describe("the files of a moment", () => {
  const backups = [backup("first", "08:00:00")];
  const swapped = (time: string) => `swapped=${at(time)}.250000`;

  it("are those of the next restore point", () => {
    const chosen = choose("2026-11-27T09:30:00Z", { backups, points: [point("09:00:00"), point("10:00:00")] });
    expect(chosen).toMatchObject({ kind: "time", point: pointAt("10:00:00"), snapshot: "snapshot-10:00:00" });
  });

  it("are not there for a moment in the future", () => {
    expect(choose("2999-01-01T00:00:00Z", { backups, points: [point("09:00:00"), point("10:00:00")] })).toBe(
      "to: 2999-01-01T00:00:00Z is in the future, it should be at most 2026-11-27T10:00:00Z, the newest restore point, or latest." +
        " List all with: npm run backup -- --stack dev",
    );
  });

  it("are not taken from behind a reset, copy or move-in", () => {
    const points = [point("09:00:00", "undone"), point("10:01:00", swapped("10:00:00"))];
    expect(choose("2026-11-27T09:30:00Z", { backups, points })).toBe(
      "to: 2026-11-27T09:30:00Z is after the last restore point with the files of that time." +
        ` The nearest restore points are: ${pointAt("09:00:00")} and ${pointAt("10:01:00")}. List all with: npm run backup -- --stack dev`,
    );
    expect(choose("2026-11-27T10:00:00.5Z", { backups, points })).toMatchObject({ point: pointAt("10:01:00") });
    expect(choose("2026-11-27T08:30:00Z", { backups, points })).toMatchObject({ point: pointAt("09:00:00") });
    expect(choose("latest", { backups, points })).toMatchObject({ point: pointAt("10:01:00") });
  });
});

describe("a volume that got the cluster of another one", () => {
  // On the other volume, it was on timeline 2; there, too, something was restored before.
  const clusters = [
    { 2: { start: "09:00:00", history: "1\t0/5000000\tno reason\n" } },
    { 3: { start: "10:00:00", history: "1\t0/3000000\tno reason\n\n2\t0/4000000\tno reason\n" } },
  ];
  const backups = [
    backup("own", "08:00:00"),
    backup("own-later", "09:10:00", { timeline: 2, lsn: "0/6000000" }),
    backup("of-the-other", "10:01:00", { timeline: 3, database: 2, lsn: "0/5000000" }),
  ];
  const points = ["08:30:00", "09:30:00", "10:30:00"].map((time) => point(time));

  it("is restored from the backup, the timeline and the log of the cluster that it had at the moment", () => {
    const chosen = { ...{ backup: "own", timeline: "1", archives: "17-1" }, point: pointAt("08:30:00") };
    expect(choose("2026-11-27T08:20:00Z", { points, backups, clusters })).toMatchObject(chosen);
    const later = { backup: "own-later", timeline: "2", archives: "17-1" };
    expect(choose(pointAt("09:30:00"), { points, backups, clusters })).toMatchObject(later);
    const other = { backup: "of-the-other", timeline: "3", archives: "17-2" };
    expect(choose("latest", { points, backups, clusters })).toMatchObject(other);
  });

  it("has a timeline of its own after each return to the cluster of before, because it knows those of all returns", () => {
    const returned = [...clusters, { 3: { start: "11:00:00", history: "2\t0/7000000\tno reason\n" } }];
    const bucket = { points, backups, clusters: returned, systems: [11, 22, 11] };
    expect(choose(pointAt("09:30:00"), bucket)).toMatchObject({ archives: "17-1 17-3" });
    expect(choose(pointAt("10:30:00"), bucket)).toMatchObject({ archives: "17-2" });
  });

  it("has no files for a moment whose next restore point is of the other cluster", () => {
    expect(choose("2026-11-27T09:40:00Z", { points, backups, clusters })).toContain(
      "is after the last restore point with the files of that time",
    );
  });

  it("cannot be restored to its new cluster before that has a backup", () => {
    expect(choose("latest", { points, backups: backups.slice(0, 2), clusters })).toContain(
      "to: the cluster of 2026-11-27T10:30:00Z has no backup yet, because it came from another volume",
    );
  });
});

describe("a volume whose data was migrated to another version of PostgreSQL", () => {
  const backups = [backup("older", "08:00:00"), backup("newer", "12:05:00", { database: 2 })];
  const points = [point("09:00:00"), point("12:10:00")];
  const migrated = { points, backups, clusters: [{}, {}], versions: [15, 17] };

  it("is restored from the new cluster's backup", () => {
    expect(choose("latest", migrated)).toMatchObject({ backup: "newer", version: "17", archives: "17-2" });
  });

  it("is not restored to a moment of the old version, whose server is not there", () => {
    expect(choose("2026-11-27T08:30:00Z", migrated)).toBe(
      "to: 2026-11-27T08:30:00Z is of PostgreSQL 15, from which the data was migrated, it should be of 17." +
        " For the way back to that version, see docs/upgrades.md. List all with: npm run backup -- --stack dev",
    );
  });

  it("is restored to such a moment after the way back", () => {
    const back = { ...migrated, clusters: [{}, {}, {}], systems: [11, 22, 11], versions: [15, 17, 15] };
    expect(choose("2026-11-27T08:30:00Z", back)).toMatchObject({ backup: "older", version: "15" });
  });
});

describe("a restore point of a managed database", () => {
  /** What target.py chooses of these snapshots, or its refusal. */
  function chooseDump(to: string, snapshots: object[], wanted = ""): string {
    const { stdout } = execaSync("python3", ["-IS", "machine/backups/target.py", "dump", STANZA, wanted, to, "dev"], {
      input: JSON.stringify(snapshots),
      reject: false,
    });
    return stdout;
  }
  const files = (time: string, hostname = STANZA) => ({ ...point(time, "dumped"), hostname });
  const dump = (time: string, database: string) => ({
    ...{
      id: `dump-${database}-${time}`,
      hostname: STANZA,
      paths: [`/${database}.dump`],
      tags: [`of=${pointAt(time)}`],
    },
  });
  const two = [
    dump("18:00:00", "a"),
    files("18:00:00"),
    dump("19:00:00", "a"),
    dump("19:00:00", "b"),
    files("19:00:00"),
  ];

  it("is the newest complete one, with a dump of each database", () => {
    // The last dump belongs to a run that was killed.
    expect(chooseDump("latest", [...two, dump("20:00:00", "a")]).split("\n")).toEqual([
      `stanza=${STANZA}`,
      `point=${pointAt("19:00:00")}`,
      `to=${pointAt("19:00:00")}`,
      `moment=${at("19:00:00")}.000000`,
      "snapshot=snapshot-19:00:00",
      "data=/mnt/convex/data",
      "dump=a dump-a-19:00:00",
      "dump=b dump-b-19:00:00",
    ]);
  });

  it("is one by its name, but not a moment between two", () => {
    expect(chooseDump(pointAt("18:00:00"), two)).toContain("dump=a dump-a-18:00:00");
    expect(chooseDump("2026-11-27T18:30:00Z", two)).toBe(
      "to: is '2026-11-27T18:30:00Z', it should be latest or the name of a restore point: dumps of a managed database have no moments between them." +
        ` The newest is ${pointAt("19:00:00")}. List all with: npm run backup -- --stack dev`,
    );
  });

  it("is of the only other volume if this one has none, and is no point with PostgreSQL's log", () => {
    expect(chooseDump("latest", [files("18:00:00", "another")])).toMatch(/^stanza=another$/m);
    expect(chooseDump("latest", [{ ...point("18:00:00"), hostname: STANZA }])).toMatch(
      /^backups: the bucket contains none/,
    );
    expect(chooseDump("latest", [files("18:00:00", "one"), files("18:00:00", "two")])).toMatch(/^stanza: is empty, /);
  });
});
