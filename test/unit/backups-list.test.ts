import { describe, expect, it } from "vitest";

import { asText, parseList, size } from "../../operations/backups/list.ts";

const VOLUME = "506f78a4";
const cluster = (id: number, version: string) => ({ id, version, "system-id": Number(version) });
const backup = (label: string, stop: string, type = "full", id = 1) => ({
  ...{ label, type, database: { id }, info: { size: 31_253_750, repository: { delta: 3_774_873 } } },
  timestamp: { start: 0, stop: Date.parse(stop) / 1000 },
});
const snapshot = (time: string, ...tags: string[]) => ({
  ...{ hostname: VOLUME, tags: [`point=convex-${time}`, ...tags] },
  summary: { total_files_processed: 4, total_bytes_processed: 2048 },
});

/** What the droplet prints, with some of it changed. */
function printed(changes: object = {}): string {
  return JSON.stringify({
    stanza: VOLUME,
    bucket: "https://nyc3.digitaloceanspaces.com/mine",
    dumped: false,
    info: [
      {
        ...{ name: VOLUME, db: [cluster(1, "17")] },
        backup: [backup("A", "2026-11-26T02:00:00Z"), backup("B", "2026-11-27T02:00:00Z", "diff")],
      },
    ],
    snapshots: [snapshot("20261126T010000Z"), snapshot("20261126T030000Z"), snapshot("20261127T030000Z")],
    drill: { started: "2026-11-27T04:00:00Z", result: "ok", point: "convex-20261127T030000Z" },
    ...changes,
  });
}

describe("the list of backups", () => {
  it("has the newest first, and no restore point that is older than the volume's oldest backup", () => {
    const { backups, points, from, to } = parseList(printed());
    expect(backups.map(({ name }) => name)).toEqual(["B", "A"]);
    expect(points.map(({ name, drilled }) => [name, drilled])).toEqual([
      ["convex-20261127T030000Z", true],
      ["convex-20261126T030000Z", false],
    ]);
    expect([from, to]).toEqual(["2026-11-26T02:00:00Z", "2026-11-27T03:00:00Z"]);
  });

  it("has none of a cluster from before a migration to another version of PostgreSQL, unless it is the present one again", () => {
    const migrated = [cluster(1, "15"), cluster(2, "17")];
    const backups = [backup("A", "2026-11-26T02:00:00Z"), backup("B", "2026-11-27T02:00:00Z", "full", 2)];
    const listed = (db: object[]) => parseList(printed({ info: [{ name: VOLUME, db, backup: backups }] }));
    expect(listed(migrated).backups.map(({ name }) => name)).toEqual(["B"]);
    expect(listed(migrated).points.map(({ name }) => name)).toEqual(["convex-20261127T030000Z"]);
    expect(listed([...migrated, cluster(3, "15")]).backups.map(({ name }) => name)).toEqual(["A"]);
  });

  it("of a managed database has the points with dumps, each of which can be restored, but no moments between them", () => {
    const snapshots = [
      snapshot("20261126T030000Z"),
      snapshot("20261127T040000Z", "dumped"),
      { ...snapshot(""), tags: ["of=convex-20261127T040000Z"] },
    ];
    const listed = parseList(printed({ dumped: true, info: [], snapshots }));
    expect(listed.points.map(({ name }) => name)).toEqual(["convex-20261127T040000Z"]);
    expect(listed).not.toHaveProperty("from");
    const text = asText(listed, "dev");
    expect(text).toContain(
      "Each of these restore points can be restored, for example: npm run restore -- --stack dev --to latest",
    );
    expect(text).not.toContain("Every moment");
    expect(parseList(printed({ snapshots })).points.map(({ name }) => name)).toEqual(["convex-20261126T030000Z"]);
  });

  it("has backups and points of another volume apart, and says so if only those can be restored", () => {
    const other = printed({ stanza: "another" });
    expect(parseList(other)).not.toHaveProperty("from");
    expect(asText(parseList(other), "dev")).toContain(`3.6 MiB  of volume ${VOLUME}`);
    expect(asText(parseList(other), "dev")).toContain(
      "Of this volume, nothing can be restored yet, but an earlier volume can be restored. Make a restore point with: npm run backup -- --stack dev now",
    );
  });

  it("says which moments a restore, reset, copy or move-in has undone, because they cannot be restored", () => {
    const times = ["20261126T030000Z", "20261126T030100Z", "20261126T030230Z", "20261126T030300Z"];
    const listed = (...marked: number[]) => {
      const snapshots = times.map((time, index) => snapshot(time, ...(marked.includes(index) ? ["undone"] : [])));
      return asText(parseList(printed({ snapshots })), "dev")
        .split("\n")
        .at(-2);
    };
    const all = "Every moment from 2026-11-26T02:00:00Z to 2026-11-26T03:03:00Z can be restored";
    const example = "for example: npm run restore -- --stack dev --to latest";
    expect(listed(1)).toBe(
      `${all}, except some that a restore, reset, copy or move-in has undone (between 2026-11-26T03:01:00Z and 2026-11-26T03:02:30Z), ${example}`,
    );
    // A mark that no other point follows yet is of one that has not ended.
    expect(listed(3)).toBe(`${all}, ${example}`);
  });

  it("is readable before the first backup", () => {
    const text = asText(parseList(printed({ info: [], snapshots: [], drill: null })), "dev");
    expect(text).toContain("  none");
    expect(text).toContain("Last drill: never.");
  });

  it("shows a person the newest points, and how many more there are", () => {
    const snapshots = Array.from({ length: 20 }, (_, minute) =>
      snapshot(`20261126T03${String(minute).padStart(2, "0")}00Z`),
    );
    const text = asText(parseList(printed({ snapshots })), "dev");
    expect(text).toContain("and 8 more, which --format json lists");
    expect(text).toContain("Every moment from 2026-11-26T02:00:00Z to 2026-11-26T03:19:00Z can be restored");
  });
});

it.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1.0 KiB"],
  [31_253_750, "29.8 MiB"],
  [5 * 1024 ** 4, "5.0 TiB"],
])("%i bytes are shown as %s", (bytes, shown) => {
  expect(size(bytes)).toBe(shown);
});
