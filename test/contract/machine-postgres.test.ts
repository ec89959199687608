import { X509Certificate } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";

import { AUTHORITY_FILE, HOST_IN_CONTAINERS } from "../../contract/names.ts";
import { type Lab, openLab } from "./droplet-harness.ts";
import { CERTIFIED, hostValues, Machine, NO_REPOSITORY, postgresValues, SCRIPTS } from "./machine-harness.ts";

const PASSWORD = "first-password";
const NEXT_PASSWORD = "second-password";

let lab: Lab;
let machine: Machine;

beforeAll(async () => {
  lab = await openLab();
  await lab.room.createVolume({ id: "11111111", name: "data", sizeGigabytes: 100 });
  machine = await Machine.create(lab, { ...lab.spec(1), volumeIds: ["11111111"] });
  expect(await machine.run("host/host.sh", hostValues())).toMatchObject({ exitCode: 0 });
});
afterAll(() => lab[Symbol.asyncDispose]());

/** Runs a statement as the server's own user, which logs in by its name. */
const sql = (statement: string, on = machine) =>
  on.sh(`cd /; runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 postgres <<< "${statement}"`);

/** Logs in as the stack's tools do: through the socket, with a password. */
const asAdministrator = (password: string, on = machine) =>
  on.try(`PGPASSWORD=${password} psql -XqAt --no-password -U convex_admin postgres -c "SHOW is_superuser"`);

/** Addresses that the server listens on, without localhost's IPv6 address, which only some machines have. */
const listening = () => machine.sh("ss -ltnH 'sport = :5432' | awk '{print $4}' | sort | grep -vF '[::1]'");
const LOCALHOST_AND_GATEWAY = "127.0.0.1:5432\n172.30.0.1:5432";

/** A certificate for the server's key that starts to be valid in some seconds. */
async function madeIn(seconds: number): Promise<typeof CERTIFIED> {
  const start = new Date(Date.now() + seconds * 1000).toISOString().replaceAll(/\D/g, "").slice(0, 14);
  const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-certificate-"));
  try {
    await writeFile(path.join(folder, "key"), CERTIFIED.key.join("\n"));
    await writeFile(path.join(folder, "index"), "");
    await writeFile(
      path.join(folder, "ca"),
      "[ca]\ndefault_ca=own\n[own]\ndatabase=index\nnew_certs_dir=.\ndefault_md=sha256\nrand_serial=yes\npolicy=any\n[any]\ncommonName=supplied\n",
    );
    const openssl = (...args: string[]) => execa("openssl", args, { cwd: folder });
    await openssl("req", "-new", "-key", "key", "-subj", "/CN=server", "-out", "request");
    const signing = ["-selfsign", "-keyfile", "key", "-in", "request", "-startdate", `${start}Z`, "-days", "2"];
    const { stdout } = await openssl("ca", "-config", "ca", "-batch", "-notext", ...signing);
    return { ...CERTIFIED, certificate: stdout.trim().split("\n") };
  } finally {
    await rm(folder, { recursive: true });
  }
}

describe("the set-up of the server", () => {
  it.each([
    "dpkg --status postgresql-17 2> /dev/null | grep -q '^Status: .*\\(unpacked\\|half\\)'",
    "test -e /mnt/convex/postgresql/17/main.unfinished/base",
    "grep -q 'created the cluster' $log",
    "grep -q pg_hba.d $log",
    "grep -q 'started PostgreSQL' $log",
  ])(
    "is killed when %s",
    (moment) => machine.killWhen(moment, "postgres/postgres.sh", postgresValues(PASSWORD)),
    180_000,
  );

  it("is finished by the next run, and the one after that changes nothing", async () => {
    const last = await machine.run("postgres/postgres.sh", postgresValues(PASSWORD));
    expect(last.output).toMatch(/postgres\.sh: done, \d+ changed$/);
    expect(last.exitCode).toBe(0);
    const services = ["postgresql", "postgresql@17-main", "docker"];
    const before = await machine.snapshot(services);
    expect(await machine.run("postgres/postgres.sh", postgresValues(PASSWORD))).toEqual({
      exitCode: 0,
      output: "postgres.sh: unchanged",
    });
    expect(await machine.snapshot(services)).toBe(before);
  });

  it("writes the authority's file in place of a folder that Docker made for it", async () => {
    await machine.sh(`rm ${AUTHORITY_FILE} && mkdir ${AUTHORITY_FILE}`);
    expect((await machine.run("postgres/postgres.sh", postgresValues(PASSWORD))).output).toMatch(/done, 1 changed$/);
  });

  it("fails if the key does not fit the certificate, and keeps serving with the one before", async () => {
    const unfit = postgresValues(PASSWORD, 84, { ...CERTIFIED, certificate: CERTIFIED.authority });
    const { exitCode, output } = await machine.run("postgres/postgres.sh", unfit);
    expect(output).toContain("error: PostgreSQL: serves another certificate than that of server.crt");
    expect(exitCode).toBe(1);
    expect((await machine.run("postgres/postgres.sh", postgresValues(PASSWORD))).output).toMatch(/done, 1 changed$/);
  });

  it("waits for a certificate that a clock some seconds ahead has made", async () => {
    const made = await madeIn(10);
    const { output } = await machine.run("postgres/postgres.sh", postgresValues(PASSWORD, 84, made));
    expect(output).toMatch(/wrote .*server\.crt\n.*done, 1 changed$/);
    expect(Date.now()).toBeGreaterThanOrEqual(Date.parse(new X509Certificate(made.certificate.join("\n")).validFrom));
    expect((await machine.run("postgres/postgres.sh", postgresValues(PASSWORD))).output).toMatch(/done, 1 changed$/);
  });

  it("refuses a certificate that a clock far ahead has made, and changes nothing", async () => {
    const { exitCode, output } = await machine.run(
      "postgres/postgres.sh",
      postgresValues(PASSWORD, 84, await madeIn(3600)),
    );
    expect(output).toMatch(
      /^postgres\.sh: error: PostgreSQL's certificate: is valid from (\S+Z), but this droplet's clock shows (?!\1)\S+Z\. .* run npx pulumi up --stack dev --replace '\*\*convex-postgres-authority'$/,
    );
    expect(exitCode).toBe(1);
    expect((await machine.run("postgres/postgres.sh", postgresValues(PASSWORD))).output).toBe("postgres.sh: unchanged");
  });

  it("removes the scripts of an earlier release, but only if all of this release are there", async () => {
    const former = [`${SCRIPTS}/lib.sh`, `${SCRIPTS}/files/a b `];
    const all = former.map((file) => `'${file}'`).join(" ");
    await machine.sh(`install -D /dev/null '${SCRIPTS}/files/a b '; touch ${all}; mv ${SCRIPTS}/host/sshd.conf /root/`);
    expect((await machine.run("postgres/postgres.sh", postgresValues(PASSWORD))).output).toBe("postgres.sh: unchanged");
    await machine.sh(`mv /root/sshd.conf ${SCRIPTS}/host/`);
    expect((await machine.run("postgres/postgres.sh", postgresValues(PASSWORD))).output).toMatch(/done, 2 changed$/);
    expect(await machine.sh(`ls ${all} ${SCRIPTS}/files 2>&1 | grep -c "No such file"`)).toBe("3");
    expect(await machine.sh(`ls ${SCRIPTS}`)).toBe(
      "apps\nbackups\nbuckets\nconvex\nedge\nfunctions\nhost\ninspect.sh\nlib\nmanaged\nmove-in\npostgres\nstatus.py",
    );
  });

  it("creates one cluster on the volume, with checksums, and none on the root disk", async () => {
    expect(await sql("SHOW data_directory; SHOW data_checksums")).toBe("/mnt/convex/postgresql/17/main\non");
    expect(await machine.sh("pg_lsclusters --no-header | wc -l; ls /mnt/convex/postgresql/17")).toBe("1\nmain");
    expect(await machine.sh("ls -A /var/lib/postgresql/ | grep -v '^\\.' || true")).toBe("");
  });

  it("allows exactly the declared connections", async () => {
    expect(
      await sql(
        "SELECT type, database, user_name, address, netmask, auth_method, options, error FROM pg_hba_file_rules",
      ),
    ).toBe(
      [
        "local|{all}|{postgres}|||peer||",
        "local|{all}|{convex_admin}|||scram-sha-256||",
        "hostssl|{convex_self_hosted}|{convex}|172.30.0.0|255.255.255.0|scram-sha-256||",
        "local|{replication}|{postgres}|||peer||",
      ].join("\n"),
    );
  });
});

describe("connections", () => {
  const connect = (from: string, who: string, to = "172.30.0.1", password = "secret") =>
    machine.try(
      `${from} env PGPASSWORD=${password} PGCONNECT_TIMEOUT=3 psql -XqAt 'host=${to} ${who}' -c 'SELECT current_user'`,
    );
  const OWN = "user=convex dbname=convex_self_hosted";

  beforeAll(async () => {
    await sql(
      `CREATE ROLE convex LOGIN PASSWORD 'secret'; CREATE ROLE stranger LOGIN SUPERUSER PASSWORD 'secret';
      CREATE DATABASE convex_self_hosted OWNER convex; CREATE DATABASE other OWNER convex`.replaceAll("; ", ";\n"),
    );
    // Two networks, as Docker makes them: the backend's, and another project's.
    await machine.sh(
      ["30", "31"]
        .map(
          (
            net,
          ) => `ip link add br${net} type bridge && ip address add 172.${net}.0.1/24 dev br${net} && ip link set br${net} up
            ip netns add net${net} && ip link add veth${net} type veth peer name eth0 netns net${net}
            ip link set veth${net} master br${net} up && ip -n net${net} address add 172.${net}.0.5/24 dev eth0
            ip -n net${net} link set eth0 up && ip -n net${net} route add default via 172.${net}.0.1`,
        )
        .join("\n"),
    );
  });

  const container = "ip netns exec net30";
  it("of the backend's role to its database, from its network, are accepted", async () => {
    const trusted = `hostaddr=172.30.0.1 sslmode=verify-full sslrootcert=${AUTHORITY_FILE}`;
    expect(await connect(container, `${OWN} ${trusted}`, HOST_IN_CONTAINERS)).toEqual({
      exitCode: 0,
      output: "convex",
    });
  });

  it.each([
    ["with a wrong password", container, OWN, "172.30.0.1", "wrong", "password authentication failed"],
    ["without TLS", container, `${OWN} sslmode=disable`, "172.30.0.1", "secret", "no encryption"],
    ["to another database", container, "user=convex dbname=other", "172.30.0.1", "secret", "no pg_hba.conf entry"],
    ["to the maintenance database", container, "user=convex dbname=postgres", "172.30.0.1", "secret", "no pg_hba.conf"],
    ["of another role", container, "user=stranger dbname=convex_self_hosted", "172.30.0.1", "secret", "no pg_hba.conf"],
    ["of the server's owner", container, "user=postgres dbname=postgres", "172.30.0.1", "secret", "no pg_hba.conf"],
    ["from another network", "ip netns exec net31", OWN, "172.30.0.1", "secret", "no pg_hba.conf entry"],
    ["to an address it does not serve", "ip netns exec net31", OWN, "172.31.0.1", "secret", "Connection refused"],
    ["from the host itself", "", OWN, "127.0.0.1", "secret", "no pg_hba.conf entry"],
    ["of another role on the socket", "", "user=stranger dbname=other", "/run/postgresql", "secret", "no pg_hba.conf"],
    ["in the server's name on the socket", "", "user=postgres dbname=postgres", "/run/postgresql", "secret", "Peer"],
  ])("%s are refused", async (_, from, who, to, password, reason) => {
    const { exitCode, output } = await connect(from, who, to, password);
    expect(output).toContain(reason);
    expect(exitCode).toBe(2);
  });
});

describe("further databases", () => {
  const APPS = ["app shadow replication", "other"];
  const valuesOf = (databases: string[]) => postgresValues(PASSWORD, 84, CERTIFIED, NO_REPOSITORY, false, databases);
  const set = (databases: string[]) => machine.run("postgres/postgres.sh", valuesOf(databases));
  /** What differs in check mode: subjects and properties. */
  const check = async (databases: string[]) => {
    const values = Buffer.from(valuesOf(databases)).toString("base64");
    const records = await machine.sh(
      `base64 -d <<< '${values}' | CONVEX_DROPLET_CHECK=1 bash ${SCRIPTS}/postgres/postgres.sh | tr '\\n\\0' ' \\n'`,
    );
    const fields = records.split("\n");
    return fields.flatMap((field, index) =>
      field === "difference" ? [`${fields[index + 3] ?? ""} ${fields[index + 4] ?? ""}`] : [],
    );
  };
  const connect = (user: string, database: string, from = "ip netns exec net30", to = "172.30.0.1") =>
    machine.try(
      `${from} env PGPASSWORD=secret PGCONNECT_TIMEOUT=3 psql -XqAt 'host=${to} user=${user} dbname=${database}' -c 'SELECT current_database()'`,
    );
  const REPLICATION =
    "SELECT string_agg(name || '=' || setting, ' ' ORDER BY name) FROM pg_settings WHERE name IN ('wal_level', 'max_replication_slots', 'max_slot_wal_keep_size')";

  it("are announced in check mode, and nothing is changed by that", async () => {
    expect(await check(APPS)).toEqual(
      expect.arrayContaining([
        "files[/mnt/convex/postgresql/replicating] ",
        "files[/etc/postgresql/17/main/pg_hba.d/10-convex-droplet.conf] content",
      ]),
    );
    expect((await machine.run("postgres/postgres.sh", postgresValues(PASSWORD))).output).toBe("postgres.sh: unchanged");
  });

  it("are admitted from the network and, for the tunnel, on the socket, each for its owner; replication restarts the server once", async () => {
    const { output } = await set(APPS);
    expect(output).toContain("restarting PostgreSQL for: max_replication_slots, max_wal_senders, wal_level");
    expect(await sql(REPLICATION)).toBe("max_replication_slots=16 max_slot_wal_keep_size=1024 wal_level=logical");
    expect(await set(APPS)).toEqual({ exitCode: 0, output: "postgres.sh: unchanged" });
    expect(await check(APPS)).toEqual([]);
    expect(
      await sql(
        "SELECT type, database, user_name, address, auth_method FROM pg_hba_file_rules WHERE user_name && '{app,other}'::text[]",
      ),
    ).toBe(
      [
        "local|{app,app_shadow}|{app}||scram-sha-256",
        "hostssl|{app,app_shadow}|{app}|172.30.0.0|scram-sha-256",
        "local|{other}|{other}||scram-sha-256",
        "hostssl|{other}|{other}|172.30.0.0|scram-sha-256",
      ].join("\n"),
    );
    await sql(
      ["CREATE ROLE app LOGIN REPLICATION PASSWORD 'secret'", "CREATE ROLE other LOGIN PASSWORD 'secret'"]
        .concat("CREATE DATABASE app OWNER app", "CREATE DATABASE app_shadow OWNER app")
        .concat(["app", "app_shadow", "convex_self_hosted"].map((name) => `REVOKE ALL ON DATABASE ${name} FROM PUBLIC`))
        .concat("ALTER DATABASE other OWNER TO other", "REVOKE ALL ON DATABASE other FROM PUBLIC")
        .join(";\n"),
    );
  });

  it.each([
    ["app", "app"],
    ["app", "app_shadow"],
    ["other", "other"],
  ])("let %s into %s", async (user, database) => {
    expect(await connect(user, database)).toEqual({ exitCode: 0, output: database });
    expect(await connect(user, database, "", "/run/postgresql")).toEqual({ exitCode: 0, output: database });
  });

  it.each([
    ["app", "other"],
    ["app", "convex_self_hosted"],
    ["app", "postgres"],
    ["app", "template1"],
    ["other", "app"],
    ["other", "app_shadow"],
    ["convex", "app"],
    ["convex", "other"],
  ])("do not let %s into %s", async (user, database) => {
    expect((await connect(user, database)).output).toContain("no pg_hba.conf entry");
    expect((await connect(user, database, "", "/run/postgresql")).output).toContain("no pg_hba.conf entry");
  });

  const SLOT = "SELECT pg_create_logical_replication_slot('feed', 'test_decoding')";
  const slots = () => sql("SELECT slot_name || ' in ' || database FROM pg_replication_slots ORDER BY 1");

  it("that lose their replication lose their slots, also one in use, whenever the run is killed, and the server starts", async () => {
    const asApp = (statement: string) =>
      machine.sh(`PGPASSWORD=secret psql -XqAt -h /run/postgresql -U app app -c "${statement}"`);
    await asApp(`${SLOT}; SELECT pg_create_logical_replication_slot('spare', 'test_decoding')`);
    await asApp("CREATE TABLE t (i int); INSERT INTO t VALUES (1)");
    await machine.sh(
      "systemd-run --unit feed --setenv PGPASSWORD=secret --property Restart=always --property RestartSec=0.1 --property StartLimitIntervalSec=0 " +
        "/usr/lib/postgresql/17/bin/pg_recvlogical -h /run/postgresql -U app -d app --slot feed --start --no-loop --create-slot --if-not-exists " +
        "-P test_decoding -f -",
    );
    const without = valuesOf(["app shadow", "other"]);
    await machine.killWhen("grep -q 'dropping the replication slots' $log", "postgres/postgres.sh", without);
    const { exitCode, output } = await set(["app shadow", "other"]);
    expect(output).toContain("switched off logical replication");
    expect(exitCode).toBe(0);
    expect(await slots()).toBe("");
    expect(await sql(REPLICATION)).toBe("max_replication_slots=10 max_slot_wal_keep_size=-1 wal_level=replica");
    expect(await set(["app shadow", "other"])).toEqual({ exitCode: 0, output: "postgres.sh: unchanged" });
    expect(await check(["app shadow", "other"])).toEqual([]);
    await machine.sh("systemctl stop feed");
  });

  it("keep the slots of others, and a slot that nothing declares is named before the server would not start", async () => {
    await sql("ALTER ROLE app REPLICATION");
    await set(["app replication", "other replication"]);
    const asApp = (statement: string) =>
      machine.sh(`PGPASSWORD=secret psql -XqAt -h /run/postgresql -U app app -c "${statement}"`);
    await asApp(SLOT);
    expect((await set(["app replication", "other"])).exitCode).toBe(0);
    expect(await slots()).toBe("feed in app");
    await machine.sh(
      "cd / && runuser -u postgres -- psql -XqAt convex_self_hosted -c \"SELECT pg_create_logical_replication_slot('odd', 'test_decoding')\"",
    );
    const refused = await set(["app", "other"]);
    expect(refused.output).toContain("has the logical replication slots odd in convex_self_hosted");
    expect(refused.exitCode).toBe(1);
    await sql("SELECT pg_drop_replication_slot('odd')");
    expect((await set(["app", "other"])).output).toContain("switched off logical replication");
  });

  it("that are gone leave nothing in the configuration", async () => {
    await set([]);
    expect((await machine.run("postgres/postgres.sh", postgresValues(PASSWORD))).output).toBe("postgres.sh: unchanged");
    expect((await connect("app", "app")).output).toContain("no pg_hba.conf entry");
    await sql("DROP DATABASE app;\nDROP DATABASE app_shadow");
  });
});

describe("on a droplet that is set up", () => {
  it("systemd restarts a server that was killed", async () => {
    const postmaster = () => machine.sh("head -n 1 /mnt/convex/postgresql/17/main/postmaster.pid");
    const before = await postmaster();
    await machine.sh(`kill -9 ${before}`);
    await vi.waitFor(() => machine.sh("systemctl is-active postgresql@17-main"), { timeout: 60_000, interval: 500 });
    expect(await postmaster()).not.toBe(before);
    expect((await machine.run("postgres/postgres.sh", postgresValues(PASSWORD))).output).toBe("postgres.sh: unchanged");
  });

  it("systemd never gives up a server that cannot start, because the cause may be gone later", async () => {
    const limit =
      "systemctl show --value --property StartLimitIntervalUSec,RestartUSec,RestartMaxDelayUSec postgresql@17-main";
    expect((await machine.sh(limit)).split("\n").toSorted()).toEqual(["0", "15s", "2s"]);
  });

  it("the server does not start if its data is not on the volume, and the set-up does not create a cluster there", async () => {
    const mount = "/mnt/convex/postgresql";
    await machine.sh(`systemctl stop postgresql@17-main; mkdir /srv/fake && mount --bind /srv/fake ${mount}`);
    expect(await machine.try("systemctl start postgresql@17-main")).toMatchObject({ exitCode: 1 });
    const run = await machine.run("postgres/postgres.sh", postgresValues(PASSWORD));
    expect(run.output).toMatch(/error: \/mnt\/convex\/postgresql: is a mount of .*, it should be on the volume itself/);
    expect(run.exitCode).toBe(1);
    expect(await machine.sh("ls -A /srv/fake")).toBe("");
    await machine.sh(`umount ${mount}; systemctl stop postgresql@17-main`);

    // With the mark of an accepted instance, an empty folder means that the data is lost, and not a first start.
    await machine.sh(`mv ${mount} /mnt/convex/kept; mkdir ${mount}; touch /mnt/convex/instance`);
    const lost = await machine.run("postgres/postgres.sh", postgresValues(PASSWORD));
    expect(lost.output).toContain("is not there, but an instance used this volume: its database is lost.");
    expect(await machine.sh(`ls -A ${mount}`)).toBe("");
    await machine.sh(`rmdir ${mount}; mv /mnt/convex/kept ${mount}; rm /mnt/convex/instance`);
    expect((await machine.run("postgres/postgres.sh", postgresValues(PASSWORD))).output).toMatch(
      /started PostgreSQL 17\n.*1 changed$/,
    );
  });

  it("a change of max_connections restarts the server once and says so", async () => {
    const started = () => sql("SELECT pg_postmaster_start_time()");
    const before = await started();
    const { output } = await machine.run("postgres/postgres.sh", postgresValues(PASSWORD, 100));
    expect(output).toContain("restarting PostgreSQL for: max_connections");
    expect(await sql("SHOW max_connections")).toBe("100");
    const after = await started();
    expect(after).not.toBe(before);
    expect((await machine.run("postgres/postgres.sh", postgresValues(PASSWORD, 100))).output).toBe(
      "postgres.sh: unchanged",
    );
    expect(await started()).toBe(after);
  });

  it("the administrator's password is changed, and is in no file or log", async () => {
    expect(await asAdministrator(PASSWORD)).toEqual({ exitCode: 0, output: "on" });
    const { output } = await machine.run("postgres/postgres.sh", postgresValues(NEXT_PASSWORD, 100));
    expect(output).toBe("postgres.sh: set the administrator's password\npostgres.sh: done, 1 changed");
    expect((await asAdministrator(NEXT_PASSWORD)).output).toBe("on");
    expect((await asAdministrator(PASSWORD)).output).toContain("password authentication failed");
    expect(
      await machine.sh(
        "grep -rlE '(first|second)-password' /etc /var/log /var/lib/postgresql /tmp /root/.psql_history 2>/dev/null || true; journalctl | grep -c second-password || true",
      ),
    ).toBe("0");
  });

  it("an administrator that lost its rights gets them back", async () => {
    await sql("ALTER ROLE convex_admin NOSUPERUSER");
    await machine.run("postgres/postgres.sh", postgresValues(NEXT_PASSWORD, 100));
    expect(await asAdministrator(NEXT_PASSWORD)).toEqual({ exitCode: 0, output: "on" });
  });

  it("another project's roles, databases and settings stay unchanged and active", async () => {
    await machine.sh(`
      echo 'host neighbour neighbour 172.31.0.0/24 scram-sha-256' > /etc/postgresql/17/main/pg_hba.d/50-neighbour.conf
      echo "work_mem = '13MB'" > /etc/postgresql/17/main/conf.d/50-neighbour.conf`);
    await sql(
      "CREATE ROLE neighbour LOGIN PASSWORD 'theirs';\nCREATE DATABASE neighbour OWNER neighbour;\nSELECT pg_reload_conf()",
    );
    const look = () =>
      sql(
        "SELECT rolpassword FROM pg_authid WHERE rolname = 'neighbour';\nSELECT oid, datdba, datacl FROM pg_database WHERE datname = 'neighbour';\nSHOW work_mem;\nSELECT count(*) FROM pg_hba_file_rules",
      );
    const before = await look();
    expect(before).toMatch(/\n13MB\n5$/);
    expect((await machine.run("postgres/postgres.sh", postgresValues(NEXT_PASSWORD, 84))).exitCode).toBe(0);
    expect(await look()).toBe(before);
  });

  it("an override of a declared setting is reported", async () => {
    await machine.sh("echo 'max_connections = 30' > /etc/postgresql/17/main/conf.d/60-smaller.conf");
    await machine.sh("systemctl restart postgresql@17-main");
    const { output, exitCode } = await machine.run("postgres/postgres.sh", postgresValues(NEXT_PASSWORD));
    expect(output).toContain(
      "listens on 'localhost, 172.30.0.1' with 30 connections, it should be 'localhost, 172.30.0.1' with 84.",
    );
    expect(exitCode).toBe(1);
    await machine.sh("rm /etc/postgresql/17/main/conf.d/60-smaller.conf");
    expect((await machine.run("postgres/postgres.sh", postgresValues(NEXT_PASSWORD))).output).toContain(
      "PostgreSQL for: max_connections",
    );
  });

  it("an undeclared value that waits for a restart is not activated", async () => {
    await sql("ALTER SYSTEM SET listen_addresses = '*'");
    const { output, exitCode } = await machine.run("postgres/postgres.sh", postgresValues(NEXT_PASSWORD));
    expect(output).toMatch(
      /would activate other values than declared: listen_addresses in .*postgresql\.auto\.conf\. Nothing/,
    );
    expect(exitCode).toBe(1);
    expect(await listening()).toBe(LOCALHOST_AND_GATEWAY);
    await sql("ALTER SYSTEM RESET listen_addresses");
    expect((await machine.run("postgres/postgres.sh", postgresValues(NEXT_PASSWORD))).output).toBe(
      "postgres.sh: unchanged",
    );
  });

  it("a mistake in a rules file is reported with file and line", async () => {
    const file = "/etc/postgresql/17/main/pg_hba.d/60-mistake.conf";
    await machine.sh(`echo 'host all' > ${file}`);
    const { output, exitCode } = await machine.run("postgres/postgres.sh", postgresValues(NEXT_PASSWORD));
    expect(output).toContain(`error: pg_hba: ${file}:1 `);
    expect(exitCode).toBe(1);
    await machine.sh(`rm ${file}`);
  });

  it("data of another major version is refused and not changed", async () => {
    await machine.sh("mkdir /mnt/convex/postgresql/16");
    const { output, exitCode } = await machine.run("postgres/postgres.sh", postgresValues(NEXT_PASSWORD));
    expect(output).toContain(
      "/mnt/convex/postgresql/16: contains data of PostgreSQL 16, this droplet has PostgreSQL 17.",
    );
    expect(exitCode).toBe(1);
    await machine.sh("rmdir /mnt/convex/postgresql/16");
  });
});

describe("after a reboot in which Docker does not start", () => {
  beforeAll(async () => {
    expect(await listening()).toBe(LOCALHOST_AND_GATEWAY);
    await machine.sh("systemctl disable --quiet --now docker.service docker.socket");
    await lab.room.rebootDroplet(1);
    await lab.booted(machine.droplet);
  });

  it("the server already listens at its declared addresses, and nowhere else", async () => {
    expect(await machine.sh("systemctl is-system-running --wait; ip -brief address | grep -c 172.30 || true")).toBe(
      "running\n0",
    );
    expect(await listening()).toBe(LOCALHOST_AND_GATEWAY);
  });

  it("the server does not start without the volume", async () => {
    await machine.sh("systemctl stop postgresql@17-main; umount /mnt/convex");
    expect((await machine.try("systemctl start postgresql@17-main")).output).toContain("Assertion failed");
    expect(await machine.sh("ls -A /mnt/convex")).toBe("");
  });
});

describe("a droplet that takes the volume over", () => {
  let next: Machine;

  beforeAll(async () => {
    await lab.room.destroyDroplet(1);
    next = await Machine.create(lab, { ...lab.spec(2), volumeIds: ["11111111"] });
    // Before the packages are installed, so that the user's id differs from that on the first droplet.
    await next.sh(
      "groupadd --gid 950 postgres && useradd --uid 950 --gid postgres --home /var/lib/postgresql postgres",
    );
    expect(await next.run("host/host.sh", hostValues())).toMatchObject({ exitCode: 0 });
  });

  it("uses the cluster with everything in it", async () => {
    const { output, exitCode } = await next.run("postgres/postgres.sh", postgresValues(NEXT_PASSWORD));
    expect(output).toContain("took over the cluster /mnt/convex/postgresql/17/main");
    expect(output).not.toContain("created the cluster");
    // The password is in the cluster, so it is already set.
    expect(output).not.toContain("set the administrator's password");
    expect(exitCode).toBe(0);
    expect(
      await sql("SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate", next),
    ).toBe("convex_self_hosted neighbour other postgres");
    expect(await asAdministrator(NEXT_PASSWORD, next)).toEqual({ exitCode: 0, output: "on" });
    expect(await next.sh("find /mnt/convex/postgresql/17 ! -user postgres")).toBe("");
  });

  it("changes nothing the second time", async () => {
    expect((await next.run("postgres/postgres.sh", postgresValues(NEXT_PASSWORD))).output).toBe(
      "postgres.sh: unchanged",
    );
  });
});
