import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import pg from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { AUTHORITY_FILE, HOST_IN_CONTAINERS, NETWORK } from "../../contract/names.ts";
import { projectFolder } from "../../sandbox/project.ts";
import { eventually, type Run, TestCloud } from "../e2e/harness.ts";
import { leaksOf, ProcessWatch, secretsOf } from "../e2e/leaks.ts";
import { succeeded } from "../e2e/succeeded.ts";
import { stepByStep } from "../steps.ts";

const STACK = "databases";

let cloud: TestCloud;
let processes: ProcessWatch;

beforeAll(async () => {
  cloud = await TestCloud.start();
  processes = new ProcessWatch();
  await cloud.createStack(STACK, {
    ...{ size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", backups: "spaces", protectData: "true" },
    'databases["other"].connections': "10",
  });
});

afterAll(async () => {
  await processes[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

const droplet = async (command: string, input?: string) =>
  succeeded(await cloud.onDroplet(STACK, command, input)).trim();
const asServer = (statement: string, database = "postgres") =>
  droplet(`cd / && runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d ${database}`, statement);
const drift = (...args: string[]) => cloud.operate("drift", STACK, args);
const urls = async () => (await cloud.outputs(STACK))["databaseUrls"] as unknown as Record<string, string>;

/** Removes a database from the settings. */
async function forget(database: string): Promise<void> {
  succeeded(await cloud.pulumi(["config", "rm", "--stack", STACK, "--path", `databases.${database}`]));
}

/**
 * Runs statements with a URL in the network of a container that is beside the backend's, and verifies the server's certificate. The
 * password is on stdin, because it must be on no command line.
 */
async function fromContainer(url: string, statements: string, tls = true): Promise<Run> {
  const { password, username, port, pathname } = new URL(url);
  const mode = tls ? `sslmode=verify-full&sslrootcert=${AUTHORITY_FILE}` : "sslmode=disable";
  return cloud.onDroplet(
    STACK,
    `read -r PGPASSWORD && export PGPASSWORD PGHOSTADDR=${NETWORK.gateway} PGCONNECT_TIMEOUT=5
    nsenter --target "$(docker inspect --format '{{.State.Pid}}' app)" --net \
      psql -XqAt -v ON_ERROR_STOP=1 -d 'postgresql://${username}@${HOST_IN_CONTAINERS}:${port}${pathname}?${mode}'`,
    `${password}\n${statements}\n`,
  );
}

// One stack; each test continues where the one before ended.
describe("a stack with further databases", () => {
  stepByStep();
  let before = "";
  let appUrl = "";

  it("has one beside Convex's after its up, and a restore point", async () => {
    succeeded(await cloud.up(STACK));
    expect(Object.keys(await urls())).toEqual(["other"]);
    await droplet(
      `docker run --detach --name app --network ${NETWORK.name} --entrypoint sleep "$(docker inspect --format '{{.Config.Image}}' convex-backend)" infinity`,
    );
    succeeded(await fromContainer((await urls())["other"] ?? "", "CREATE TABLE of_other AS SELECT 1 AS i"));
    succeeded(await cloud.operate("backup", STACK, ["now"]));
    const { stdout } = await cloud.operate("backup", STACK, ["--format", "json"]);
    before = (JSON.parse(stdout) as { points: { name: string }[] }).points[0]?.name ?? "";
  });

  it("gets another one with a shadow and replication, and a second up changes nothing", async () => {
    for (const [option, value] of Object.entries({ shadow: "true", replication: "true", connections: "30" })) {
      await cloud.configure(STACK, `databases["app"].${option}`, value);
    }
    expect(succeeded(await cloud.up(STACK))).toContain("6 created");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    succeeded(await cloud.pulumi(["preview", "--refresh", "--expect-no-changes", "--stack", STACK]));
    expect(Object.keys(await urls())).toEqual(["app", "app_shadow", "other"]);
    appUrl = (await urls())["app"] ?? "";
  });

  it("lets each owner into its own databases only, over TLS only, from a container", async () => {
    const { app = "", app_shadow: shadow = "", other = "" } = await urls();
    const who = "SELECT current_user, current_database(), ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    expect(succeeded(await fromContainer(app, who)).trim()).toBe("app|app|t");
    expect(succeeded(await fromContainer(shadow, who)).trim()).toBe("app|app_shadow|t");
    expect(succeeded(await fromContainer(other, who)).trim()).toBe("other|other|t");
    const into = (url: string, database: string) =>
      url.replace(/(:5432)(\/\w+)?(\?.*)?$/, `$1/${database}?sslmode=require`);
    const { POSTGRES_URL: convex = "" } = Object.fromEntries(
      (await droplet("docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' convex-backend"))
        .split("\n")
        .map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
    ) as Record<string, string>;
    expect(succeeded(await fromContainer(into(convex, "convex_self_hosted"), who))).toContain("convex|");
    for (const [url, databases] of [
      [app, ["other", "convex_self_hosted", "postgres", "template1"]],
      [other, ["app", "app_shadow", "convex_self_hosted", "postgres"]],
      [convex, ["app", "app_shadow", "other"]],
    ] as const) {
      for (const database of databases) {
        const { all, exitCode } = await fromContainer(into(url, database), who);
        expect(all).toContain("no pg_hba.conf entry");
        expect(exitCode).not.toBe(0);
      }
    }
    expect((await fromContainer(app, who, false)).all).toContain("no encryption");
    expect(new URL(app).hostname).toBe(HOST_IN_CONTAINERS);
  });

  it("is reached by a developer's tools with the variables of env while the tunnel is open, by its owner only", async () => {
    const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-app-"));
    const command = ["tunnel", "--stack", STACK];
    const tunnel = execa("node", [path.resolve("operations/cli.ts"), ...command], {
      ...{ cwd: projectFolder(cloud.home), env: cloud.env, reject: false },
    });
    try {
      const written = await cloud.operate("env", STACK, [
        "--file",
        folder,
        "--framework",
        "plain",
        "--database",
        "app",
      ]);
      succeeded(written);
      const variables = await readFile(path.join(folder, ".env.local"), "utf8");
      const urlOf = (name: string) => new RegExp(`^${name}=["']?([^"'\n]+)`, "m").exec(variables)?.[1] ?? "";
      const ask = async (url: string) => {
        const client = new pg.Client({ connectionString: url });
        try {
          await client.connect();
          const { rows } = await client.query<{ name: string }>("SELECT current_database() AS name");
          return rows[0]?.name;
        } finally {
          await client.end();
        }
      };
      await eventually("the tunnel", 60, async () => {
        expect(await ask(urlOf("DATABASE_URL"))).toBe("app");
      });
      expect(await ask(urlOf("SHADOW_DATABASE_URL"))).toBe("app_shadow");
      await expect(ask(urlOf("DATABASE_URL").replace("/app?", "/other?"))).rejects.toThrow("no pg_hba.conf entry");
    } finally {
      tunnel.kill("SIGINT");
      const { exitCode, stderr } = await tunnel;
      expect(stderr).toContain("Database app is at postgresql://app@127.0.0.1:15432/app\n");
      expect(exitCode).toBe(0);
      await rm(folder, { recursive: true });
    }
  });

  it("is as declared to drift with rows, and a slot whose consumer is there, and drift finds what nobody declares", async () => {
    succeeded(
      await fromContainer(
        appUrl,
        `CREATE TABLE rows (i int PRIMARY KEY); CREATE PUBLICATION feed FOR TABLE rows;
        SELECT pg_create_logical_replication_slot('feed', 'pgoutput'); INSERT INTO rows SELECT generate_series(1, 100);`,
      ),
    );
    const changes =
      "SELECT count(*) > 100 FROM pg_logical_slot_peek_binary_changes('feed', NULL, NULL, 'proto_version', '1', 'publication_names', 'feed')";
    expect(succeeded(await fromContainer(appUrl, changes)).trim()).toBe("t");
    const ignored = ["--ignore", "containers.app", "--ignore", "networks.convex.containers"];
    expect(succeeded(await drift(...ignored))).toContain("is as declared");
    await asServer(
      `ALTER ROLE app CONNECTION LIMIT 1; ALTER ROLE other REPLICATION; GRANT CONNECT ON DATABASE app_shadow TO PUBLIC;
      SELECT pg_create_logical_replication_slot('odd', 'pgoutput')`,
    );
    const found = await drift(...ignored);
    expect(found.exitCode).toBe(2);
    for (const finding of [
      "postgres.roles.app.connection_limit: is 1, it should be 30",
      "postgres.roles.other.replication: is true, it should be false",
      "postgres.databases.app_shadow.grants: everybody may use it, only its owner should",
      "unexpected replication slot odd",
    ]) {
      expect(found.stdout).toContain(finding);
    }
    expect(found.stdout).not.toContain("slot feed");
    await asServer("SELECT pg_drop_replication_slot('odd'); ALTER ROLE app CONNECTION LIMIT 30");
    succeeded(await cloud.typed(/^Repair with: (.*)$/m.exec(found.stdout)?.[1] ?? ""));
    succeeded(await drift(...ignored));
  });

  it("can restore all of it: the drill reads every database", async () => {
    succeeded(await cloud.operate("backup", STACK, ["now"]));
    expect(succeeded(await cloud.operate("drill", STACK))).toContain("the backups can be restored");
  });

  it("changes the share of a connection in place, and refuses more than the droplet can serve in a preview", async () => {
    await cloud.configure(STACK, 'databases["other"].connections', "12");
    succeeded(await cloud.up(STACK));
    expect(await asServer("SHOW max_connections; SELECT rolconnlimit FROM pg_roles WHERE rolname = 'other'")).toBe(
      "126\n12",
    );
    await cloud.configure(STACK, 'databases["other"].connections', "200");
    const refused = await cloud.pulumi(["preview", "--stack", STACK]);
    expect(refused.all).toContain("convex-droplet:databases: need 314 connections");
    await cloud.configure(STACK, 'databases["other"].connections', "12");
  });

  it.each([["--skip-preview"], ["--color=never"]])(
    "refuses to remove a protected database, and nothing of it changes: %j",
    async (...options) => {
      const rules = () => droplet("sha256sum /etc/postgresql/17/main/*/10-convex-droplet.conf");
      const kept = await rules();
      await forget("app");
      const up = await cloud.pulumi(["up", "--yes", ...options, "--stack", STACK]);
      expect(up.exitCode).not.toBe(0);
      expect(up.all).toContain("convex-droplet:databases.app: is not there any more, but its data is protected");
      expect(await rules()).toBe(kept);
      expect(await asServer("SELECT slot_name FROM pg_replication_slots; SELECT count(*) FROM rows", "app")).toBe(
        "feed\n100",
      );
      for (const [option, value] of Object.entries({ shadow: "true", replication: "true", connections: "30" })) {
        await cloud.configure(STACK, `databases["app"].${option}`, value);
      }
      succeeded(await cloud.up(STACK, "--expect-no-changes"));
    },
  );

  it("goes back to a time before a database: drift names the up that makes it again, empty, with the same URL", async () => {
    const planned = await cloud.operate("restore", STACK, ["--to", before]);
    expect(planned.stdout).toContain("Also:    what is newer in the databases app, app_shadow, other\n");
    succeeded(await cloud.operate("restore", STACK, ["--to", before, "--yes"]));
    expect(
      await asServer(
        "SELECT count(*) FROM pg_database WHERE datname LIKE 'app%'; SELECT count(*) FROM pg_replication_slots",
      ),
    ).toBe("0\n0");
    expect(succeeded(await fromContainer((await urls())["other"] ?? "", "SELECT i FROM of_other")).trim()).toBe("1");
    const found = await drift();
    expect(found.stdout).toContain("postgres.databases.app: is not there, it should be: its data is lost");
    const made = /To create an empty database: (npm run .*)$/m.exec(found.stdout)?.[1] ?? "";
    succeeded(await cloud.typed(made));
    succeeded(await cloud.up(STACK, "--refresh", "--run-program"));
    expect((await urls())["app"]).toBe(appUrl);
    expect(succeeded(await fromContainer(appUrl, "SELECT current_database()")).trim()).toBe("app");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it("shows no password of a database in output, state, process lists, logs or readable files", async () => {
    // The suffix of the bucket's name is no secret.
    const { "convex-bucket-suffix.result": suffix, ...secrets } = await secretsOf(cloud, STACK);
    expect(suffix).not.toBe("");
    expect(Object.keys(secrets)).toEqual(
      expect.arrayContaining(["convex-database-app-password.result", "convex-database-other-password.result"]),
    );
    expect(await leaksOf(cloud, STACK, processes, secrets)).toEqual([]);
  });

  it("keeps rows and URLs on another droplet", async () => {
    succeeded(
      await fromContainer(
        appUrl,
        "CREATE TABLE kept AS SELECT 7 AS i; SELECT pg_create_logical_replication_slot('feed', 'pgoutput')",
      ),
    );
    succeeded(await cloud.up(STACK, "--replace", "**convex-droplet"));
    expect(await asServer("SELECT i FROM kept; SELECT slot_name FROM pg_replication_slots", "app")).toBe("7\nfeed");
    expect((await urls())["app"]).toBe(appUrl);
  });

  it("loses a removed database with its owner, shadow and slots, once nothing is protected, and nothing else", async () => {
    await cloud.configure(STACK, "protectData", "false");
    succeeded(await cloud.up(STACK));
    await forget("app");
    expect(succeeded(await cloud.up(STACK))).toContain("6 deleted");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    expect(
      await asServer(
        "SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database; SELECT count(*) FROM pg_roles WHERE rolname = 'app'; SHOW wal_level; SELECT i FROM of_other",
        "other",
      ),
    ).toBe("convex_self_hosted other postgres template0 template1\n0\nreplica\n1");
    succeeded(await drift());
  });

  it("is destroyed with what is left", async () => {
    succeeded(await cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", STACK]));
  });
});
