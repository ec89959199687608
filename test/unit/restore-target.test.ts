import { mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { execa } from "execa";
import { expect, it } from "vitest";

const seconds = (time: string) => Date.parse(`2026-11-${time}Z`) / 1000;
const wal = (number: number) => `00000001000000000000000${number}`;
const backup = (label: string, id: number, time: string, segment: number) => ({
  ...{ label, database: { id }, timestamp: { stop: seconds(time) }, info: { size: 1 } },
  ...{ archive: { start: wal(segment), stop: wal(segment) }, lsn: { stop: "0/1" } },
});
const point = (name: string) => ({ id: name, tags: [`point=convex-202611${name}Z`], paths: ["/mnt/convex/data"] });

/** A volume that was migrated from 15 to 17 at noon, and perhaps back. */
async function ask(verb: string, to: string[], back = false): Promise<string> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "restore-target-"));
  const cluster = (id: number, version: string) => ({ id, version, "system-id": Number(version) });
  const part = (id: number, version: string) => ({ id: `${version}-${id}`, database: { id } });
  const contents = {
    info: [
      {
        name: "volume",
        db: [cluster(1, "15"), cluster(2, "17"), ...(back ? [cluster(3, "15")] : [])],
        archive: [part(1, "15"), part(2, "17"), ...(back ? [part(3, "15")] : [])],
        backup: [backup("OLD", 1, "27T02:00:00", 4), backup("NEW", 2, "27T12:05:00", 3)],
      },
    ],
    snapshots: [point("27T030000"), point("27T121000")],
    archive: Object.fromEntries(
      [`15-1/0/${wal(4)}-a`, `15-1/0/${wal(5)}-a`, `17-2/0/${wal(3)}-a`, `17-2/0/${wal(5)}-a`].map((file) => [
        file,
        {},
      ]),
    ),
  };
  try {
    for (const [file, content] of Object.entries(contents)) {
      await writeFile(path.join(folder, file), JSON.stringify(content));
    }
    const { stdout } = await execa("python3", ["-IS", "machine/backups/target.py", verb, "volume", ...to, folder], {
      reject: false,
    });
    return stdout;
  } finally {
    await rm(folder, { recursive: true });
  }
}

it("restores with a backup of the cluster that a migration has made", async () => {
  expect(await ask("choose", ["latest"])).toMatch(/\nbackup=NEW\n(.*\n)*version=17\n/);
});

it.each(["2026-11-27T02:30:00Z", "2026-11-27T12:04:00Z", "convex-20261127T030000Z"])(
  "refuses to restore to %s, before the new cluster's first backup",
  async (to) => {
    expect(await ask("choose", [to])).toMatch(
      /^to: \S+Z is before the oldest backup of PostgreSQL 17, it should be after 2026-11-27T12:05:00Z\. For the way back .* docs\/upgrades\.md\./,
    );
  },
);

it("restores with a backup of the cluster from before the migration after the way back", async () => {
  expect(await ask("choose", ["2026-11-27T02:30:00Z"], true)).toMatch(/\nbackup=OLD\n(.*\n)*version=15\n/);
});

it("finds a gap in the log of the present cluster, also if the one from before has segments with these numbers", async () => {
  expect(await ask("gaps", [])).toContain(`1 of the segments from ${wal(4)} to ${wal(4)} are missing`);
  expect(await ask("gaps", [], true)).toBe("");
});
