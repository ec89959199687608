import { createHash, randomBytes } from "node:crypto";
import { readdir, readFile, rm, writeFile } from "node:fs/promises";
import path from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";

import { MOUNTPOINT } from "../../contract/names.ts";
import { namedValues } from "../../contract/scripts.ts";
import { Spaces, type TakeFault } from "../../sandbox/spaces/spaces.ts";
import { spacesFolder } from "../../sandbox/spaces/s3-servers.ts";
import { stepByStep } from "../steps.ts";
import { type Lab, openLab } from "../contract/droplet-harness.ts";
import { hostValues, Machine, postgresValues, SCRIPTS } from "../contract/machine-harness.ts";

const REGION = "nyc3";
const ENDPOINT = `${REGION}.digitaloceanspaces.com`;
const BUCKET = "backups";
const KEY = {
  access_key: "key-of-the-test",
  secret_key: randomBytes(20).toString("hex"),
  grants: [{ bucket: "", permission: "fullaccess" as const }],
};
const CIPHER = randomBytes(20).toString("hex");
const STANZA = "11111111-1111-4111-8111-111111111111";
const OTHER_STANZA = "22222222-2222-4222-8222-222222222222";
const FILES = `${MOUNTPOINT}/data/storage/files`;
const JOURNAL = `${MOUNTPOINT}/backups/restore.journal`;
const PGBACKREST = "cd / && runuser -u postgres -- pgbackrest";

let lab: Lab;
let spaces: Spaces;
let takeFault: TakeFault = () => undefined;
let machine: Machine;

beforeAll(async () => {
  lab = await openLab();
  spaces = await serveBucket();
  machine = await boot(1);
  await setUpCluster(machine);
  await machine.sh(
    `${PGBACKREST} --stanza=${STANZA} stanza-create && ${PGBACKREST} --stanza=${STANZA} --type=full backup`,
  );
  await machine.sh("set -a; . /etc/convex-droplet/backups.env; restic init > /dev/null");
}, 300_000);
afterAll(async () => {
  await spaces[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});

/** An S3 server that droplets reach at the names of Spaces. */
async function serveBucket(): Promise<Spaces> {
  const served = new Spaces(
    lab.home,
    (...request) => takeFault(...request),
    () => undefined,
  );
  await served.open();
  await served.setKeys([KEY]);
  await lab.room.serveSpaces(served.serve);
  return served;
}

/** A droplet whose volume is set up, and the bucket, if it is not there. */
async function boot(id: number): Promise<Machine> {
  await lab.room.createVolume({ id: `volume-${id}`, name: "data", sizeGigabytes: 20 });
  const booted = await Machine.create(lab, { ...lab.spec(id), volumeIds: [`volume-${id}`] });
  expect(await booted.run("host/host.sh", hostValues({ sizeGb: 20 }))).toMatchObject({ exitCode: 0 });
  await booted.sh(`
    hash=$(sha256sum < /dev/null | cut -d ' ' -f 1)
    curl -fsS --aws-sigv4 aws:amz:${REGION}:s3 --user ${KEY.access_key}:${KEY.secret_key} -H "x-amz-content-sha256: $hash" \\
      -X PUT https://${ENDPOINT}/${BUCKET} > /dev/null 2>&1 || true`);
  return booted;
}

/** The values of postgres.sh for a volume whose backups are in the bucket. */
function inBucket(password: string, stanza: string): string {
  return postgresValues(password, 84, undefined, {
    ...{ stanza, backup_days: 14, repository_endpoint: ENDPOINT, repository_region: REGION },
    ...{ repository_bucket: BUCKET, repository_key: KEY.access_key, repository_key_secret: KEY.secret_key },
    ...{ repository_passphrase: CIPHER, repository_authority: "" },
  });
}

/** PostgreSQL with archiving, the backend's tables, and its folder for files with the marks of an accepted instance. */
async function setUpCluster(on: Machine, stanza = STANZA): Promise<void> {
  expect(await on.run("postgres/postgres.sh", inBucket("a-password", stanza))).toMatchObject({ exitCode: 0 });
  await on.sh(`
    install -d ${FILES}
    echo the-instance | tee ${MOUNTPOINT}/instance > ${MOUNTPOINT}/data/storage/.instance`);
  await sql("CREATE ROLE convex LOGIN PASSWORD 'first'", "postgres", on);
  await sql("CREATE DATABASE convex_self_hosted OWNER convex", "postgres", on);
  await sql(
    "CREATE TABLE documents (id BYTEA NOT NULL, ts BIGINT NOT NULL, table_id BYTEA NOT NULL, json_value BYTEA, deleted BOOLEAN DEFAULT false, prev_ts BIGINT, PRIMARY KEY (ts, table_id, id))",
    "convex_self_hosted",
    on,
  );
}

const sql = (statement: string, database = "convex_self_hosted", on = machine) =>
  on.sh(`cd / && runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 ${database} << 'END'\n${statement}\nEND`);

/** Stores a file as the backend does: first the file, then its row. */
function store(content: string) {
  return machine.sh(`
    cat > /root/store.py << 'END'
import base64, hashlib, json, sys, uuid
key, content = str(uuid.uuid4()), sys.argv[1].encode()
open("${FILES}/" + key + ".blob", "wb").write(content)
row = {"storageId": "not-its-name", "storageKey": key, "size": {"$integer": base64.b64encode(len(content).to_bytes(8, "little")).decode()},
       "sha256": {"$bytes": base64.b64encode(hashlib.sha256(content).digest()).decode()}}
print("INSERT INTO documents (id, ts, table_id, json_value) VALUES (decode(md5('%s'), 'hex'), (extract(epoch FROM clock_timestamp()) "
      "* 1000000)::bigint * 1000, substring(sha256('_file_storage') FOR 16), convert_to('%s', 'UTF8'))" % (key, json.dumps(row)))
END
    python3 /root/store.py '${content}' | (cd / && runuser -u postgres -- psql -Xq -v ON_ERROR_STOP=1 convex_self_hosted)`);
}

/** Makes a restore point, and returns its name, which has whole seconds. */
function point(on = machine): Promise<string> {
  return on
    .sh(`sleep 1.1; bash ${SCRIPTS}/backups/point.sh now 2>&1 && jq -r .point ${MOUNTPOINT}/backups/point.json`)
    .then((output) => output.split("\n").at(-1) ?? "");
}

function values(to: string, mode = "run", stanza = ""): string {
  return namedValues({ to, stanza, mode, container: "convex-backend" });
}
const restore = (to: string, mode = "run", on = machine) => on.run("backups/restore.sh", values(to, mode));
const stored = () => sql("SELECT count(*) FROM documents").then(Number);
const timeline = () => sql("SELECT timeline_id FROM pg_control_checkpoint()").then(Number);
const archiver = () => sql("SELECT failed_count FROM pg_stat_archiver");
const moment = () => machine.sh("date --utc +%FT%T.%6NZ");

/** The report of a drill. */
async function drill(on = machine) {
  const { exitCode, output } = await on.try(
    `rm -f ${MOUNTPOINT}/backups/drill.json && bash ${SCRIPTS}/backups/drill.sh < /dev/null`,
  );
  const report = JSON.parse(await on.sh(`cat ${MOUNTPOINT}/backups/drill.json`)) as {
    result: string;
    problems: string[];
  };
  return { exitCode, output, ...report };
}

describe("a restore in place", () => {
  stepByStep();
  let first: string, second: string, third: string, between: string;

  it("plans what would be lost, and changes nothing", async () => {
    first = await point();
    await store("one");
    await store("two");
    second = await point();
    await store("three");
    third = await point();
    const { exitCode, output } = await restore(second, "plan");
    expect(exitCode).toBe(0);
    expect(JSON.parse(output)).toMatchObject({
      stanza: STANZA,
      target: { to: second, point: second, timeline: 1 },
      now: { versions: 3, files: 3 },
      lost: { versions: 1, files: 1 },
    });
    expect(await machine.sh(`ls -d ${MOUNTPOINT}/*.restored 2> /dev/null || true`)).toBe("");
  });

  it("brings database and files to a restore point, keeps what was replaced and the passwords", async () => {
    await sql("ALTER ROLE convex PASSWORD 'second'", "postgres");
    const password = await sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'convex'");
    const { exitCode, output } = await restore(second);
    expect(output).toContain(`restore.sh: restored to ${second}`);
    expect(output).toMatch(
      /there is no backend yet\. Start the instance with: npx pulumi up --stack dev --refresh --run-program --skip-preview --yes$/,
    );
    expect(exitCode).toBe(0);
    expect([await stored(), await timeline()]).toEqual([2, 2]);
    expect(await machine.sh(`cat ${FILES}/*.blob`)).toMatch(/^(onetwo|twoone)$/);
    expect(await machine.sh(`cat ${MOUNTPOINT}/data.before-*/storage/files/*.blob | wc -c`)).toBe("11");
    expect(await sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'convex'")).toBe(password);
    expect(await machine.sh(`cat ${MOUNTPOINT}/instance ${MOUNTPOINT}/data/storage/.instance`)).toBe(
      "the-instance\nthe-instance",
    );
    expect(await machine.sh(`grep -v '^#' ${MOUNTPOINT}/postgresql/17/main/postgresql.auto.conf || true`)).toBe("");
    expect(await sql("SELECT count(*) FROM pg_settings WHERE pending_restart")).toBe("0");
  });

  it("archives its new timeline, and can go to a moment on it", async () => {
    await store("four");
    between = await moment();
    await store("five");
    await point();
    expect(await archiver()).toBe("0");
    expect((await restore(between)).output).toContain("restored to");
    expect([await stored(), await timeline()]).toEqual([3, 3]);
  });

  it("can go to a restore point that an earlier restore has undone", async () => {
    expect((await restore(third)).output).toContain(`restored to ${third}`);
    expect([await stored(), await timeline()]).toEqual([3, 4]);
    expect(await machine.sh(`cat ${FILES}/*.blob | grep -c three`)).toBe("1");
  });

  it("can go to before the first restore", async () => {
    expect((await restore(first)).output).toContain(`restored to ${first}`);
    expect([await stored(), await timeline()]).toEqual([0, 5]);
    await point();
    expect(await archiver()).toBe("0");
  });

  it("keeps what restores have undone as long as everything else", async () => {
    const restic = "set -a; . /etc/convex-droplet/backups.env; restic";
    const save = (time: string, tags: string) =>
      machine.sh(
        `${restic} backup --quiet --host ${STANZA} --time "$(date --utc --date '${time}' '+%F %T')" --tag ${tags} /etc/hostname`,
      );
    await save("12:00 20 days ago", "older,undone");
    await save("10:00 10 days ago", "thinned");
    await save("11:00 10 days ago", "undone,kept");
    await save("12:00 10 days ago", "daily");
    // The last twelve stay in any case, and the oldest.
    for (const day of [1, 2, 3, 4, 5, 6, 7, 8, 9, 11]) await save(`12:00 ${day} days ago`, "another");
    await machine.sh(`bash ${SCRIPTS}/backups/base.sh now`);
    const listed = JSON.parse(await machine.sh(`${restic} snapshots --json --host ${STANZA}`)) as { tags: string[] }[];
    const tags = listed.map((snapshot) => snapshot.tags);
    expect(tags).toContainEqual([`point=${third}`, "undone"]);
    expect(tags.flat()).toEqual(expect.arrayContaining(["kept", "daily"]));
    expect(tags.flat()).not.toContain("older");
    expect(tags.flat()).not.toContain("thinned");
  });

  it("removes what restores have kept, if it is asked to", async () => {
    expect((await restore("latest", "forget")).output).toMatch(/restore\.sh: done, 8 changed$/);
    expect(
      await machine.sh(`ls -d ${MOUNTPOINT}/*before* ${MOUNTPOINT}/postgresql/17/*before* 2> /dev/null || true`),
    ).toBe("");
  });
});

describe("a restore that is interrupted", () => {
  stepByStep();

  it.each([
    `grep -q phase=prepare ${JOURNAL}`,
    `test -e ${MOUNTPOINT}/postgresql/17/main.restored/base`,
    "grep -q replaying $log",
    `grep -q phase=ready ${JOURNAL}`,
    `grep -q phase=stop ${JOURNAL}`,
    `grep -q phase=start ${JOURNAL}`,
  ])(
    "is finished by the next run after it was killed when %s",
    async (condition) => {
      await store("kept");
      const before = await stored();
      const kept = await point();
      await store("lost");
      await machine.killWhen(condition, "backups/restore.sh", values(kept));
      if (!condition.includes("start") && !condition.includes("stop")) expect(await stored()).toBe(before + 1);
      expect(await restore(kept)).toMatchObject({ exitCode: 0 });
      expect(await stored()).toBe(before);
      expect(await machine.sh(`ls ${FILES} | wc -l; ls ${JOURNAL} 2> /dev/null || true`)).toBe(String(before));
    },
    120_000,
  );

  it("lets the instance serve again, with its passwords, before a restore to another time", async () => {
    const other = await point();
    await store("lost");
    const kept = await point();
    await sql("ALTER ROLE convex PASSWORD 'third'", "postgres");
    const password = () => sql("SELECT rolpassword FROM pg_authid WHERE rolname = 'convex'");
    const present = await password();
    await machine.killWhen(`grep -q phase=stop ${JOURNAL}`, "backups/restore.sh", values(kept));
    await machine.sh("systemctl stop postgresql@17-main");
    expect(await restore(other)).toMatchObject({ exitCode: 0 });
    expect(await password()).toBe(present);
  }, 180_000);

  it("never starts PostgreSQL with the cluster of one time and the files of another", async () => {
    const kept = await point();
    await store("lost");
    const before = await stored();
    await machine.killWhen(`grep -q phase=ready ${JOURNAL}`, "backups/restore.sh", values(kept));
    // As a loss of power between two renames leaves it.
    await machine.sh(`
      systemctl stop postgresql@17-main
      sed -i 's/^phase=.*/phase=swap/; $a stamp=crash' ${JOURNAL}
      cd ${MOUNTPOINT}/postgresql/17 && mv main main.before-crash && mv main.restored main`);
    await machine.sh("systemctl start postgresql@17-main");
    expect(await stored()).toBe(before - 1);
    expect(
      await machine.sh(`ls ${FILES} | wc -l; ls -d ${MOUNTPOINT}/data.{restored,before-crash} 2> /dev/null || true`),
    ).toBe(`${before - 1}\n${MOUNTPOINT}/data.before-crash`);
    expect((await restore(kept)).output).toContain("finishing the restore");
    expect(await machine.sh(`ls ${JOURNAL} 2> /dev/null || true`)).toBe("");
  });
});

describe("a restore point that takes long", () => {
  it("is awaited by a restore, which keeps no other run from the droplet meanwhile", async () => {
    const kept = await point();
    const ended = await machine.sh(`
      flock /run/convex-droplet-point.lock -c 'touch /run/held; until test -e /run/go; do sleep 0.05; done' < /dev/null > /dev/null 2>&1 &
      until test -e /run/held; do sleep 0.05; done
      base64 -d <<< '${Buffer.from(values(kept)).toString("base64")}' | bash ${SCRIPTS}/backups/restore.sh > /root/said 2>&1 &
      until grep -q 'waiting for the restore point' /root/said; do kill -0 $! || { cat /root/said; exit 1; }; sleep 0.05; done
      flock --nonblock /run/convex-droplet.lock echo free
      touch /run/go
      wait $! && tail -n 3 /root/said`);
    expect(ended).toMatch(/^free\n/);
    expect(ended).toContain(`restored to ${kept}`);
  });
});

describe("a restore that cannot succeed", () => {
  it.each([
    ["convex-20200101T000000Z", "to: there is no restore point convex-20200101T000000Z, it should be an existing one."],
    ["2020-01-01T00:00:00Z", "to: 2020-01-01T00:00:00Z is before the oldest backup"],
    ["2100-01-01T00:00:00Z", "to: 2100-01-01T00:00:00Z is in the future, it should be at most "],
    ["yesterday", "to: is 'yesterday', it should be latest, the name of a restore point, or a moment such as"],
  ])("refuses %s", async (to, message) => {
    const { exitCode, output } = await restore(to);
    expect(output).toContain(`restore.sh: error: ${message}`);
    expect(exitCode).toBe(1);
  });

  it("refuses the backup of another instance, and names both", async () => {
    await machine.sh("sed -i 's/^DATABASE=.*/DATABASE=another/' /etc/convex-droplet/backups.env");
    const { exitCode, output } = await restore("latest");
    await machine.sh("sed -i 's/^DATABASE=.*/DATABASE=convex_self_hosted/' /etc/convex-droplet/backups.env");
    expect(output).toContain("has no database another, but convex_self_hosted. It belongs to another instance");
    expect(exitCode).toBe(1);
  });
});

describe("a drill", () => {
  const objects = (prefix: string) =>
    readdir(path.join(spacesFolder(lab.home), REGION, "buckets", BUCKET, prefix), {
      recursive: true,
      withFileTypes: true,
    }).then((entries) =>
      entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name)),
    );

  /** What no drill may change: the server, the rows, the folders on the volume. */
  const instance = async () => [
    await machine.sh("systemctl show --property MainPID,ActiveState postgresql@17-main"),
    await stored(),
    await machine.sh(`
      ls ${MOUNTPOINT} ${MOUNTPOINT}/postgresql/17 ${FILES}
      ls ${MOUNTPOINT}/backups | grep -vx 'cache\\|drill.json\\|point.json\\|swap.lock' || true`),
  ];
  /** The checksums of all objects. */
  const bucket = async () =>
    Promise.all(
      (await objects("")).map(
        async (file) =>
          [
            file,
            createHash("sha256")
              .update(await readFile(file))
              .digest("hex"),
          ] as const,
      ),
    );
  let before: { instance: Awaited<ReturnType<typeof instance>>; bucket: Awaited<ReturnType<typeof bucket>> };

  beforeEach(async () => {
    before = { instance: await instance(), bucket: await bucket() };
  });
  afterEach(async () => {
    takeFault = () => undefined;
    expect(await instance()).toEqual(before.instance);
    // PostgreSQL may have archived more.
    expect(Object.fromEntries(await bucket())).toMatchObject(Object.fromEntries(before.bucket));
  });

  /** Runs a drill while an object has other content, or is gone. */
  async function drillWith(file: string, damage: (content: Buffer) => Buffer | undefined) {
    const content = await readFile(file);
    const damaged = damage(Buffer.from(content));
    await (damaged ? writeFile(file, damaged) : rm(file));
    const report = await drill();
    await writeFile(file, content);
    return report;
  }

  it("restores everything beside the instance, and reports it", async () => {
    const rows = await stored();
    const newest = await point();
    const pid = await machine.sh("systemctl show --property MainPID --value postgresql@17-main");
    const { exitCode, ...report } = await drill();
    expect(report).toMatchObject({ result: "ok", problems: [], point: newest, rows, files: rows });
    expect(exitCode).toBe(0);
    expect(await machine.sh(`ls ${MOUNTPOINT}/backups`)).toBe("base.json\ncache\ndrill.json\npoint.json\nswap.lock");
    expect(await machine.sh("systemctl show --property MainPID --value postgresql@17-main")).toBe(pid);
  }, 180_000);

  // pgBackRest tries such an object again and again.
  it("finds a bit that was flipped in the backup", async () => {
    const [bundle = ""] = (await objects("postgres/backup")).filter((file) => file.endsWith("bundle/1"));
    const report = await drillWith(bundle, (content) => {
      const middle = content.length >> 1;
      content.writeUInt8(content.readUInt8(middle) ^ 1, middle);
      return content;
    });
    expect(report).toMatchObject({ result: "failed", exitCode: 1 });
    expect(report.problems[0]).toMatch(/^backup .*: failed\. An object in the bucket is damaged/);
  }, 180_000);

  it("finds a segment of the write-ahead log that is missing", async () => {
    const segments = (await objects("postgres/archive")).filter((file) => /\/[0-9A-F]{24}-/.test(file)).sort();
    const report = await drillWith(segments.at(-1) ?? "", () => undefined);
    expect(report.problems[0]).toContain("The write-ahead log in the bucket ends before this moment");
    const followed = segments.filter((file) => path.basename(file).startsWith("00000001"));
    const gap = await drillWith(followed.at(-2) ?? "", () => undefined);
    expect(gap.problems.join()).toMatch(/segments? .* missing in the bucket/);
  }, 180_000);

  it("finds an object that was cut off", async () => {
    const [file = ""] = (await objects("files/snapshots")).slice(-1);
    const report = await drillWith(file, (content) => content.subarray(0, content.length >> 1));
    expect(report).toMatchObject({ result: "failed" });
    expect(report.problems.join()).toContain("An object in the bucket is damaged");
  }, 60_000);

  it.each([
    ["RESTIC_PASSWORD", "/etc/convex-droplet/backups.env", "files' backups are encrypted with another secret"],
    ["repo1-cipher-pass", "/etc/pgbackrest/pgbackrest.conf", "database's backups are encrypted with another secret"],
    ["AWS_ACCESS_KEY_ID", "/etc/convex-droplet/backups.env", "The bucket refuses the access key"],
    ["repo1-s3-key", "/etc/pgbackrest/pgbackrest.conf", "The bucket refuses the access key"],
  ])(
    "explains a wrong %s",
    async (setting, file, message) => {
      await machine.sh(`cp -p ${file} /root/right && sed -i 's/^${setting}=.*/${setting}=wrong/' ${file}`);
      const report = await drill();
      await machine.sh(`cp -p /root/right ${file}`);
      expect(report.problems.join()).toContain(message);
      expect(report).toMatchObject({ result: "failed", exitCode: 1 });
    },
    180_000,
  );

  it("names a key that was deleted", async () => {
    await spaces.setKeys([]);
    const report = await drill();
    await spaces.setKeys([KEY]);
    expect(report).toMatchObject({ result: "failed", exitCode: 1 });
    for (const problem of report.problems)
      expect(problem).toContain("The bucket refuses the access key: it was deleted");
  }, 60_000);

  it("names a key that expires in the middle", async () => {
    let isExpired = false;
    takeFault = (_, subject) => {
      isExpired ||= subject.includes("/bundle/");
      return isExpired ? { kind: "spaces", effect: "expired", path: "", delayMilliseconds: 0 } : undefined;
    };
    const report = await drill();
    expect(isExpired).toBe(true);
    expect(report).toMatchObject({ result: "failed", exitCode: 1 });
    // restic tries again after this code, so of the files, the drill only knows that the bucket did not answer in time.
    expect(report.problems[0]).toMatch(
      /^backup .*: failed\. The bucket refuses the access key: it was deleted, has expired/,
    );
  }, 240_000);

  it("finds that the backups are of another instance, and names both", async () => {
    await machine.sh("sed -i 's/^DATABASE=.*/DATABASE=another/' /etc/convex-droplet/backups.env");
    const report = await drill();
    await machine.sh("sed -i 's/^DATABASE=.*/DATABASE=convex_self_hosted/' /etc/convex-droplet/backups.env");
    expect(report).toMatchObject({ result: "failed", exitCode: 1 });
    expect(report.problems).toEqual([
      expect.stringContaining("has no database another, but convex_self_hosted. It belongs to another instance"),
    ]);
  }, 60_000);

  const fill = (leave: number) =>
    `fallocate -l $(($(df --block-size=1 --output=avail ${MOUNTPOINT} | tail -n 1) - ${leave})) ${MOUNTPOINT}/full`;

  it("needs space, and says how much", async () => {
    await machine.sh(fill(500_000_000));
    const report = await drill();
    await machine.sh(`rm ${MOUNTPOINT}/full`);
    expect(report.problems).toEqual([
      expect.stringMatching(/has \S+ free, it should have \S+ to restore beside what is there\. Grow the volume/),
    ]);
  }, 60_000);

  it("stops if something else fills the volume meanwhile, and PostgreSQL goes on writing", async () => {
    // Otherwise it may end before it is stopped.
    takeFault = (_, subject) =>
      subject.startsWith(`/${BUCKET}/files/data/`)
        ? { kind: "spaces", effect: "none", path: "", delayMilliseconds: 2000 }
        : undefined;
    const [report, written] = await Promise.all([
      drill(),
      machine
        .sh(
          `until test -e ${MOUNTPOINT}/backups/drill/cluster/global/pg_control; do sleep 0.05; done; ${fill(300_000_000)}`,
        )
        .then(() => sql("SELECT pg_logical_emit_message(false, 'test', repeat('x', 50000000)) IS NOT NULL")),
    ]);
    expect(written).toBe("t");
    await machine.sh(`rm ${MOUNTPOINT}/full`);
    expect(report).toMatchObject({ result: "failed", exitCode: 1 });
    expect(report.problems).toEqual([
      expect.stringMatching(
        /: something filled the volume meanwhile, so the copy was removed .* Make room on it, or grow it/,
      ),
    ]);
  }, 60_000);

  it("waits for a restore or a rehearsal that is at work", async () => {
    const held = machine.sh("flock /run/convex-droplet-beside.lock -c 'touch /run/held; sleep 3; rm /run/held'");
    await machine.sh("until test -e /run/held; do sleep 0.05; done");
    const run = await machine.sh(`bash ${SCRIPTS}/backups/drill.sh < /dev/null 2>&1; ls /run/held 2>&1 || true`);
    expect(run).toContain("drill.sh: waiting for another restore, drill or rehearsal on this droplet");
    expect(run).toContain("drill.sh: the backups can be restored");
    expect(run).toContain("No such file");
    await held;
  });

  it("removes what a killed drill has left", async () => {
    await machine.killWhen("grep -q replaying $log", "backups/drill.sh");
    expect((await drill()).result).toBe("ok");
    expect(
      await machine.sh(`ls ${MOUNTPOINT}/backups; systemctl is-active convex-backups-beside.service || true`),
    ).toBe("base.json\ncache\ndrill.json\npoint.json\nswap.lock\ninactive");
  }, 180_000);
});

describe("a restore on a blank volume", () => {
  it("puts both in place, and the next run of postgres.sh adopts it", async () => {
    const rows = await stored();
    const other = await boot(2);
    const empty = await other.run("postgres/postgres.sh", inBucket("another-password", OTHER_STANZA));
    expect(empty.output).toMatch(
      /error: the volume is blank, but bucket backups has backups of this instance\. Restore/,
    );
    const { exitCode, output } = await restore("latest", "run", other);
    expect(output).toMatch(
      /there is no backend yet\. Start the instance with: npx pulumi up --stack dev --refresh --run-program --skip-preview --yes$/,
    );
    expect(exitCode).toBe(0);
    expect(await other.run("postgres/postgres.sh", inBucket("another-password", OTHER_STANZA))).toMatchObject({
      exitCode: 0,
    });
    expect(await sql("SELECT count(*) FROM documents", "convex_self_hosted", other)).toBe(String(rows));
    expect(await other.sh(`cat ${MOUNTPOINT}/instance; ls ${MOUNTPOINT} ${MOUNTPOINT}/postgresql/17`)).toBe(
      `the-instance\n${MOUNTPOINT}:\nbackups\ndata\ninstance\nlost+found\npostgresql\n\n${MOUNTPOINT}/postgresql/17:\nmain`,
    );
  }, 180_000);
});

describe("what is in place, but whose backend was not accepted", () => {
  stepByStep();
  const MOVING = `${MOUNTPOINT}/backups/move-in.journal`;
  let before: string, rows: number;

  // backend.sh refuses it at once, because it gets no values.
  const docker = (script: string) =>
    machine.sh(`install -D -m 0755 /dev/stdin /usr/local/bin/docker << 'END'\n#!/bin/sh\n${script}\nEND`);
  beforeAll(() => docker("case $1 in inspect) echo running ;; esac"));
  afterAll(() => machine.sh("rm /usr/local/bin/docker"));
  const moveIn = (verb: string, stdin = "") => machine.run(`move-in/move-in.sh ${verb}`, stdin);
  const reset = async () => {
    expect(await moveIn("empty convex_self_hosted convex")).toMatchObject({ exitCode: 0 });
    const named = { database: "convex_self_hosted", container: "convex-backend", request: "reset" };
    return moveIn("swap", namedValues(named));
  };

  it("can be left by the restore that its error names", async () => {
    rows = await stored();
    before = await point();
    await store("of the last point");
    const last = await point();
    const { exitCode, output } = await restore(before);
    expect(exitCode).toBe(1);
    expect(output).toContain(
      `run again: npm run restore -- --stack dev --to ${before} --yes. Or restore to another time`,
    );
    expect(output).toContain(`such as the last one before it: npm run restore -- --stack dev --to ${last} --yes`);
    expect(await stored()).toBe(rows);
    expect((await restore("", "forget")).output).toContain(
      `was interrupted, it should be completed first. Run: npm run`,
    );

    const nowhere = await restore("2020-01-01T00:00:00Z");
    expect(nowhere.output).toContain("is before the oldest backup");
    expect(await machine.sh(`grep phase ${JOURNAL}`)).toBe("phase=start");
    const { output: second } = await restore(last);
    expect(second).toContain(`leaving the restore to ${before}`);
    expect(second).toContain(`does not serve after the restore to ${last}`);
    expect(await stored()).toBe(rows + 1);
    await machine.sh(`rm ${JOURNAL}`);
  }, 120_000);

  it("can be left by a restore to a point before it after a reset, too", async () => {
    before = await point();
    const { exitCode, output } = await reset();
    expect(exitCode).toBe(1);
    expect(output).toContain("the backend does not serve after the reset, see above. Fix the cause");
    expect(output).toContain("and run again: npm run reset -- --stack dev --yes");
    expect(output).toContain(`npm run restore -- --stack dev --to ${before} --yes`);
    expect(await sql("SELECT to_regclass('documents')")).toBe("");

    expect(await restore(before, "plan")).toMatchObject({ exitCode: 0 });
    expect((await restore(before)).output).toContain("leaving the reset, which was not completed");
    expect(await stored()).toBe(rows + 1);
    expect(await machine.sh(`ls ${MOVING} /etc/systemd/system/convex-move-in.service 2> /dev/null || true`)).toBe("");
    await machine.sh(`rm ${JOURNAL}`);
  }, 120_000);

  it("keeps the last point before a reset, and no later one has the files of the time before it", async () => {
    const early = await moment();
    await store("of the next point");
    before = await point();
    await store("of no point");
    const late = await moment();
    await reset();
    await machine.sh(
      `install -d ${FILES}; echo emptied | tee ${MOUNTPOINT}/instance > ${MOUNTPOINT}/data/storage/.instance`,
    );
    await point();
    const snapshots = JSON.parse(
      await machine.sh(`set -a; . /etc/convex-droplet/backups.env; restic snapshots --json --host ${STANZA}`),
    ) as { tags: string[] }[];
    expect(snapshots.map(({ tags }) => tags).find((tags) => tags.includes(`point=${before}`))).toContain("undone");
    expect((await restore(late, "plan")).output).toContain(
      "is after the last restore point with the files of that time",
    );
    const planned = await restore(early, "plan");
    expect(JSON.parse(planned.output)).toMatchObject({ target: { point: before } });
    await restore(early);
    expect(await stored()).toBe(rows + 1);
    await machine.sh(`rm ${JOURNAL}`);
  }, 120_000);
});

describe("a restore from the backups of another volume", () => {
  stepByStep();
  const THIRD_STANZA = "33333333-3333-4333-8333-333333333333";
  const chosen = async (to: string) =>
    (JSON.parse((await restore(to, "plan")).output) as { target: { point: string; backup: string } }).target;
  let before: string, first: string;

  it("is followed by the volume's own backups, although it is another cluster", async () => {
    await store("of this volume");
    before = await point();
    first = (await chosen(before)).backup;
    const third = await boot(3);
    await third.sh(`install -D /dev/null ${MOUNTPOINT}/backups/start-empty`);
    await setUpCluster(third, THIRD_STANZA);
    await third.sh(
      `${PGBACKREST} --stanza=${THIRD_STANZA} stanza-create && ${PGBACKREST} --stanza=${THIRD_STANZA} --type=full backup`,
    );
    await point(third);
    const { exitCode, output } = await machine.run("backups/restore.sh", values("latest", "run", THIRD_STANZA));
    expect(output).toContain("restore.sh: the backups go on with the cluster of another volume");
    expect(exitCode).toBe(0);
    expect(await stored()).toBe(0);
    await machine.sh(`bash ${SCRIPTS}/backups/base.sh now`);
    const after = await point();
    expect(await chosen("latest")).toMatchObject({ point: after, backup: expect.not.stringMatching(first) as string });
    expect((await drill()).problems).toEqual([]);
  }, 300_000);

  it("is undone by a restore to a point before it, which they follow, too", async () => {
    expect(await chosen(before)).toEqual({ ...(await chosen(before)), point: before, backup: first });
    const { exitCode, output } = await restore(before);
    expect(output).toContain("restore.sh: the backups go on with the cluster of another volume");
    expect(exitCode).toBe(0);
    expect(await stored()).toBeGreaterThan(0);
    await machine.sh(`bash ${SCRIPTS}/backups/base.sh now`);
    const after = await point();
    const again = await restore(after);
    expect(again.output).toContain(`restored to ${after}`);
    expect(again.output).not.toContain("go on with the cluster");
    expect((await restore(before)).output).toContain(`restored to ${before}`);
    await point();
    expect(await archiver()).toBe("0");
  }, 180_000);
});

describe("a cut-over that a reboot has interrupted", () => {
  const resume = `PATH=/root/bin:$PATH bash ${SCRIPTS}/move-in/move-in.sh resume`;
  const databases = () => sql("SELECT datname FROM pg_database WHERE datname ~ '^moved' ORDER BY 1");

  beforeEach(async () => {
    await machine.sh(`
      for name in moved moved_moving; do runuser -u postgres -- createdb "$name"; done
      install -d ${MOUNTPOINT}/data.moving/storage
      echo moved > ${MOUNTPOINT}/data.moving/storage/.instance
      printf '%s\\n' stamp=20260101T000000Z database=moved container=convex-backend request=cut-over > ${MOUNTPOINT}/backups/move-in.journal
      install -D -m 0755 /dev/stdin /root/bin/docker <<< '#!/bin/sh'`);
  });

  it("leaves the instance as it was if the database was not renamed yet, also if somebody uses it again", async () => {
    await machine.sh(resume);
    expect(await databases()).toBe("moved\nmoved_moving");
    expect(await machine.sh(`ls -d ${MOUNTPOINT}/data.moving; ls ${MOUNTPOINT}/backups/move-in.journal || true`)).toBe(
      `${MOUNTPOINT}/data.moving`,
    );
    await machine.sh("for name in moved moved_moving; do runuser -u postgres -- dropdb $name; done");
  });

  it("puts the files in place too if it was, even if PostgreSQL starts late, and no restore is made before that", async () => {
    await sql('ALTER DATABASE moved RENAME TO "moved_before_20260101T000000Z"', "postgres");
    await sql("ALTER DATABASE moved_moving RENAME TO moved", "postgres");
    const { exitCode, output } = await restore("latest");
    expect(exitCode).toBe(1);
    expect(output).toContain(
      "a cut-over was interrupted while it swapped database and files, it should be finished first. Run: npm run move-in",
    );
    await machine.sh("systemctl stop postgresql@17-main");
    await machine.sh(`
      : > /root/resumed
      ${resume} > /root/resumed 2>&1 &
      until (($(grep -c 'connection to server' /root/resumed) >= 2)); do kill -0 $! || exit 1; sleep 0.05; done
      test -e ${MOUNTPOINT}/data.moving
      systemctl start postgresql@17-main
      wait $!`);
    expect(await databases()).toBe("moved\nmoved_before_20260101T000000Z");
    expect(await machine.sh(`cat ${MOUNTPOINT}/data/storage/.instance ${MOUNTPOINT}/instance`)).toBe("moved\nmoved");
  }, 60_000);
});
