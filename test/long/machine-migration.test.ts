import { randomBytes } from "node:crypto";

import { afterAll, beforeAll, expect, it } from "vitest";

import { MOUNTPOINT } from "../../contract/names.ts";
import { namedValues } from "../../contract/scripts.ts";
import { Spaces } from "../../sandbox/spaces/spaces.ts";
import { type Lab, openLab } from "../contract/droplet-harness.ts";
import { hostValues, Machine, postgresValues, type ScriptRun, SCRIPTS } from "../contract/machine-harness.ts";

const HOME = `${MOUNTPOINT}/postgresql`;
const WORK = "/var/lib/convex-droplet-migration";
/** Debian 12, in which the old cluster is made. */
const OLD = "/srv/debian-12";
/** What a migration makes on the droplet, and removes. */
const LEFTOVERS = `
  ls -d ${WORK} /run/convex-droplet-beside ${HOME}/*/main.* 2> /dev/null
  findmnt --noheadings --list --source convex-migration
  pgrep -a postgres | grep /15/
  systemctl list-units --no-legend 'convex-migration*' 'convex-backups-beside*' 'backups-beside*'
  true`;

const KEY = {
  access_key: "key-of-the-test",
  secret_key: randomBytes(20).toString("hex"),
  grants: [{ bucket: "", permission: "fullaccess" as const }],
};
const ENDPOINT = "nyc3.digitaloceanspaces.com";
const REPOSITORY = {
  ...{ stanza: "volume", backup_days: 14, repository_endpoint: ENDPOINT, repository_region: "nyc3" },
  ...{ repository_bucket: "backups", repository_key: KEY.access_key, repository_key_secret: KEY.secret_key },
  ...{ repository_passphrase: randomBytes(20).toString("hex"), repository_authority: "" },
};

let lab: Lab;
let spaces: Spaces;
let machine: Machine;
/** What the old cluster contains, and its files. */
let [contents, files] = ["", ""];

/** A command of Debian 12, as its user of PostgreSQL. */
const old = (command: string) =>
  `chroot ${OLD} setpriv --reuid=postgres --regid=postgres --init-groups env PATH=/usr/lib/postgresql/15/bin:/usr/bin:/bin ${command}`;
const inOld = (database: string, statements: string) =>
  machine.sh(`${old(`psql -h /tmp -XqAt -v ON_ERROR_STOP=1 ${database}`)} << 'END'\n${statements}\nEND`);
const inNew = (database: string, statements: string) =>
  machine.sh(`cd / && runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 ${database} << 'END'\n${statements}\nEND`);

const startOld = () =>
  machine.sh(
    old(
      `pg_ctl -D ${HOME}/15/main -l /tmp/log -w -o "-k /tmp -c listen_addresses= -c wal_level=logical" start > /dev/null`,
    ),
  );

async function readContents(ask: typeof inOld): Promise<string> {
  return [
    await ask(
      "postgres",
      `SELECT rolname, rolpassword, rolconnlimit, rolreplication FROM pg_authid WHERE rolname !~ '^(pg_|convex_admin)' ORDER BY 1;
      SELECT datname, pg_get_userbyid(datdba), ARRAY(SELECT unnest(datacl)::text ORDER BY 1), datcollate, datistemplate FROM pg_database ORDER BY 1;
      SELECT setrole::regrole, datname, setconfig FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase ORDER BY 1, 2;
      SELECT * FROM notes`,
    ),
    await ask(
      "convex_self_hosted",
      `SELECT count(*), md5(string_agg(md5(d::text), '' ORDER BY ts, table_id, id)) FROM documents d;
      SELECT nextval('numbers'); SELECT * FROM newest; SELECT lo_get(4711)`,
    ),
    await ask(`"dbname='other = one'"`, "SELECT * FROM things"),
    await ask("german", "SELECT * FROM words ORDER BY 1"),
  ].join("\n");
}

/** Each file of the old cluster with its time, owner and content. */
const readFiles = (folder = `${HOME}/15`) =>
  machine.sh(
    `cd ${folder} && find . -mindepth 1 -printf '%P %i %s %T@ %C@ %U %m\\n' | sort && find . -type f -print0 | sort -z | xargs -0 cat | sha256sum`,
  );

const values = (on: boolean) => postgresValues("a-password", 84, undefined, REPOSITORY, on);
const migrate = (on = true): Promise<ScriptRun> => machine.run("postgres/postgres.sh", values(on));
const backUp = () =>
  machine.run("backups/backups.sh", namedValues({ mountpoint: MOUNTPOINT, dumped: [], move: "false", ...REPOSITORY }));
/** What pgBackRest has of the volume. */
const backups = () =>
  machine.sh(
    `pgbackrest info --output=json | jq -r '.[0] | [.db[].version] + [.backup[] | .type + " of " + (.database.id | tostring)] | join(", ")'`,
  );

beforeAll(async () => {
  lab = await openLab();
  spaces = new Spaces(
    lab.home,
    () => undefined,
    () => undefined,
  );
  await spaces.open();
  await spaces.setKeys([KEY]);
  await lab.room.serveSpaces(spaces.serve);
  await lab.room.createVolume({ id: "volume", name: "data", sizeGigabytes: 20 });
  machine = await Machine.create(lab, { ...lab.spec(1), volumeIds: ["volume"] });
  expect(await machine.run("host/host.sh", hostValues({ sizeGb: 20 }))).toMatchObject({ exitCode: 0 });
  await machine.sh(`
    exec 2>&1
    apt-get -qq install -y --no-install-recommends mmdebstrap > /dev/null
    mirror=$(apt-get indextargets --format '$(RELEASE) $(REPO_URI)' 'Created-By: Packages' | sed -n 's/^trixie //p' | head -n 1)
    mmdebstrap --quiet --variant=apt --include=postgresql-15,locales-all bookworm ${OLD} "deb $mirror bookworm main" || exit 1
    mount --bind /dev ${OLD}/dev
    mkdir -p ${OLD}${MOUNTPOINT} && mount --bind ${MOUNTPOINT} ${OLD}${MOUNTPOINT}
    install -d ${HOME} && chroot ${OLD} install -d -o postgres -g postgres ${HOME}/15
    ${old(`initdb -D ${HOME}/15/main --data-checksums --encoding UTF8 --locale C.UTF-8`)} > /dev/null`);
  await startOld();
  await inOld(
    "postgres",
    `CREATE ROLE convex LOGIN PASSWORD 'roles-password'; ALTER ROLE convex SET work_mem = '13MB';
    CREATE ROLE neighbour LOGIN REPLICATION PASSWORD 'theirs' CONNECTION LIMIT 3;
    CREATE DATABASE convex_self_hosted OWNER convex;
    REVOKE ALL ON DATABASE convex_self_hosted FROM PUBLIC; ALTER DATABASE convex_self_hosted SET statement_timeout = '77s';
    CREATE DATABASE "other = one" OWNER neighbour;
    CREATE DATABASE german TEMPLATE template0 LOCALE 'de_DE.UTF-8';
    CREATE TABLE notes (t text); INSERT INTO notes VALUES ('kept'), ('CREATE ROLE postgres;'), (E'two\\nlines');`,
  );
  await inOld(
    "convex_self_hosted",
    `SET SESSION AUTHORIZATION convex;
    CREATE TABLE documents (id BYTEA NOT NULL, ts BIGINT NOT NULL, table_id BYTEA NOT NULL, json_value BYTEA, deleted BOOLEAN DEFAULT false, prev_ts BIGINT, PRIMARY KEY (ts, table_id, id));
    INSERT INTO documents SELECT decode(md5(i::text), 'hex'), i, '\\x01', decode(repeat(md5(i::text), 40), 'hex') FROM generate_series(1, 300000) i;
    CREATE VIEW newest AS SELECT max(ts) FROM documents;
    CREATE SEQUENCE numbers START 42;
    SELECT lo_from_bytea(4711, 'large');`,
  );
  await inOld(
    `"dbname='other = one'"`,
    // The slot's consumer has to start again: no dump has it.
    "CREATE TABLE things (t float8); INSERT INTO things VALUES (0.1), ('NaN'); SELECT pg_create_logical_replication_slot('feed', 'test_decoding');",
  );
  await inOld(
    "german",
    "CREATE TABLE words (t text PRIMARY KEY); INSERT INTO words VALUES ('Zebra'), ('Ärger'), ('Apfel'), ('apfel');",
  );
  // Installs pgBackRest.
  expect(await migrate(false)).toMatchObject({ exitCode: 1 });
  await machine.sh(`
    curl -fsS --aws-sigv4 aws:amz:nyc3:s3 --user ${KEY.access_key}:${KEY.secret_key} -H "x-amz-content-sha256: $(sha256sum < /dev/null | cut -d ' ' -f 1)" \\
      -X PUT https://${ENDPOINT}/backups > /dev/null
    from="--stanza=volume --pg1-path=${HOME}/15/main --pg1-socket-path=${OLD}/tmp --pg1-user=postgres"
    pgbackrest $from stanza-create && pgbackrest $from --no-archive-check --start-fast backup
    # Its locks are root's now.
    rm -r /tmp/pgbackrest
    install -d ${MOUNTPOINT}/data/storage/files
    echo the-instance | tee ${MOUNTPOINT}/instance > ${MOUNTPOINT}/data/storage/.instance`);
  expect(await backups()).toBe("15, full of 1");
  contents = await readContents(inOld);
  // As after a loss of power: without a last checkpoint.
  await inOld("convex_self_hosted", "SELECT setval('numbers', 41)");
  await machine.sh(`pkill -KILL --pidfile ${HOME}/15/main/postmaster.pid; sleep 1`);
  files = await readFiles();
}, 600_000);
afterAll(async () => {
  await spaces[Symbol.asyncDispose]();
  await lab[Symbol.asyncDispose]();
});

it("refuses data of an older version without the setting, and changes nothing", async () => {
  const { exitCode, output } = await migrate(false);
  expect(output).toMatch(
    /error: \/mnt\/convex\/postgresql\/15: contains data of PostgreSQL 15, this droplet has PostgreSQL 17\. Nothing was changed\. .*npx pulumi config set --stack dev migratePostgres true && npx pulumi up --stack dev;/,
  );
  expect(exitCode).toBe(1);
  expect(await machine.sh(`ls ${HOME}`)).toBe("15");
});

it.each([
  ["18", "Only data of an older version can be migrated."],
  ["9.6", "Only data of an older version can be migrated."],
  ["13", "it should be of one that can be migrated: 15 16 17."],
])("refuses data of PostgreSQL %s also with the setting", async (version, reason) => {
  await machine.sh(`mv ${HOME}/15 ${MOUNTPOINT}/aside; mkdir ${HOME}/${version}`);
  const { exitCode, output } = await migrate();
  await machine.sh(`rmdir ${HOME}/${version}; mv ${MOUNTPOINT}/aside ${HOME}/15`);
  expect(output).toContain(`${HOME}/${version}: contains data of PostgreSQL ${version}, `);
  expect(output).toContain(reason);
  expect(exitCode).toBe(1);
});

it("refuses without room for the new cluster, and names the size that the volume needs", async () => {
  await machine.sh(
    `fallocate -l $(($(df -B1 --output=avail ${MOUNTPOINT} | tail -n 1) - 1024 ** 3)) ${MOUNTPOINT}/full`,
  );
  const { exitCode, output } = await migrate();
  await machine.sh(`rm ${MOUNTPOINT}/full`);
  expect(output).toMatch(
    /error: \/mnt\/convex: has 1\.0GB free, it should have [12]\.\dGB to migrate .* npx pulumi config set --stack dev volumeSizeGb 2[23] && npx pulumi up --stack dev\n?$/,
  );
  expect(exitCode).toBe(1);
  expect(await machine.sh(LEFTOVERS)).toBe("");
});

it("refuses a database in a locale that the droplet does not have, until it is installed as the message says", async () => {
  const { exitCode, output } = await migrate();
  expect(output).toContain("error: database german: has the locale de_DE.UTF-8, which this droplet does not have.");
  expect(exitCode).toBe(1);
  expect(await machine.sh(LEFTOVERS)).toBe("");
  const [, fix = ""] = /npm run ssh -- --stack \S* ?(apt-get .*); then/.exec(output) ?? [];
  await machine.sh(`DEBIAN_FRONTEND=noninteractive ${fix} > /dev/null 2>&1`);
});

it.each([
  ["the old packages are unpacked", `[[ -d ${WORK}/root/usr/share/postgresql ]]`],
  ["the old server runs", `[[ -S ${WORK}/root/socket/.s.PGSQL.5432 ]]`],
  ["the new cluster is loaded", `(( $(du -sm ${HOME}/17/main.unfinished 2> /dev/null | cut -f 1) > 150 ))`],
  ["the rows are compared", `grep -q 'rows are the same' "$log"`],
])("is killed when %s", (_, moment) =>
  machine.killWhen(moment, "postgres/postgres.sh", postgresValues("a-password", 84, undefined, undefined, true)),
);

it("has not written to the old cluster until then, and serves nothing", async () => {
  expect(await readFiles()).toBe(files);
  expect(await machine.sh("systemctl is-active postgresql@17-main || true")).toBe("inactive");
});

it.each([
  ["the new cluster is complete", `[[ -d ${HOME}/17/main.migrated ]]`],
  ["the old one was moved away", `[[ -d ${HOME}/before-17/15 ]]`],
])("is killed when %s", (_, moment) =>
  machine.killWhen(moment, "postgres/postgres.sh", postgresValues("a-password", 84, undefined, undefined, true)),
);

it("is finished by the next run, and the one after that changes nothing", async () => {
  expect(await migrate()).toMatchObject({
    exitCode: 0,
    output: expect.stringContaining("started PostgreSQL 17") as unknown,
  });
  expect(await migrate()).toEqual({ exitCode: 0, output: "postgres.sh: unchanged" });
  // Also without the setting, and drift finds nothing.
  expect(await migrate(false)).toEqual({ exitCode: 0, output: "postgres.sh: unchanged" });
  const stdin = Buffer.from(values(false)).toString("base64");
  expect(await machine.sh(`base64 -d <<< ${stdin} | CONVEX_DROPLET_CHECK=1 bash ${SCRIPTS}/postgres/postgres.sh`)).toBe(
    "",
  );
  expect(await machine.sh(LEFTOVERS)).toBe("");
});

it("has taken everything over, and has left the old cluster as it was", async () => {
  expect(await readContents(inNew)).toBe(contents);
  expect(await inNew("postgres", "SHOW data_checksums; SHOW server_version_num")).toMatch(/^on\n17/);
  expect(await readFiles(`${HOME}/before-17/15`)).toBe(files);
});

it("starts a new backup, and refuses to restore to a moment from before the migration", async () => {
  const before = await machine.sh("date --utc --date='1 hour ago' +%FT%TZ");
  expect(await backUp()).toMatchObject({
    exitCode: 0,
    output: expect.stringContaining("started the first backup") as unknown,
  });
  await machine.sh("systemctl start convex-base-backup.service");
  expect(await backups()).toBe("15, 17, full of 1, full of 2");
  expect(await backUp()).toEqual({ exitCode: 0, output: "backups.sh: unchanged" });
  await machine.sh(`sleep 1.1; bash ${SCRIPTS}/backups/point.sh now`);
  const restore = (to: string) =>
    machine.run("backups/restore.sh", namedValues({ to, stanza: "", mode: "plan", container: "convex-backend" }));
  expect((await restore(before)).output).toMatch(
    /error: to: \S+Z is (of PostgreSQL 15, from which the data was migrated, it should be of 17\. For the way back .*docs\/upgrades\.md\.|before the oldest backup)/,
  );
  expect(await restore("latest")).toMatchObject({ exitCode: 0 });
  expect((await machine.run("backups/drill.sh all")).output).toMatch(/the backups can be restored: convex-\S+$/);
});

it("goes back to the old version, whose data is as it was, and keeps the new one", async () => {
  const back = () => machine.run("postgres/migrate.sh back");
  await inNew("postgres", "INSERT INTO notes VALUES ('new')");
  await machine.killWhen(`[[ -d ${HOME}/before-15/17 ]]`, "postgres/migrate.sh back");
  // The kill may come too late.
  expect((await back()).output).toMatch(/put the data of PostgreSQL 15 back\. .*\n.*done, \d changed$|: unchanged$/);
  expect(await back()).toEqual({ exitCode: 0, output: "migrate.sh: unchanged" });
  expect(await machine.sh(`ls ${HOME}; ls ${HOME}/before-15`)).toBe("15\nbefore-15\n17");
  expect(await readFiles()).toBe(files);
  expect((await migrate(false)).output).toContain("this droplet has PostgreSQL 17. Nothing was changed.");
});

it("migrates again after that, also without the keyring of the old distribution, and removes on request what is kept", async () => {
  await machine.sh("mv /usr/share/keyrings/debian-archive-keyring.* /root");
  expect(await migrate()).toMatchObject({ exitCode: 0 });
  expect(await inNew("postgres", "SELECT count(*) FROM notes WHERE t = 'new'")).toBe("0");
  expect((await machine.run("postgres/migrate.sh forget")).output).toMatch(
    /removed .*before-15\n.*removed .*before-17\n.*done, 2 changed$/,
  );
  expect((await machine.run("postgres/migrate.sh forget")).output).toBe("migrate.sh: unchanged");
  expect(await machine.sh(`ls ${HOME}`)).toBe("17");
  expect(await migrate()).toEqual({ exitCode: 0, output: "postgres.sh: unchanged" });
});
