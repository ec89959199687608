import { readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { Facts } from "../../operations/status/facts.ts";
import type { Row } from "../../operations/status/rows.ts";
import { eventually, TestCloud } from "./harness.ts";
import { leaksOf, ProcessWatch, secretsOf } from "./leaks.ts";
import { probe, readRow } from "./probe.ts";
import { stepByStep } from "../steps.ts";

const STACK = "serve";

/** A step of `pulumi preview --json`. */
interface Step {
  op: string;
  urn: string;
}

let cloud: TestCloud;
let processes: ProcessWatch;

beforeAll(async () => {
  cloud = await TestCloud.start();
  processes = new ProcessWatch();
  await cloud.createStack(STACK, { size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8" });
});

afterAll(async () => {
  await processes[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
});

/** The changes in a preview, by logical name: `{ "convex-backend": "replace", … }`. */
async function planned(): Promise<Record<string, string>> {
  const { stdout } = await cloud.pulumi(["preview", "--json", "--stack", STACK]);
  const { steps } = JSON.parse(stdout) as { steps: Step[] };
  return Object.fromEntries(
    steps.filter(({ op }) => op !== "same").map(({ op, urn }) => [urn.slice(urn.lastIndexOf("::") + 2), op]),
  );
}

/** Calls the backend's API with a key, by default the admin key. */
async function asAdmin(route: string, key: string | undefined, body?: unknown): Promise<Response> {
  const { backendUrl = "", adminKey = "" } = await cloud.outputs(STACK);
  return fetch(`${backendUrl}/api/${route}`, {
    headers: { authorization: `Convex ${key ?? adminKey}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
  });
}

/** The variables that functions read with `process.env`. */
async function variables(key?: string): Promise<Record<string, string>> {
  const listed = await (await asAdmin("list_environment_variables", key)).json();
  return (listed as { environmentVariables: Record<string, string> }).environmentVariables;
}

function changeVariables(changes: { name: string; value: string | null }[], key?: string): Promise<Response> {
  return asAdmin("update_environment_variables", key, { changes });
}

// One stack; each test continues where the one before ended.
describe("a stack in an empty account", () => {
  stepByStep();

  it("serves after the first up", async () => {
    const up = await cloud.up(STACK);
    expect(up.all).toContain("45 created");
    expect(up.exitCode).toBe(0);
    await probe(cloud, STACK, "first");
  });

  it("has no changes in a second up and in a preview with refresh", async () => {
    const up = await cloud.up(STACK, "--expect-no-changes");
    expect(up.all).toContain("45 unchanged");
    expect(up.exitCode).toBe(0);
    const preview = await cloud.pulumi(["preview", "--refresh", "--expect-no-changes", "--stack", STACK]);
    expect(preview.all).toContain("45 unchanged");
    expect(preview.exitCode).toBe(0);
  });

  it("serves again after a reboot of the droplet", async () => {
    const before = await cloud.onDroplet(STACK, "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1");
    await cloud.onDroplet(STACK, "systemctl reboot");
    await eventually("another boot", 90, async () => {
      const now = await cloud.onDroplet(STACK, "cat /proc/sys/kernel/random/boot_id; stat -c %Y /proc/1");
      expect(now.exitCode).toBe(0);
      expect(now.stdout).not.toBe(before.stdout);
    });
    await probe(cloud, STACK, "second");
    const { backendUrl = "" } = await cloud.outputs(STACK);
    expect(await readRow(backendUrl, "first")).toBe("first");
  });

  it("changes only the backend if the log level changes", async () => {
    await cloud.configure(STACK, "logLevel", "debug");
    // A preview does not know which key the backend will accept. After the update, the key is the same.
    expect(await planned()).toEqual({
      "convex-rehearsal": "update",
      "convex-backend": "replace",
      "convex-acceptance": "replace",
      "convex-function-environment": "update",
    });
    const key = (await cloud.outputs(STACK))["adminKey"];
    const up = await cloud.up(STACK);
    expect(up.exitCode).toBe(0);
    expect((await cloud.outputs(STACK))["adminKey"]).toBe(key);
  });

  it("renews PostgreSQL's certificate in its last year, and keeps its connections", async () => {
    const file = path.join(cloud.home.root, "state.json");
    await cloud.pulumi(["stack", "export", "--stack", STACK, "--file", file]);
    const state = JSON.parse(await readFile(file, "utf8")) as {
      deployment: { resources: { type: string; outputs: Record<string, unknown> }[] };
    };
    for (const { type, outputs } of state.deployment.resources) {
      if (!type.endsWith("LocallySignedCert")) continue;
      outputs["validityEndTime"] = new Date(Date.now() + 300 * 24 * 3_600_000).toISOString();
    }
    await writeFile(file, JSON.stringify(state));
    expect(await cloud.pulumi(["stack", "import", "--stack", STACK, "--file", file])).toMatchObject({ exitCode: 0 });
    expect(await planned()).toEqual({ "convex-postgres-certificate": "replace", "convex-server": "update" });

    const certificate = "openssl x509 -noout -serial -in /etc/postgresql/17/main/server.crt";
    const sessions = `cd / && runuser -u postgres -- psql -qAtX -c "SELECT pid, backend_start FROM pg_stat_activity WHERE usename = 'convex' ORDER BY backend_start LIMIT 1"`;
    const seen = async (command: string) => (await cloud.onDroplet(STACK, command)).stdout;
    const before = { serial: await seen(certificate), session: await seen(sessions) };
    const up = await cloud.up(STACK);
    expect(up.exitCode, up.all).toBe(0);
    expect(before.session).not.toBe("");
    expect(await seen(sessions)).toBe(before.session);
    expect(await seen(certificate)).not.toBe(before.serial);
    expect((await cloud.up(STACK, "--expect-no-changes")).exitCode).toBe(0);
  });

  it("is asked for its health without a line in PostgreSQL's log", async () => {
    const asked = await cloud.onDroplet(STACK, "docker inspect --format '{{json .State.Health}}' convex-backend");
    expect((JSON.parse(asked.stdout) as { Status: string }).Status).toBe("healthy");
    const log = await cloud.operate("logs", STACK, ["postgres", "--lines", "10000"]);
    expect(log.stdout).toContain("database system is ready to accept connections");
    expect(log.stdout).not.toContain("could not accept");
  });

  it("prints the end of each log that there is", async () => {
    const backend = await cloud.operate("logs", STACK, ["--lines", "1"]);
    expect([backend.exitCode, backend.stdout.trim().split("\n").length]).toEqual([0, 1]);
    expect((await cloud.operate("logs", STACK, ["dashboard"])).exitCode).toBe(0);
    expect((await cloud.operate("logs", STACK, ["proxy"])).all).toContain(
      "there is none, because the stack has no domain",
    );
  });

  it("shows how it is doing, and that there are no backups", async () => {
    const { exitCode, stdout } = await cloud.operate("status", STACK, ["--json"]);
    const { rows, facts } = JSON.parse(stdout) as { rows: Row[]; facts: Facts };
    expect([exitCode, ...rows.filter(({ attention }) => attention).map(({ name }) => name)]).toEqual([2, "backups"]);
    expect(facts.disks?.map(({ folder }) => folder)).toEqual(["/", "/mnt/convex"]);
    expect(facts.postgres?.databases.map(({ name }) => name)).toContain("convex_self_hosted");
    expect(facts.postgres?.tables?.length).toBeGreaterThan(0);
    expect(facts.packages).toBeGreaterThanOrEqual(0);
    expect(facts.memory?.available).toBeGreaterThan(0);
    const text = await cloud.operate("status", STACK);
    expect(text.stdout).toMatch(
      new RegExp(`^Stack ${STACK}, deployed \\d+ (s|min|h) ago\n\n  backend +healthy for .*http://`),
    );
    expect(text.stdout).toContain("! backups");
    expect(text.stdout).toMatch(/\n1 line needs attention\. See why: npm run sandbox -- doctor/);
  });

  it("grows its volume in place, with the file system", async () => {
    await cloud.configure(STACK, "volumeSizeGb", "120");
    const changes = { "convex-volume": "update", "convex-setup": "update", "convex-server": "update" };
    expect(await planned()).toEqual(changes);
    const up = await cloud.up(STACK);
    expect(up.exitCode).toBe(0);
    expect(up.all).toContain("cost: 24.00 USD a month at list prices, 2.00 more than deployed");
    const size = await cloud.onDroplet(STACK, "df --output=size -BG /mnt/convex | tail -n 1 | tr -dc 0-9");
    expect(Number(size.stdout)).toBeGreaterThan(115);
  });

  it("refuses to shrink it again, and changes nothing", async () => {
    await cloud.configure(STACK, "volumeSizeGb", "100");
    const preview = await cloud.pulumi(["preview", "--stack", STACK]);
    expect(preview.all).toContain("convex-droplet:volumeSizeGb: 100 is below 120, the size of volume");
    expect(preview.exitCode).not.toBe(0);
    await cloud.configure(STACK, "volumeSizeGb", "120");
  });

  it("sets the functions' variables from its settings, and keeps those that were set by hand", async () => {
    await changeVariables([{ name: "BY_HAND", value: "mine" }]);
    await cloud.configure(STACK, "authKeys", "true");
    await cloud.configureSecretly(STACK, "functionEnvironment.GREETING", "two\nlines of a s3cret");
    expect(await planned()).toEqual({ "convex-auth-key": "create", "convex-function-environment": "update" });
    expect((await cloud.up(STACK)).exitCode).toBe(0);
    expect(await variables()).toEqual({
      BY_HAND: "mine",
      GREETING: "two\nlines of a s3cret",
      JWKS: expect.stringContaining('"alg":"RS256"') as unknown,
      JWT_PRIVATE_KEY: expect.stringMatching(/^-----BEGIN PRIVATE KEY----- /) as unknown,
    });
    expect((await cloud.up(STACK, "--expect-no-changes")).exitCode).toBe(0);
  });

  it("keeps data, secret, keys and variables if its droplet is replaced", async () => {
    const set = await variables();
    const before = await cloud.outputs(STACK);
    const up = await cloud.up(STACK, "--replace", "**convex-droplet");
    expect(up.all).not.toContain("digitalocean:index:Volume");
    const [, seconds = ""] = /the backend serves again, (\d+) s after its database stopped/.exec(up.all) ?? [];
    expect(Number(seconds)).toBeGreaterThan(10);
    expect(Number(seconds)).toBeLessThan(300);
    expect(up.exitCode).toBe(0);
    const after = await cloud.outputs(STACK);
    expect(after["adminKey"]).toBe(before["adminKey"]);
    expect(await readRow(after["backendUrl"] ?? "", "first")).toBe("first");
    expect(await variables()).toEqual(set);
    await probe(cloud, STACK, "third");
    expect((await cloud.pulumi(["preview", "--expect-no-changes", "--stack", STACK])).exitCode).toBe(0);
  });

  it("shows no secret in output, state, process lists, logs or readable files", async () => {
    const secrets = { ...(await secretsOf(cloud, STACK)), variable: "lines of a s3cret" };
    expect(Object.keys(secrets)).toEqual(
      expect.arrayContaining([
        "convex-admin-password.result",
        "convex-auth-key.privateKeyPemPkcs8",
        "convex-deploy-key.privateKeyOpenssh",
        "convex-host-key.privateKeyOpenssh",
        "convex-instance-secret.result",
        "convex-password.result",
        "convex-postgres-authority-key.privateKeyPem",
        "convex-postgres-certificate-key.privateKeyPem",
        "convex-droplet-serve.adminKey",
        "convex-droplet-serve.readOnlyAdminKey",
        "passphrase",
        "token",
      ]),
    );
    expect(await leaksOf(cloud, STACK, processes, secrets)).toEqual([]);
  });

  it("removes its variables when the settings no longer name them, and keeps those that were set by hand", async () => {
    await cloud.configure(STACK, "authKeys", "false");
    await cloud.pulumi(["config", "rm", "--stack", STACK, "--path", "functionEnvironment.GREETING"]);
    expect((await cloud.up(STACK)).all).toContain("1 deleted");
    expect(await variables()).toEqual({ BY_HAND: "mine" });
  });

  it.each(["convex-setup", "convex-droplet"])("also removes them in a run that replaces %s", async (replaced) => {
    await cloud.configureSecretly(STACK, "functionEnvironment.GONE", "s3cret");
    expect((await cloud.up(STACK)).exitCode).toBe(0);
    expect(await variables()).toEqual({ BY_HAND: "mine", GONE: "s3cret" });
    await cloud.pulumi(["config", "rm", "--stack", STACK, "--path", "functionEnvironment.GONE"]);
    const up = await cloud.up(STACK, "--replace", `**${replaced}`);
    expect(up.exitCode, up.all).toBe(0);
    expect(await variables()).toEqual({ BY_HAND: "mine" });
  });

  it("has a read-only key that can list variables and cannot change them", async () => {
    const { readOnlyAdminKey } = await cloud.outputs(STACK);
    expect(await variables(readOnlyAdminKey)).toEqual({ BY_HAND: "mine" });
    expect((await changeVariables([{ name: "BY_HAND", value: null }], readOnlyAdminKey)).status).toBe(403);
  });

  it("becomes an empty instance with the same key by the command that a reset prints, and keeps what it had", async () => {
    const before = await cloud.outputs(STACK);
    const kept = async () => (await cloud.onDroplet(STACK, "ls -d /mnt/convex/data.before-*")).stdout;
    const asked = await cloud.operate("reset", STACK);
    expect(asked.exitCode, asked.all).toBe(2);
    expect(await readRow(before["backendUrl"] ?? "", "first")).toBe("first");
    const reset = await cloud.typed(/^Nothing was changed\. Reset with: (.*)$/m.exec(asked.stdout)?.[1] ?? "");
    expect(reset.exitCode, reset.all).toBe(0);
    expect(await readRow(before["backendUrl"] ?? "", "first")).toBeUndefined();
    expect(await variables(before["adminKey"])).toEqual({});
    await probe(cloud, STACK, "afresh");
    expect((await cloud.up(STACK, "--expect-no-changes")).exitCode).toBe(0);
    expect(await kept()).toContain("data.before-moved-");
    const forgotten = await cloud.typed(/remove it with: (.*)$/m.exec(reset.stdout)?.[1] ?? "");
    expect(forgotten.exitCode, forgotten.all).toBe(0);
    expect(await kept()).toBe("");
  });

  it("is destroyed completely with one command", async () => {
    const destroy = await cloud.pulumi(["destroy", "--yes", "--skip-preview", "--stack", STACK]);
    expect(destroy.exitCode).toBe(0);
    for (const kind of ["droplets", "volumes", "firewalls"]) {
      expect(await (await cloud.cloud("GET", `/v2/${kind}`)).json()).toMatchObject({ [kind]: [] });
    }
    expect(await (await cloud.cloud("GET", "/v2/account/keys")).json()).toMatchObject({ ssh_keys: [] });
  });
});
