import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { AUTHORITY_FILE, HOST_IN_CONTAINERS, MOUNTPOINT, NETWORK } from "../../contract/names.ts";
import { SCRIPTS } from "../../contract/scripts.ts";
import { startPulumi } from "../e2e/ended-up.ts";
import { eventually, TestCloud } from "../e2e/harness.ts";
import { leaksOf, ProcessWatch, secretsOf } from "../e2e/leaks.ts";
import { readFile, readRow, writeFile, writeRow } from "../e2e/probe.ts";
import { succeeded } from "../e2e/succeeded.ts";
import { stepByStep } from "../steps.ts";

const STACK = "moves";
const JOURNAL = `${MOUNTPOINT}/database-move`;
/** Of a further database: as long as a name with a shadow can nearly be, so that the first letters of the two are the same. */
const LONG = "long_".padEnd(55, "g");
const CONFIRM = "npx pulumi config rm --stack moves moveDatabase && npx pulumi up --stack moves";

let cloud: TestCloud;
let processes: ProcessWatch;

beforeAll(async () => {
  cloud = await TestCloud.start();
  processes = new ProcessWatch();
  await cloud.createStack(STACK, {
    // As in production: a protected database must not stand in the way of a move.
    ...{ size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", protectData: "true" },
    ...{
      databaseSize: "db-s-1vcpu-2gb",
      postgresPoolSize: "16",
      "driftIgnore[0]": "postgres.role_settings",
      "driftIgnore[1]": "containers.app",
    },
    'databases["shop"].connections': "5",
    'databases["shop"].shadow': "true",
    [`databases["${LONG}"].connections`]: "2",
    [`databases["${LONG}"].shadow`]: "true",
  });
});

afterAll(async () => {
  await processes[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

const droplet = async (command: string, input?: string) =>
  succeeded(await cloud.onDroplet(STACK, command, input)).trim();
const backend = async () => (await cloud.outputs(STACK))["backendUrl"] ?? "";
const preview = () => cloud.pulumi(["preview", "--stack", STACK]);
const up = (...args: string[]) => cloud.operate("up", STACK, ["--yes", "--skip-preview", "--non-interactive", ...args]);
const unset = async (key: string) => succeeded(await cloud.pulumi(["config", "rm", "--stack", STACK, key]));

async function moveTo(place: "droplet" | "managed"): Promise<void> {
  await cloud.configure(STACK, "database", place);
  await cloud.configure(STACK, "moveDatabase", "true");
}

/** Statements in a database of the server that the instance uses. */
const ask = (statement: string, database = "shop") =>
  droplet(`source ${SCRIPTS}/lib/common.sh; source ${SCRIPTS}/lib/sql.sh; in_database ${database} "$(cat)"`, statement);

/** Clusters in the account. */
async function clusters(): Promise<number> {
  const { databases } = (await (await cloud.cloud("GET", "/v2/databases")).json()) as { databases: unknown[] | null };
  return databases?.length ?? 0;
}

/** Logs in as the owner of a further database with its URL, as a container does. */
async function asShop(statement: string): Promise<string> {
  const { shop = "" } = (await cloud.outputs(STACK))["databaseUrls"] as unknown as Record<string, string>;
  const { username, password, hostname, port } = new URL(shop);
  const address = hostname === HOST_IN_CONTAINERS ? `hostaddr=${NETWORK.gateway}` : "";
  const command = `read -r PGPASSWORD && export PGPASSWORD && nsenter --target "$(docker inspect --format '{{.State.Pid}}' convex-backend)" --net \
    psql -XqAt 'host=${hostname} ${address} port=${port} user=${username} dbname=shop sslmode=verify-full sslrootcert=${AUTHORITY_FILE}'`;
  return droplet(command, `${password}\n${statement}\n`);
}

/** Everything in the databases that is not the backend's own work: rows, sequences, settings, and who may use what. */
async function contents(): Promise<string> {
  return [
    await ask(
      `SELECT count(*), md5(string_agg(md5(d::text), '' ORDER BY ts, id)) FROM documents AS d WHERE ts <= ${newest}`,
      "convex_self_hosted",
    ),
    await ask(`SELECT count(*), md5(string_agg(md5(t::text), '' ORDER BY id)) FROM own.things AS t WHERE id <= 1000;`),
    await ask(
      `SELECT lo_get(4711); SELECT obj_description('own.things'::regclass); SELECT extname FROM pg_extension ORDER BY 1`,
    ),
    await ask(
      `SELECT rolname, rolcanlogin, rolconnlimit FROM pg_roles WHERE rolname IN ('convex', 'shop') ORDER BY 1;
      SELECT setrole::regrole, datname, setconfig FROM pg_db_role_setting LEFT JOIN pg_database d ON d.oid = setdatabase WHERE setrole = 0 OR setrole = 'shop'::regrole ORDER BY 1, 2;
      SELECT datname, pg_get_userbyid(datdba), datacl FROM pg_database WHERE datname ~ 'convex|shop' ORDER BY 1`,
    ),
    await ask("SELECT * FROM tried", "shop_shadow"),
    await ask("SELECT * FROM own", LONG),
    await ask("SELECT * FROM own", `${LONG}_shadow`),
  ].join("\n");
}

/** On the droplet, when it keeps the instance out for a move: a command. */
const inTheMiddle = (command: string, seconds = 0.5) =>
  `for _ in {1..3000}; do [[ ! -e ${JOURNAL} ]] || break; sleep 0.1; done; [[ -e ${JOURNAL} ]] && sleep ${seconds} && ${command}`;

/** What an interrupted move must never leave. */
async function expectServed(key: string): Promise<void> {
  await eventually("the instance to serve", 120, () => writeRow(url, key, "kept"));
  expect(await readRow(url, key)).toBe("kept");
  const left = `ls ${JOURNAL} 2> /dev/null; docker inspect --format '{{.State.Running}}' app`;
  await eventually("the other containers to run, too", 60, async () => {
    expect(await droplet(left)).toBe("true");
  });
}

let [url, file, before, newest] = ["", "", "", ""];

// One stack; each test continues where the one before ended.
describe("a stack whose database moves", () => {
  stepByStep();

  it("comes up with the database on the droplet", async () => {
    succeeded(await cloud.up(STACK));
    url = await backend();
    await writeRow(url, "first", "kept");
    file = await writeFile(url, "a stored file");
    await ask(
      "CREATE EXTENSION pg_trgm; ALTER DATABASE shop SET statement_timeout = '77s'; ALTER ROLE shop SET work_mem = '13MB'",
    );
    await ask(
      `SET ROLE shop; CREATE SCHEMA own; CREATE TABLE own.things (id serial PRIMARY KEY, f float8, b bytea, c text);
      INSERT INTO own.things (f, b, c) SELECT random(), decode(md5(i::text), 'hex'), 'ü' || i FROM generate_series(1, 1000) AS i;
      COMMENT ON TABLE own.things IS 'what there is'; CREATE INDEX ON own.things USING gin (c public.gin_trgm_ops); SELECT lo_from_bytea(4711, 'large')`,
    );
    await ask("SET ROLE shop; CREATE TABLE tried AS SELECT 'tried' AS t", "shop_shadow");
    for (const name of [LONG, `${LONG}_shadow`]) {
      await ask(`SET ROLE ${LONG}; CREATE TABLE own AS SELECT '${name}' AS name`, name);
    }
    newest = await ask("SELECT max(ts) FROM documents", "convex_self_hosted");
    before = await contents();
    const { shop = "" } = (await cloud.outputs(STACK))["databaseUrls"] as unknown as Record<string, string>;
    await droplet(
      `read -r URL && export URL && docker run --detach --name app --restart unless-stopped --stop-timeout 2 --env URL --entrypoint sleep "$(docker inspect --format '{{.Config.Image}}' convex-backend)" infinity`,
      `${shop}\n`,
    );
  });

  it("is refused another place in a preview, which names the setting", async () => {
    await cloud.configure(STACK, "database", "managed");
    const { all, exitCode } = await preview();
    expect(exitCode).not.toBe(0);
    expect(all).toContain(
      "convex-droplet:database: is managed, but this stack was deployed with droplet, where its data is. Nothing was changed.",
    );
    expect(all).toMatch(/moveDatabase true/);
    await moveTo("managed");
    const planned = succeeded(await preview());
    expect(planned).toContain("moveDatabase: up moves the database from the droplet's server to the managed cluster");
    expect(planned).not.toMatch(
      /(postgresql|random):index:\w+ convex-(?!admin-|database-place )\S+ (create|delete|replace)/,
    );
  });

  it("is refused a move that would leave a database behind, before anything is made", async () => {
    succeeded(await cloud.pulumi(["config", "rm", "--stack", STACK, "--path", `databases.${LONG}`]));
    const { all, exitCode } = await up();
    expect(exitCode).not.toBe(0);
    expect(all).toContain(`convex-droplet:databases.${LONG}: is not there any more, but this run moves the database`);
    expect(await clusters()).toBe(0);
    expect(await contents()).toBe(before);
    await cloud.configure(STACK, `databases["${LONG}"].connections`, "2");
    await cloud.configure(STACK, `databases["${LONG}"].shadow`, "true");
  });

  it("stays where it is if the copy is not the same, and can be left there, also if data is protected", async () => {
    await ask(
      `SET ROLE shop; CREATE FUNCTION own.here() RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT current_setting('port')$$;
      CREATE TABLE own.tampered (i int, h text GENERATED ALWAYS AS (own.here()) STORED); INSERT INTO own.tampered VALUES (1)`,
    );
    const { all, exitCode } = await up();
    expect(exitCode).not.toBe(0);
    expect(all).toContain(
      "database shop: has other rows in the managed cluster than in the droplet's server. The first table is table|own.tampered|1|",
    );
    await expectServed("tampered");
    await ask("SET ROLE shop; DROP TABLE own.tampered; DROP FUNCTION own.here()");
    await cloud.configure(STACK, "database", "droplet");
    await unset("moveDatabase");
    expect(succeeded(await up())).not.toMatch(/convex-backend +(replaced|deleted)/);
    expect(await clusters()).toBe(0);
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    await expectServed("left");
    expect(await contents()).toBe(before);
  });

  it("serves again after a kill of the script in the middle, with the next up", async () => {
    await moveTo("managed");
    const killed = up();
    await droplet(inTheMiddle("pkill -KILL -f '[m]anaged/move.sh'"));
    expect((await killed).exitCode).not.toBe(0);
    await cloud.configure(STACK, "database", "droplet");
    expect(succeeded(await up())).toContain("opening the droplet's server again, after a move that was not completed");
    await expectServed("script");
    expect(await contents()).toBe(before);
  });

  it("serves again by itself after a loss of power in the middle", async () => {
    await moveTo("managed");
    const killed = up();
    await droplet(inTheMiddle("true"));
    await cloud.switchDroplet("off");
    expect((await killed).exitCode).not.toBe(0);
    await cloud.switchDroplet("on");
    await eventually("the droplet to answer", 120, () => droplet("true"));
    await expectServed("power");
  });

  it("is moved to its end if pulumi is killed, and the next up goes on", async () => {
    const killed = startPulumi(cloud, ["up", "--skip-preview", "--stack", STACK]);
    try {
      await droplet(inTheMiddle("true"));
    } finally {
      killed.kill("all");
    }
    await killed.ended;
    await eventually("the move to end", 120, async () => (await droplet(`ls ${JOURNAL} 2> /dev/null || true`)) === "");
    expect(await droplet(`ls ${MOUNTPOINT}/managed-cluster`)).not.toBe("");

    await cloud.configure(STACK, "database", "droplet");
    await unset("moveDatabase");
    const left = await up();
    expect(left.exitCode).not.toBe(0);
    expect(left.all).toContain(
      `${MOUNTPOINT}/managed-cluster: says that the instance's database is in managed cluster`,
    );
    expect(await clusters()).toBe(1);
    // As that message says.
    await moveTo("droplet");
    succeeded(await up());
    await expectServed("interrupted");
    expect(await contents()).toBe(before);

    await moveTo("managed");
    succeeded(await up());
  });

  it("has everything in the managed cluster, and nothing on the droplet's server", async () => {
    url = await backend();
    expect(await contents()).toBe(before);
    for (const key of ["first", "tampered", "left", "script", "power", "interrupted"])
      expect(await readRow(url, key)).toBe("kept");
    expect(await readFile(url, file)).toBe("a stored file");
    // A loss of power makes a sequence skip some numbers.
    expect(Number(await asShop("INSERT INTO own.things (c) VALUES ('new') RETURNING id"))).toBeGreaterThan(1000);
    expect(await droplet("ss -Hltn 'sport = :5432'; ls /etc/convex-droplet/cluster-* 2> /dev/null || true")).toBe("");
    await atRest("managed by DigitalOcean");
  });

  it("goes back to what the droplet's server has kept, if the cluster is dead", async () => {
    await writeRow(url, "late", "lost");
    expect(await droplet(`bash ${SCRIPTS}/managed/move.sh back 2>&1`)).toContain(
      "the instance's database is that of the droplet's server again, as it was when it was moved. Now: ",
    );
    await cloud.configure(STACK, "database", "droplet");
    succeeded(await up());
    url = await backend();
    expect(await readRow(url, "late")).not.toBe("lost");
    expect(await contents()).toBe(before);
    await writeRow(url, "again", "kept");
    await atRest("write-ahead log");
  });

  it("moves to the cluster, prints the time without service, and keeps what was there until the move is confirmed", async () => {
    await moveTo("managed");
    const moved = succeeded(await up());
    expect(moved).toMatch(/the rehearsal took \d+ s\. Now the instance does not serve, for about as long/);
    const [, seconds = ""] = /the backend serves again, (\d+) s after its database stopped/.exec(moved) ?? [];
    process.stdout.write(`to the managed cluster: ${seconds} s without service\n`);
    expect(Number(seconds)).toBeGreaterThan(0);
    expect(moved).toContain(CONFIRM);
    url = await backend();
    expect(await readRow(url, "again")).toBe("kept");
    expect(await contents()).toBe(before);
    await atRest("managed by DigitalOcean");
    expect(await droplet(`ls -d ${MOUNTPOINT}/postgresql/17/main`)).not.toBe("");
    expect(await leaksOf(cloud, STACK, processes, await secretsOf(cloud, STACK))).toEqual([]);
  });

  it("is refused the droplet without the setting, also if a preview does not see where it is", async () => {
    await cloud.configure(STACK, "database", "droplet");
    await unset("moveDatabase");
    expect((await preview()).all).toContain(
      "convex-droplet:database: is droplet, but this stack was deployed with managed",
    );
    const { all, exitCode } = await up("--replace", "**convex-rehearsal");
    expect(exitCode).not.toBe(0);
    expect(all).toContain("convex-droplet:database: is droplet, but this stack was deployed with managed");
    expect(await clusters()).toBe(1);
    await writeRow(url, "early", "kept");
  });

  it("stays in the cluster if the volume has no room, with the size that it needs", async () => {
    await moveTo("droplet");
    await droplet(
      `fallocate -l $(($(df -B1 --output=avail ${MOUNTPOINT} | tail -n 1) - 1024 ** 3)) ${MOUNTPOINT}/full`,
    );
    const { all, exitCode } = await up();
    await droplet(`rm ${MOUNTPOINT}/full`);
    expect(exitCode).not.toBe(0);
    expect(all).toMatch(
      /\/mnt\/convex: has 1\.\dGB free, it should have \d\.\dGB for the database\. Grow the volume.* volumeSizeGb 10\d/,
    );
    await writeRow(url, "room", "kept");
  });

  it("moves back with the newest rows, after a kill in the middle", async () => {
    const killed = up();
    await droplet(inTheMiddle("pkill -KILL -f '[m]anaged/move.sh'", 3));
    expect((await killed).exitCode).not.toBe(0);
    const moved = succeeded(await up());
    expect(moved).toContain("opening the managed cluster again, after a move that was not completed");
    const [, seconds = ""] = /the backend serves again, (\d+) s after its database stopped/.exec(moved) ?? [];
    process.stdout.write(`to the droplet's server: ${seconds} s without service\n`);
    url = await backend();
    for (const key of ["again", "early", "room"]) expect(await readRow(url, key)).toBe("kept");
    expect(await readFile(url, file)).toBe("a stored file");
    expect(await contents()).toBe(before);
    expect(await asShop("SELECT max(id) FROM own.things")).toBe("1000");
    expect(await clusters()).toBe(1);
    await atRest("write-ahead log");
  });

  it("is confirmed by removing the setting, which deletes the cluster, although data is protected", async () => {
    await unset("moveDatabase");
    const planned = succeeded(await preview());
    expect(planned).toContain("so up removes what a move has kept: the managed cluster");
    expect(planned).toMatch(/DatabaseCluster +convex-cluster +delete/);
    await refuseToConfirm("managed");
    expect(await clusters()).toBe(1);
    succeeded(await up());
    expect(await clusters()).toBe(0);
    expect(await readRow(url, "room")).toBe("kept");
    await atRest("write-ahead log");
  });

  it("is confirmed in a cluster, too, which removes what is on the volume, and protects the cluster again", async () => {
    await moveTo("managed");
    succeeded(await up());
    await unset("moveDatabase");
    await refuseToConfirm("droplet");
    expect(succeeded(await up())).toContain(`removed what the move had kept in ${MOUNTPOINT}/postgresql`);
    expect(await droplet(`ls -d ${MOUNTPOINT}/postgresql/* /etc/postgresql/*/* 2> /dev/null || true`)).toBe("");
    url = await backend();
    expect(await readRow(url, "room")).toBe("kept");
    expect(await contents()).toBe(before);
    await atRest("managed by DigitalOcean");
    expect((await cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", STACK])).all).toContain("protect");
    expect(await clusters()).toBe(1);
  });
});

/** While a database that the former place has is missing at the new one. */
async function refuseToConfirm(former: "droplet" | "managed"): Promise<void> {
  await ask("ALTER DATABASE shop_shadow RENAME TO missed", LONG);
  const { all, exitCode } = await up();
  await ask("ALTER DATABASE missed RENAME TO shop_shadow", LONG);
  expect(exitCode).not.toBe(0);
  expect(all).toContain(`only the former place (${former}) has databases shop_shadow, so what the move has kept there`);
}

/** Nothing to do for a second run, no drift, all well, and the status shows the server. */
async function atRest(server: string): Promise<void> {
  succeeded(await cloud.up(STACK, "--expect-no-changes"));
  succeeded(await cloud.pulumi(["preview", "--refresh", "--expect-no-changes", "--stack", STACK]));
  succeeded(await cloud.operate("drift", STACK));
  succeeded(await cloud.operate("doctor", STACK));
  expect((await cloud.operate("status", STACK)).all).toMatch(new RegExp(`PostgreSQL +17\\.\\d+.*${server}`));
}
