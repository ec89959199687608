import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { eventually, TestCloud } from "../e2e/harness.ts";
import { leaksIn, secretsOf } from "../e2e/leaks.ts";
import { call, readFile, readRow, writeFile, writeRow } from "../e2e/probe.ts";
import { stepByStep } from "../steps.ts";
import { succeeded } from "../e2e/succeeded.ts";

const [FROM, STACK] = ["prod", "staging"];

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
  const settings = { size: "s-1vcpu-2gb", "allowedCidrs[0]": "127.0.0.0/8", backups: "spaces" };
  await cloud.createStack(FROM, { ...settings, instanceName: "the-shop", 'functionEnvironment["OF"]': "prod" });
  await cloud.createStack(STACK, { ...settings, 'functionEnvironment["GREETING"]': "hello" });
  for (const run of await Promise.all([FROM, STACK].map((stack) => cloud.up(stack)))) succeeded(run);
});

afterAll(() => cloud[Symbol.asyncDispose]());

const url = async (stack: string) => (await cloud.outputs(stack))["backendUrl"] ?? "";
const copy = (...args: string[]) => cloud.operate("restore", STACK, ["--from", FROM, ...args]);
const on = async (stack: string, command: string) => succeeded(await cloud.onDroplet(stack, command)).trim();
const rows = async (stack: string) => call(await url(stack), "query", "sandbox:list", {});

async function newestPoint(stack: string): Promise<string> {
  succeeded(await cloud.operate("backup", stack, ["now"]));
  const { stdout } = await cloud.operate("backup", stack, ["--format", "json"]);
  return (JSON.parse(stdout) as { points: { name: string }[] }).points[0]?.name ?? "";
}

// Each test continues where the one before ended.
describe("a copy of another stack's instance", () => {
  stepByStep();
  let file: string, point: string, before: string, adminKey: string, copied: string, original: unknown;

  it("needs another stack", async () => {
    const itself = await cloud.operate("restore", STACK, ["--from", STACK, "--to", "latest"]);
    expect(itself.all).toContain("--from: is the stack itself, it should be another one");
    const unknown = await cloud.operate("restore", STACK, ["--from", "nobody", "--to", "latest"]);
    expect(unknown.all).toContain("stack nobody: its state cannot be read");
    expect([itself.exitCode, unknown.exitCode]).toEqual([1, 1]);
  });

  it("is planned, and nothing changes", async () => {
    await writeRow(await url(FROM), "who", "prod");
    file = await writeFile(await url(FROM), "prod's file");
    original = await rows(FROM);
    point = await newestPoint(FROM);
    await writeRow(await url(STACK), "who", "staging");
    before = await newestPoint(STACK);
    adminKey = (await cloud.outputs(STACK))["adminKey"] ?? "";
    const planned = await copy("--to", point);
    expect(planned.exitCode).toBe(2);
    expect(planned.all).toMatch(/^Replaced: {5}1 documents and files of stack staging$/m);
    expect(planned.all).toMatch(
      /^Also copied: .* cron jobs and scheduled functions of stack prod\. This stack runs them/m,
    );
    expect(planned.all).toContain(
      `Nothing was changed. Copy with: npm run sandbox -- restore --stack staging --from prod --to ${point} --yes`,
    );
    expect(await readRow(await url(STACK), "who")).toBe("staging");
    expect(await on(STACK, "ls -d /run/convex-droplet-other /mnt/convex/backups/drill 2> /dev/null || true")).toBe("");
  });

  it("is refused if its tables are newer than the image here", async () => {
    const version = (base64: string) => `'"${base64}"'`;
    await on(
      FROM,
      `cd / && runuser -u postgres -- psql -qd the_shop << 'END'
       UPDATE documents SET json_value = convert_to(replace(convert_from(json_value, 'UTF8'), ${version("gAAAAAAAAAA=")}, ${version("gQAAAAAAAAA=")}), 'UTF8')
       WHERE position('awsPrefixSecret'::bytea IN json_value) > 0;\nEND`,
    );
    const refused = await copy("--to", await newestPoint(FROM), "--yes");
    expect(refused.exitCode).toBe(1);
    expect(refused.all).toContain("error: the copy: its tables have version 129, the backend here knows up to 128");
    expect(await readRow(await url(STACK), "who")).toBe("staging");
    expect(await on(STACK, "ls -d /mnt/convex/*moving /mnt/convex/backups/drill 2> /dev/null || true")).toBe("");
  });

  it("leaves secrets in memory only if it is killed, and the next run removes them", async () => {
    const killed = copy("--to", point, "--yes");
    await eventually("the copy's cluster", 120, async () => {
      await on(STACK, "test -e /mnt/convex/backups/drill/cluster/global");
    });
    await on(STACK, "kill -KILL $(pgrep -f '^bash /usr/local/lib/convex-droplet/move-in/move-in.sh from_backup')");
    expect((await killed).exitCode).toBe(1);
    expect(await on(STACK, "stat -c '%a %U:%G' /run/convex-droplet-other")).toBe("750 root:postgres");
    expect(await readRow(await url(STACK), "who")).toBe("staging");
  });

  it("takes the place of the stack's own instance, which keeps its name and key, and the other stack is only read", async () => {
    const secrets = await secretsOf(cloud, FROM);
    // It is part of the bucket's name.
    delete secrets["convex-bucket-suffix.result"];
    await on(
      FROM,
      "systemctl stop 'convex-*.timer' 'convex-*-backup.service' convex-restore-point.service 'postgresql@*'",
    );
    for (const method of ["PUT", "POST", "DELETE"]) {
      await cloud.fault({ kind: "spaces", effect: "error", count: 1000, method, path: "^/convex-prod-backups-" });
    }
    const started = performance.now();
    copied = succeeded(
      await cloud.typed(`npm run sandbox -- restore --stack ${STACK} --from ${FROM} --to ${point} --yes`),
    );
    console.log(`a copy took ${Math.round((performance.now() - started) / 1000)} s`);
    expect(await cloud.faultsLeft()).toEqual([1000, 1000, 1000]);

    expect(await rows(STACK)).toEqual(original);
    expect(await readRow(await url(STACK), "who")).toBe("prod");
    expect(await readFile(await url(STACK), file)).toBe("prod's file");
    expect(await (await fetch(`${await url(STACK)}/instance_name`)).text()).toBe("convex-self-hosted");
    const headers = { authorization: `Convex ${adminKey}` };
    expect((await fetch(`${await url(STACK)}/api/check_admin_key`, { headers })).status).toBe(200);

    expect(Object.keys(secrets)).toEqual(
      expect.arrayContaining(["convex-backup-passphrase.result", "convex-backup-key.secretKey"]),
    );
    expect(leaksIn("the output", copied, secrets)).toEqual([]);
    const found = await cloud.onDroplet(
      STACK,
      "grep -rsIlF -f - /etc /mnt /root /run /tmp /usr/local /var || true",
      // Without the first and last line of keys.
      Object.values(secrets)
        .join("\n")
        .replaceAll(/^-----.*\n?/gm, ""),
    );
    expect(found.stdout).toBe("");
    expect(await on(STACK, "ls -d /run/convex-droplet-other /mnt/convex/backups/drill 2> /dev/null || true")).toBe("");
  });

  it("gets the stack's own variables by the printed command", async () => {
    const headers = { authorization: `Convex ${adminKey}` };
    const variables = async () =>
      (await fetch(`${await url(STACK)}/api/list_environment_variables`, { headers })).json();
    expect(await variables()).toEqual({ environmentVariables: { OF: "prod" } });
    succeeded(await cloud.typed(/Set the stack's own variables again with: (.*)/.exec(copied)?.[1] ?? ""));
    expect(await variables()).toEqual({ environmentVariables: { GREETING: "hello", OF: "prod" } });
  });

  it("is in the stack's own backups, which pass a drill", async () => {
    succeeded(await cloud.operate("backup", STACK, ["now"]));
    succeeded(await cloud.operate("drill", STACK));
  });

  it("can be undone by a restore to a point before it", async () => {
    succeeded(await cloud.operate("restore", STACK, ["--to", before, "--yes"]));
    expect(await readRow(await url(STACK), "who")).toBe("staging");
    succeeded(await cloud.operate("move-in", STACK, ["--forget"]));
    succeeded(await cloud.operate("restore", STACK, ["--forget"]));
    expect(await on(STACK, "ls /mnt/convex")).not.toMatch(/before|moving/);
    expect((await cloud.operate("drift", STACK)).stdout).toContain("is as declared");
  });
});
