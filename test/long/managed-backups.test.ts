import { cp, readdir, readFile as read, rm, writeFile as write } from "node:fs/promises";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { SCRIPTS } from "../../contract/scripts.ts";
import { spacesFolder } from "../../sandbox/spaces/s3-servers.ts";
import { eventually, TestCloud } from "../e2e/harness.ts";
import { leaksOf, ProcessWatch, secretsOf } from "../e2e/leaks.ts";
import { readFile, readRow, writeFile, writeRow } from "../e2e/probe.ts";
import { succeeded } from "../e2e/succeeded.ts";
import { stepByStep } from "../steps.ts";

const STACK = "dumps";
const JOURNAL = "/mnt/convex/backups/move-in.journal";
const PLAIN = "a-value-that-nobody-may-read-in-the-bucket";

let cloud: TestCloud;
let processes: ProcessWatch;

beforeAll(async () => {
  cloud = await TestCloud.start();
  processes = new ProcessWatch();
  await cloud.createStack(STACK, {
    ...{ size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", protectData: "false", backups: "spaces" },
    ...{ database: "managed", databaseSize: "db-s-1vcpu-2gb", postgresPoolSize: "16" },
    'databases["shop"].connections': "5",
  });
});

afterAll(async () => {
  await processes[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

const url = async () => (await cloud.outputs(STACK))["backendUrl"] ?? "";
const droplet = async (command: string, input?: string) =>
  succeeded(await cloud.onDroplet(STACK, command, input)).trim();
const restore = (...args: string[]) => cloud.operate("restore", STACK, args);
const drill = (...args: string[]) => cloud.operate("drill", STACK, args);

/** Statements in a database, by the script that the stack's own scripts use. */
const ask = (statement: string, database = "convex_self_hosted") =>
  droplet(`source ${SCRIPTS}/lib/common.sh; source ${SCRIPTS}/lib/sql.sh; in_database ${database} "$(cat)"`, statement);

/** What the instance contains up to a time; later documents do not count, because each check of a backend adds some. */
async function contents(until?: string) {
  const time = until ?? (await ask("SELECT max(ts) FROM documents"));
  const rows = `SELECT md5(string_agg(d::text, '|' ORDER BY ts, table_id, id)) FROM documents d WHERE ts <= ${time}`;
  const files = "cd /mnt/convex/data/storage/files && find . -type f ! -name '.*' | sort | xargs sha256sum | sha256sum";
  return {
    until: time,
    rows: await ask(rows),
    shop: await ask("SELECT string_agg(name, ',' ORDER BY name) FROM wares", "shop"),
    files: await droplet(files),
  };
}

interface Listed {
  points: { name: string }[];
}

async function newPoint(): Promise<string> {
  succeeded(await cloud.operate("backup", STACK, ["now"]));
  const { stdout } = await cloud.operate("backup", STACK, ["--format", "json"]);
  return (JSON.parse(stdout) as Listed).points[0]?.name ?? "";
}

async function bucket(): Promise<string> {
  const folder = path.join(spacesFolder(cloud.home), "nyc3", "buckets");
  const [name = ""] = (await readdir(folder)).filter((one) => one.includes("-backups-"));
  return path.join(folder, name);
}

/** The clusters of the account, by their names. */
async function clusters(): Promise<{ id: string; name: string; status: string }[]> {
  const { databases } = (await (await cloud.cloud("GET", "/v2/databases")).json()) as {
    databases: { id: string; name: string; status: string }[] | null;
  };
  return databases ?? [];
}

/** Kills the restore on the droplet as soon as a shell condition is true. */
async function killRestoreWhen(condition: string): Promise<void> {
  await droplet(
    `for i in $(seq 6000); do if ${condition}; then pkill -KILL -f '[m]ove-in/move-in.sh'; exit 0; fi; sleep 0.02; done; exit 1`,
  );
}

// One stack; each test continues where the one before ended.
describe("a stack with a managed database and backups", () => {
  stepByStep();
  let file = "";
  let point = "";
  let kept: Awaited<ReturnType<typeof contents>>;

  it("has a restore point of its own accord, and nothing of PostgreSQL's log", async () => {
    succeeded(await cloud.up(STACK));
    await eventually("the first restore point", 120, () => droplet("cat /mnt/convex/backups/point.json"));
    expect(await droplet("dpkg-query -W -f '${db:Status-Status}' pgbackrest 2> /dev/null || true")).not.toBe(
      "installed",
    );
    const timers = await droplet(
      "systemctl list-timers --all --plain --no-legend 'convex-*' | awk '{ print $(NF-1) }' | sort",
    );
    expect(timers.split("\n").filter((name) => name.startsWith("convex-"))).toEqual([
      "convex-drill.timer",
      "convex-dump.timer",
    ]);
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it("is as declared and healthy, and its status shows what is kept", async () => {
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
    expect(succeeded(await cloud.operate("doctor", STACK))).toMatch(/backups.*restore point .* ago, no drill yet/);
    const { all } = await cloud.operate("status", STACK);
    expect(all).toMatch(/cluster backups +every moment of the last \d+ (s|min), since 20/);
    expect(all).toMatch(/restore point +\d+ (s|min) ago/);
    expect(all).not.toMatch(/^. backup /m);
  });

  it("makes a restore point of all databases and files, of which nothing can be read in the bucket or on the disk", async () => {
    await writeRow(await url(), "first", PLAIN);
    file = await writeFile(await url(), PLAIN);
    await ask("CREATE TABLE wares (name text); INSERT INTO wares VALUES ('tea'), ('coffee')", "shop");
    kept = await contents();
    point = await newPoint();
    const listed = succeeded(await cloud.operate("backup", STACK));
    expect(listed).toMatch(new RegExp(`${point} +20\\S+ +\\d+ +\\S+`));
    expect(listed).toMatch(/Each of these restore points can be restored, for example: npm run sandbox -- restore/);
    expect(await droplet(`grep -rl ${PLAIN} /mnt/convex/backups /tmp /var/tmp 2> /dev/null || true`)).toBe("");
    const found = await readdir(await bucket(), { recursive: true, withFileTypes: true });
    for (const entry of found.filter((one) => one.isFile())) {
      expect((await read(path.join(entry.parentPath, entry.name))).includes(PLAIN), entry.name).toBe(false);
    }
  });

  it("shows its secrets nowhere", async () => {
    const secrets = await secretsOf(cloud, STACK);
    delete secrets["convex-bucket-suffix.result"];
    expect(Object.keys(secrets)).toContain("convex-backup-passphrase.result");
    expect(await leaksOf(cloud, STACK, processes, secrets)).toEqual([]);
  });

  it("says that a database is missing if it cannot be saved", async () => {
    await ask("ALTER DATABASE shop RENAME TO shop_away");
    const failed = await cloud.operate("backup", STACK, ["now"]);
    await ask("ALTER DATABASE shop_away RENAME TO shop");
    expect(failed.exitCode).toBe(1);
    expect(failed.all).toMatch(
      /error: the dump of database shop: failed\. It is not in the cluster\. Make it again, empty/,
    );
    expect(failed.all.match(/error: the dump/g)).toHaveLength(1);
  });

  it("has nothing of the backups of a server on the droplet, which a move has left", async () => {
    const left = "/etc/pgbackrest/pgbackrest.conf /etc/systemd/system/convex-restore.service";
    const mask = "/etc/systemd/system/pgbackrest.service";
    await droplet(`mkdir -p /etc/pgbackrest; touch ${left}; ln -s /dev/null ${mask}`);
    expect((await cloud.operate("drift", STACK)).all).toContain("/etc/pgbackrest/pgbackrest.conf");
    succeeded(await cloud.up(STACK, "--replace", "**convex-backups"));
    expect(await droplet(`ls -d ${left} ${mask} 2> /dev/null || true`)).toBe("");
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
  });

  it("passes a drill, which does not ask the cluster", async () => {
    const drilled = succeeded(await drill());
    expect(drilled).toContain(`the backups can be restored: ${point}`);
    expect(await droplet("jq -c '[.result, .files]' /mnt/convex/backups/drill.json")).toBe('["ok",1]');
    expect(await droplet("ls -d /mnt/convex/backups/drill /run/convex-droplet-beside 2> /dev/null || true")).toBe("");
  });

  it("fails a drill if objects in the bucket are damaged", async () => {
    const folder = path.join(await bucket(), "files", "data");
    await cp(folder, `${folder}.whole`, { recursive: true });
    const packs = await readdir(folder, { recursive: true, withFileTypes: true });
    for (const entry of packs.filter((one) => one.isFile())) {
      const name = path.join(entry.parentPath, entry.name);
      const content = await read(name);
      content.fill(0, 0, Math.floor(content.length / 2));
      await write(name, content);
    }
    const failed = await drill();
    await rm(folder, { recursive: true });
    await cp(`${folder}.whole`, folder, { recursive: true });
    await rm(`${folder}.whole`, { recursive: true });
    expect(failed.exitCode).toBe(1);
    expect(failed.all).toMatch(/error: .*An object in the bucket is damaged/);
    expect((await cloud.operate("drift", STACK)).all).toMatch(/backups\.drill: failed on/);
    succeeded(await drill());
  });

  it("is restored to the point after rows and files were lost, and keeps what was replaced", async () => {
    await writeRow(await url(), "first", "overwritten");
    await writeRow(await url(), "second", "too late");
    await ask("DELETE FROM wares", "shop");
    await droplet("rm -f /mnt/convex/data/storage/files/*");
    const planned = await restore("--to", point);
    expect(planned.exitCode, planned.all).toBe(2);
    expect(planned.all).toMatch(/Lost: +[1-9]\d* versions of documents that are newer/);
    const restored = succeeded(await restore("--to", point, "--yes"));
    expect(restored).toMatch(/Loaded: +\d+ versions of documents, 1 stored files/);
    expect(await contents(kept.until)).toEqual(kept);
    expect(await readRow(await url(), "first")).toBe(PLAIN);
    expect(await readRow(await url(), "second")).toBeUndefined();
    expect(await readFile(await url(), file)).toBe(PLAIN);
    await writeRow(await url(), "third", "after the restore");
    const drift = (await cloud.operate("drift", STACK)).all;
    expect(drift).toMatch(/notice.*postgres\.databases\.convex_self_hosted_before_/);
    succeeded(await restore("--forget"));
    expect(await ask("SELECT count(*) FROM pg_database WHERE datname ~ '_before_|_moving'")).toBe("0");
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it.each([
    ["loads the dump", "test -d /mnt/convex/data.moving", "before"],
    ["has written its journal", `test -e ${JOURNAL}`, "either"],
    ["has renamed the databases", `test -e ${JOURNAL} && test -d /mnt/convex/data.before-moved-*`, "either"],
  ])("is finished by the same command after a restore was killed when it %s", async (_, condition, state) => {
    const before = await contents();
    const running = restore("--to", point, "--yes");
    await killRestoreWhen(condition);
    expect((await running).exitCode).toBe(1);
    if (state === "before") {
      expect(await contents(before.until)).toEqual(before);
      await writeRow(await url(), "pulse", "still serves");
    }
    succeeded(await restore("--to", point, "--yes"));
    expect(await contents(kept.until)).toEqual(kept);
    expect(await readFile(await url(), file)).toBe(PLAIN);
    succeeded(await restore("--forget"));
    expect(await droplet(`ls -d ${JOURNAL} /mnt/convex/*mov* 2> /dev/null || true`)).toBe("");
  });

  it("goes to another point if an earlier restore was killed while it swapped", async () => {
    await writeRow(await url(), "other", "point");
    const other = await newPoint();
    const before = await contents();
    const running = restore("--to", point, "--yes");
    await killRestoreWhen(`test -e ${JOURNAL}`);
    expect((await running).exitCode).toBe(1);
    expect((await restore("--to", other)).all).toContain("This one takes its place with: npm run sandbox -- restore");
    expect((await restore("--forget")).all).toContain("it should be completed first");
    succeeded(await restore("--to", other, "--yes"));
    expect(await contents(before.until)).toEqual(before);
    expect(await readRow(await url(), "other")).toBe("point");
    succeeded(await restore("--forget"));
    succeeded(await restore("--to", point, "--yes"));
    succeeded(await restore("--forget"));
  });

  it("refuses a point that is not there, and a moment that nobody keeps", async () => {
    const point = await restore("--to", "convex-20200101T000000Z", "--yes");
    expect(point.exitCode).toBe(1);
    expect(point.all).toMatch(/it should be latest or the name of a restore point: dumps of a managed database/);
    const moment = await restore("--to", "2020-01-01T00:00:00Z", "--yes");
    expect(moment.exitCode).toBe(1);
    expect(moment.all).toMatch(/--to: is "2020-01-01T00:00:00Z", it should be a moment from 20\S+ to now/);
  });

  it("removes dumps of a point that was not completed, and keeps the others", async () => {
    const orphan =
      "source /etc/convex-droplet/backups.env; export RESTIC_REPOSITORY RESTIC_PASSWORD AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY RESTIC_CACHE_DIR; ";
    const dumps = () =>
      droplet(`${orphan} restic snapshots --json | jq -c '[.[].tags[] | select(startswith("of="))] | sort'`);
    await droplet(
      `${orphan} echo broken | restic backup --quiet --host "$STANZA" --tag of=convex-20200101T000000Z --stdin --stdin-filename convex_self_hosted.dump`,
    );
    expect(await dumps()).toContain("of=convex-20200101T000000Z");
    await droplet("rm -f /mnt/convex/backups/thinned");
    const latest = await newPoint();
    expect(await dumps()).not.toContain("of=convex-20200101T000000Z");
    expect(await dumps()).toContain(`of=${latest}`);
  });

  it("proves that the cluster can be restored by another one, which it removes, also that of a drill that was killed", async () => {
    const [own] = await clusters();
    const left = { name: `${own?.name ?? ""}-restored`, engine: "pg", version: "17", region: "nyc3", num_nodes: 1 };
    const made = await cloud.cloud("POST", "/v2/databases", {
      ...left,
      ...{ size: "db-s-1vcpu-2gb", tags: ["convex-droplet-restored"] },
    });
    expect(made.ok, await made.text()).toBe(true);
    const moment = await droplet("sleep 1; date --utc +%FT%TZ; sleep 2");
    await writeRow(await url(), "later", "than the moment");
    const { exitCode, all } = await drill("--cluster", "--to", moment);
    expect(all).toContain("removed the other cluster that an earlier run has left");
    expect(all).toContain("The cluster can be restored.");
    expect(all).toMatch(/convex_self_hosted: \d+ tables, [1-9]\d* rows\n {2}shop: 1 tables, \d rows/);
    expect(exitCode, all).toBe(0);
    expect((await clusters()).map(({ id }) => id)).toEqual([own?.id]);
    expect(await droplet("ls -d /run/convex-droplet-cluster.* 2> /dev/null || true")).toBe("");
  });

  it("says of a cluster that lacks a table that it was not restored as it should be, and removes it", async () => {
    const moment = await droplet("sleep 1; date --utc +%FT%TZ; sleep 2");
    await ask("CREATE TABLE made_later (a int)", "shop");
    const failed = await drill("--cluster", "--to", moment);
    expect(failed.exitCode).toBe(1);
    expect(failed.all).toContain("database shop: table public.made_later is missing in the restored cluster");
    expect(await clusters()).toHaveLength(1);
  });

  it("is restored to a moment between two restore points by another cluster, with the files of now", async () => {
    await writeRow(await url(), "when", "before");
    const before = await contents();
    const moment = await droplet("sleep 2; date --utc +%FT%TZ; sleep 2");
    await writeRow(await url(), "when", "after");
    await ask("INSERT INTO wares VALUES ('milk')", "shop");
    const planned = await restore("--to", moment);
    expect(planned.exitCode, planned.all).toBe(2);
    expect(planned.all).toMatch(/Lost: +[1-9]\d* versions of documents that are newer/);
    expect(await clusters()).toHaveLength(1);
    const restored = succeeded(await restore("--to", moment, "--yes"));
    expect(restored).toMatch(/making another cluster of .*[^]*Loaded: +\d+ versions of documents/);
    expect(await contents(before.until)).toEqual(before);
    expect(await readRow(await url(), "when")).toBe("before");
    expect(await readFile(await url(), file)).toBe(PLAIN);
    expect(await clusters()).toHaveLength(1);
    succeeded(await restore("--forget"));
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
  });

  it("gets its files back on a new volume, beside the rows in the cluster", async () => {
    await writeRow(await url(), "after", "the restore");
    const stored = await writeFile(await url(), "a later file");
    await newPoint();
    for (const kind of ["droplets", "volumes"] as const) {
      const listed = (await (await cloud.cloud("GET", `/v2/${kind}`)).json()) as Record<string, { id: string }[]>;
      await eventually(`${kind} to be gone`, 60, async () => {
        const { status } = await cloud.cloud("DELETE", `/v2/${kind}/${listed[kind]?.[0]?.id ?? "none"}`);
        expect(status).toBe(404);
      });
    }
    succeeded(await cloud.up(STACK, "--refresh", "--run-program"));
    expect(await readRow(await url(), "after")).toBe("the restore");
    expect(await droplet("ls /mnt/convex/data/storage/files 2> /dev/null | wc -l")).toBe("0");
    expect(succeeded(await restore("--files"))).toMatch(/put back [1-9]\d* files/);
    expect(await readFile(await url(), stored)).toBe("a later file");
    expect(await readFile(await url(), file)).toBe(PLAIN);
    const again = succeeded(await restore("--files"));
    expect(again).toContain("put back 0 files");
    expect(again).not.toMatch(/jq: |Broken pipe/);
  });

  it("gets back a file that no row proves, from an older point, and a stored file that was truncated", async () => {
    const storage = "/mnt/convex/data/storage";
    await droplet(`echo code > ${storage}/modules/m1.blob`);
    await newPoint();
    await droplet(`rm ${storage}/modules/m1.blob; truncate --size 3 ${storage}/files/*${file}*`);
    await newPoint();
    expect(succeeded(await restore("--files"))).toContain("put back 2 files");
    expect(await droplet(`cat ${storage}/modules/m1.blob`)).toBe("code");
    expect(await readFile(await url(), file)).toBe(PLAIN);
    expect(await droplet("ls -d /mnt/convex/backups/files 2> /dev/null || true")).toBe("");
  });

  it("keeps a damaged file that no restore point has as it was stored, and names it", async () => {
    const stored = await writeFile(await url(), "saved by nobody");
    const truncated = `/mnt/convex/data/storage/files/*${stored}*`;
    await droplet(`truncate --size 3 ${truncated}`);
    const failed = await restore("--files");
    expect(failed.exitCode).toBe(1);
    expect(failed.all).toMatch(
      /because no restore point has them as they were stored: file \S+: has 3 bytes, its row says 15/,
    );
    expect(await droplet(`cat ${truncated}`)).toBe("sav");
  });

  it("is destroyed without anything left", async () => {
    succeeded(await cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", STACK]));
    expect(await clusters()).toEqual([]);
    expect(
      (await readdir(path.join(spacesFolder(cloud.home), "nyc3", "buckets"))).filter((name) =>
        name.startsWith("convex-"),
      ),
    ).toEqual([]);
  });
});
