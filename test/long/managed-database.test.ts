import { setTimeout } from "node:timers/promises";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { AUTHORITY_FILE } from "../../contract/names.ts";
import { publishRevision } from "../../sandbox/images/build.ts";
import { eventually, TestCloud } from "../e2e/harness.ts";
import { leaksOf, ProcessWatch, secretsOf } from "../e2e/leaks.ts";
import { readFile, readRow, writeFile, writeRow } from "../e2e/probe.ts";
import { succeeded } from "../e2e/succeeded.ts";
import { stepByStep } from "../steps.ts";

const [STACK, OTHER] = ["managed", "plain"];

let cloud: TestCloud;
let processes: ProcessWatch;

beforeAll(async () => {
  cloud = await TestCloud.start();
  processes = new ProcessWatch();
  await cloud.createStack(STACK, {
    ...{ size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", protectData: "false" },
    ...{ database: "managed", databaseSize: "db-s-1vcpu-2gb", databaseStandbys: "1", postgresPoolSize: "16" },
    'databases["shop"].connections': "5",
  });
});

afterAll(async () => {
  await processes[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

const droplet = async (command: string, input?: string) =>
  succeeded(await cloud.onDroplet(STACK, command, input)).trim();
const url = async () => (await cloud.outputs(STACK))["backendUrl"] ?? "";
const preview = (stack: string) => cloud.pulumi(["preview", "--stack", stack]);

/** What the API says of the only cluster. */
async function cluster(): Promise<{
  id: string;
  status: string;
  num_nodes: number;
  private_connection: { host: string };
}> {
  const { databases } = (await (await cloud.cloud("GET", "/v2/databases")).json()) as {
    databases: Awaited<ReturnType<typeof cluster>>[];
  };
  expect(databases).toHaveLength(1);
  return databases[0] as (typeof databases)[0];
}

/** Statements in a database, by the script that the stack's own scripts use. */
const asAdministrator = (statement: string, database = "convex_self_hosted") =>
  droplet(
    `source /usr/local/lib/convex-droplet/lib/common.sh; source /usr/local/lib/convex-droplet/lib/sql.sh; in_database ${database} "$(cat)"`,
    statement,
  );

/** Lets the cluster's servers fail, as sandbox/cloud/routes/database-control.ts says. */
async function control(action: string): Promise<void> {
  const { id } = await cluster();
  const answer = await cloud.cloud("POST", `/_control/databases/${id}`, { action });
  expect(answer.ok, await answer.text()).toBe(true);
}

/** Whether the port of the cluster's private name answers on a stack's droplet. */
async function reaches(stack: string): Promise<boolean> {
  const {
    private_connection: { host },
  } = await cluster();
  const { exitCode } = await cloud.onDroplet(stack, `timeout 5 bash -c 'exec 3<>/dev/tcp/${host}/25060'`);
  return exitCode === 0;
}

// One stack; each test continues where the one before ended.
describe("a stack with a managed database", () => {
  stepByStep();
  let file = "";

  it("comes up, with a standby node, without a server on the droplet, and without the cluster that a killed run has left", async () => {
    const left = { name: "convex-managed", engine: "pg", version: "17", region: "nyc3", num_nodes: 1 };
    const made = await cloud.cloud("POST", "/v2/databases", {
      ...left,
      ...{ size: "db-s-1vcpu-2gb", tags: ["convex-droplet"] },
    });
    expect(made.ok, await made.text()).toBe(true);
    expect(succeeded(await cloud.up(STACK))).toContain(
      "database cluster convex-managed is in the account but not in the stack's state: a run was killed while creating it. Deleting it",
    );
    expect(await cluster()).toMatchObject({ status: "online", num_nodes: 2 });
    expect(await droplet("ls -d /usr/lib/postgresql/*/bin/postgres 2> /dev/null; ss -Hltn 'sport = :5432'")).toBe("");
    await writeRow(await url(), "first", "kept");
    file = await writeFile(await url(), "a stored file");
    expect(await readRow(await url(), "first")).toBe("kept");
  });

  it("has its rows in the cluster, in a database of a role that is no superuser, which another role cannot use", async () => {
    expect(await asAdministrator("SELECT count(*) > 0 FROM documents")).toBe("t");
    const owner =
      "SELECT pg_get_userbyid(datdba), rolsuper FROM pg_database JOIN pg_roles r ON r.oid = datdba WHERE datname = current_database()";
    expect(await asAdministrator(owner)).toBe("convex|f");
    const { shop = "" } = (await cloud.outputs(STACK))["databaseUrls"] as unknown as Record<string, string>;
    const { username, password, hostname, port } = new URL(shop);
    const logIn = (database: string) =>
      cloud.onDroplet(
        STACK,
        `read -r PGPASSWORD && export PGPASSWORD && psql -XqAt 'host=${hostname} port=${port} user=${username} dbname=${database} sslmode=verify-full sslrootcert=${AUTHORITY_FILE}' -c 'SELECT current_user'`,
        `${password}\n`,
      );
    expect(succeeded(await logIn("shop")).trim()).toBe("shop");
    expect((await logIn("convex_self_hosted")).all).toMatch(/permission denied/);
  });

  it("is not changed by a second up, nor by a refresh", async () => {
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
    succeeded(await cloud.pulumi(["preview", "--refresh", "--expect-no-changes", "--stack", STACK]));
  });

  it("has no drift, is healthy, and shows the server in its status", async () => {
    succeeded(await cloud.operate("drift", STACK));
    expect(succeeded(await cloud.operate("doctor", STACK))).toContain("PostgreSQL");
    expect((await cloud.operate("status", STACK)).all).toMatch(/PostgreSQL +17\.\d+.*managed by DigitalOcean/);
  });

  it("leaves no secret where somebody could read it", async () => {
    const secrets = await secretsOf(cloud, STACK);
    expect(Object.keys(secrets)).toContain("convex-cluster.password");
    expect(await leaksOf(cloud, STACK, processes, secrets)).toEqual([]);
  });

  it("is out of reach for another stack's droplet", async () => {
    await cloud.createStack(OTHER, { size: "s-1vcpu-2gb", protectData: "false" });
    succeeded(await cloud.up(OTHER));
    expect(await reaches(STACK)).toBe(true);
    expect(await reaches(OTHER)).toBe(false);
  });

  it("refuses to change where the database is, both ways, in a preview and without one", async () => {
    for (const [stack, to, from] of [
      [STACK, "droplet", "managed"],
      [OTHER, "managed", "droplet"],
    ] as const) {
      await cloud.configure(stack, "database", to);
      const { all, exitCode } = await preview(stack);
      expect(exitCode).not.toBe(0);
      expect(all).toContain(`convex-droplet:database: is ${to}, but this stack was deployed with ${from}`);
      // Also without a preview, before there is another cluster.
      const applied = await cloud.up(stack);
      expect(applied.exitCode).not.toBe(0);
      expect(applied.all).toContain(`convex-droplet:database: is ${to}, but this stack was deployed with ${from}`);
      await cluster();
      await cloud.configure(stack, "database", from);
    }
    succeeded(await cloud.pulumi(["preview", "--expect-no-changes", "--stack", STACK]));
    succeeded(await cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", OTHER]));
  });

  it("refuses in a preview a size that is too small for the connections, and one without the standby node", async () => {
    await cloud.configure(STACK, "postgresPoolSize", "40");
    const { all } = await preview(STACK);
    expect(all).toContain(
      "databaseSize: db-s-1vcpu-2gb admits 47 connections, it should admit 55 (40 of postgresPoolSize, 5 of shop, 10 in reserve)",
    );
    await cloud.configure(STACK, "postgresPoolSize", "16");
    await cloud.configure(STACK, "databaseSize", "db-s-1vcpu-1gb");
    expect((await preview(STACK)).all).toContain("databaseStandbys: 1 is more than size db-s-1vcpu-1gb can have");
    await cloud.configure(STACK, "databaseSize", "db-s-1vcpu-2gb");
  });

  it("refuses what needs a server on the droplet, and says what to use instead", async () => {
    for (const words of [["drill"], ["reset"], ["restore", "--to", "latest"]]) {
      const [verb = "", ...rest] = words;
      const { all, exitCode } = await cloud.operate(verb, STACK, rest);
      expect(exitCode).toBe(1);
      expect(all).toContain("its database is managed");
    }
  });

  it("shows a trusted source that was added by hand as drift, and the printed command removes it", async () => {
    const { id } = await cluster();
    const route = `/v2/databases/${id}/firewall`;
    const { rules } = (await (await cloud.cloud("GET", route)).json()) as { rules: object[] };
    await cloud.cloud("PUT", route, { rules: [...rules, { type: "ip_addr", value: "203.0.113.7" }] });
    const { stdout, exitCode } = await cloud.operate("drift", STACK);
    expect(exitCode).toBe(2);
    expect(stdout).toMatch(/convex-cluster-firewall.*203\.0\.113\.7/);
    const [, printed = ""] = /^Repair with: (.*)$/m.exec(stdout) ?? [];
    succeeded(await cloud.typed(printed));
    expect(((await (await cloud.cloud("GET", route)).json()) as { rules: object[] }).rules).toHaveLength(1);
    succeeded(await cloud.operate("drift", STACK));
  });

  it("takes over a password that somebody has reset, by the command that the doctor prints", async () => {
    const { id } = await cluster();
    const reset = await cloud.cloud("POST", `/v2/databases/${id}/users/doadmin/reset_auth`, {});
    expect(reset.ok, await reset.text()).toBe(true);
    const { all, exitCode } = await cloud.operate("doctor", STACK);
    expect(exitCode).not.toBe(0);
    expect(all).toContain("does not accept doadmin's password");
    const [, printed = ""] = /^Start with PostgreSQL: (.*)$/m.exec(all) ?? [];
    succeeded(await cloud.typed(printed));
    succeeded(await cloud.operate("doctor", STACK));
    succeeded(await cloud.operate("drift", STACK));
  });

  it("gets another backend image without a rehearsal, and names the moment to which the database can be restored", async () => {
    const { backend, dashboard } = await publishRevision(cloud.home, { metadataVersion: 129 });
    await cloud.configure(STACK, "backendImage", backend);
    await cloud.configure(STACK, "dashboardImage", dashboard);
    const planned = await cloud.operate("upgrade", STACK, ["--check"]);
    expect([planned.exitCode, planned.stdout]).toEqual([2, expect.stringContaining("because the database is managed")]);
    expect(succeeded(await cloud.up(STACK))).toMatch(
      /is not tried on a copy, because the database is managed; before it, the database can be restored to 20\S+Z/,
    );
    expect(await readRow(await url(), "first")).toBe("kept");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it("keeps all rows and files when the droplet is replaced, and admits the new one", async () => {
    const replaced = succeeded(await cloud.up(STACK, "--replace", "**convex-droplet"));
    expect(replaced).not.toMatch(/convex-(cluster|database|role) +(deleted|replaced)/);
    expect(await readRow(await url(), "first")).toBe("kept");
    expect(await readFile(await url(), file)).toBe("a stored file");
    await writeRow(await url(), "second", "kept");
    succeeded(await cloud.operate("drift", STACK));
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it("serves again by itself when the primary node fails", async () => {
    const backend = await url();
    await writeRow(backend, "third", "kept");
    const started = Date.now();
    await control("fail");
    await eventually("the backend to write again", 180, () => writeRow(backend, "fourth", "kept"));
    process.stdout.write(`failover: writes work again after ${((Date.now() - started) / 1000).toFixed(1)} s\n`);
    for (const key of ["first", "second", "third", "fourth"]) expect(await readRow(backend, key)).toBe("kept");
    await eventually("the cluster to be online", 120, async () => (await cluster()).status === "online");
    succeeded(await cloud.up(STACK, "--expect-no-changes"));
  });

  it("that does not answer is named by the doctor, with the reason, and by an up, which waits for it", async () => {
    await control("down");
    const { all, exitCode } = await cloud.operate("doctor", STACK);
    expect(exitCode).not.toBe(0);
    expect(all).toMatch(/PostgreSQL[^]*private-\S+:25060 does not answer this droplet/);
    const up = cloud.up(STACK, "--replace", "**convex-database-client");
    // Longer than the script waits before it says why.
    await setTimeout(40_000);
    await control("up");
    expect(succeeded(await up)).toMatch(/waiting for the managed database for \d+ s/);
    expect(await readRow(await url(), "first")).toBe("kept");
  });

  it("is destroyed without anything left", async () => {
    succeeded(await cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", STACK]));
    for (const [route, key] of [
      ["/v2/databases", "databases"],
      ["/v2/droplets", "droplets"],
      ["/v2/volumes", "volumes"],
      ["/v2/firewalls", "firewalls"],
    ] as const) {
      const left = (await (await cloud.cloud("GET", route)).json()) as Record<string, unknown[] | null>;
      expect(left[key] ?? []).toEqual([]);
    }
  });
});
