import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { eventually, ssh, TestCloud } from "./harness.ts";
import { MOUNTPOINT } from "../../contract/names.ts";
import { namedValues } from "../../contract/scripts.ts";

const STACK = "errors";
const SCRIPTS = "/usr/local/lib/convex-droplet";

interface Droplet {
  id: number;
  status: string;
}

interface Volume {
  id: string;
  size_gigabytes: number;
}

let cloud: TestCloud;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK);
});

afterAll(() => cloud[Symbol.asyncDispose]());

/** The account's resources of a kind. */
async function list(route: string): Promise<unknown[]> {
  const body = (await (await cloud.cloud("GET", route)).json()) as Record<string, unknown[]>;
  return body[route.slice(route.lastIndexOf("/") + 1).replace("keys", "ssh_keys")] ?? [];
}

const droplets = () => list("/v2/droplets") as Promise<Droplet[]>;
const volumes = () => list("/v2/volumes") as Promise<Volume[]>;

it("a broken rule is reported by a preview, which fails", async () => {
  await cloud.createStack("prod", { protectData: "false" });
  const preview = await cloud.operate("preview", "prod", ["--non-interactive"]);
  expect(preview.exitCode, preview.all).not.toBe(0);
  expect(preview.all).toContain(
    "convex-volume: protect is false, it should be true. Set it with: npm run sandbox -- pulumi config set --stack prod protectData true;",
  );
  await cloud.configure("prod", "protectData", "true");
  const fixed = await cloud.operate("preview", "prod", ["--non-interactive"]);
  expect(fixed.exitCode, fixed.all).toBe(0);
});

describe("a mistake", () => {
  it.each([
    {
      mistake: "a refused token",
      env: { DIGITALOCEAN_TOKEN: "dop_v1_revoked" },
      told: "error: digitalocean:token: is refused by DigitalOcean, it should be a valid API token that may read and write.",
    },
    {
      mistake: "a missing token",
      env: { DIGITALOCEAN_TOKEN: undefined },
      told: "digitalocean:token: is not set, it should be an API token that may read and write.",
    },
    {
      mistake: "an unknown size",
      settings: { size: "s-9vcpu-1tb" },
      told: "error: convex-droplet:size: s-9vcpu-1tb is not a droplet size of DigitalOcean, it should be one such as s-2vcpu-4gb.",
    },
    {
      mistake: "an unknown region",
      settings: { region: "xyz9" },
      told: "error: convex-droplet:region: xyz9 does not offer droplets of size s-2vcpu-4gb, it should be one of ",
    },
    {
      mistake: "values of the wrong type beside a misspelt key",
      settings: { volumeSizeGb: "many", telemetry: "yes", volumeSizeGB: "120" },
      told: [
        "error: the configuration of stack errors has 3 mistakes:",
        'convex-droplet:volumeSizeGb: "many" is not a whole number, it should be one from 100 to 16384.',
        'convex-droplet:telemetry: "yes" is not a boolean, it should be true or false.',
        "convex-droplet:volumeSizeGB: is not a setting, it should be one; the nearest is volumeSizeGb.",
      ],
    },
  ])("is reported by a preview, in one message, before anything is created: $mistake", async (given) => {
    const settings = Object.entries(given.settings ?? {});
    for (const [key, value] of settings) await cloud.configure(STACK, key, value);
    const preview = await cloud.pulumi(["preview", "--stack", STACK], given.env);
    for (const [key] of settings) await cloud.pulumi(["config", "rm", "--stack", STACK, key]);
    expect(preview.exitCode).toBe(1);
    const diagnostics = preview.all.slice(preview.all.indexOf("Diagnostics:"));
    for (const sentence of [given.told].flat()) expect(diagnostics).toContain(sentence);
    expect(diagnostics).toContain(`Set it with: npm run sandbox -- pulumi config set --stack ${STACK} `);
    expect(diagnostics.match(/error:/g)).toHaveLength(1);
    expect(diagnostics).not.toMatch(/^\s+at /m);
    expect(diagnostics).not.toContain("unhandled");
    for (const kind of ["/v2/droplets", "/v2/volumes", "/v2/firewalls", "/v2/account/keys"]) {
      expect(await list(kind)).toEqual([]);
    }
  });
});

describe("a cloud that fails sometimes", () => {
  it("is asked again, and a droplet that never answers is reported with what to check", async () => {
    const faults = [
      { kind: "request", method: "POST", path: "^/v2/volumes$", status: 429, count: 2 },
      { kind: "request", method: "POST", path: "^/v2/droplets$", status: 500 },
      { kind: "request", method: "GET", path: "^/v2/droplets/\\d+$", status: 503, count: 2 },
      { kind: "request", method: "POST", path: "^/v2/firewalls$", status: 502 },
      { kind: "boot", boot: "dead" },
    ];
    for (const fault of faults) await cloud.fault(fault);
    await cloud.configure(STACK, "bootTimeoutSeconds", "30");

    const up = await cloud.up(STACK);
    expect(up.exitCode).toBe(1);
    expect(up.all).toContain(
      `error: the droplet convex-${STACK} did not accept an SSH connection from this computer within 30 s. ` +
        "Check that adminCidrs (0.0.0.0/0, ::/0) contains this computer's address, and look at the droplet's console",
    );
    expect(await cloud.faultsLeft()).toEqual([0, 0, 0, 0, 0]);
    // Each was created only once.
    expect(await droplets()).toHaveLength(1);
    expect(await volumes()).toHaveLength(1);
    expect(await list("/v2/firewalls")).toHaveLength(1);

    // The doctor also works on a stack whose first `up` failed.
    const doctor = await cloud.operate("doctor", STACK);
    expect(doctor.all).toMatch(/^problem {2}droplet\n.*: cannot be reached over SSH[^]*^unknown {2}backend/m);
    expect(doctor.exitCode).toBe(2);
  });

  it("keeps its droplet, which the next up uses once somebody has switched it on", async () => {
    const [silent] = await droplets();
    const on = await cloud.cloud("POST", `/v2/droplets/${silent?.id ?? 0}/actions`, { type: "power_on" });
    expect(on.status).toBe(201);
    await cloud.configure(STACK, "bootTimeoutSeconds", "300");
    const up = await cloud.up(STACK);
    expect(up.exitCode, up.all).toBe(0);
    expect((await droplets()).map(({ id }) => id)).toEqual([silent?.id]);
  });

  it("reports an action that fails, and the up that it names repeats the action", async () => {
    await cloud.fault({ kind: "action", action: "resize" });
    await cloud.configure(STACK, "volumeSizeGb", "110");
    const up = await cloud.up(STACK);
    expect(up.exitCode).toBe(1);
    expect(up.all).toContain("unexpected state 'errored'");
    expect(await volumeSizes()).toEqual([100]);

    const [, named = ""] = /convex-volume: its change failed.*: (npm run sandbox -- .*)/.exec(up.all) ?? [];
    expect(named).toBe(`npm run sandbox -- pulumi up --stack ${STACK} --refresh --run-program`);
    const again = await cloud.typed(named);
    expect(again.exitCode, again.all).toBe(0);
    expect(await volumeSizes()).toEqual([110]);
    const size = await cloud.onDroplet(STACK, "df --output=size -BG /mnt/convex | tail -n 1 | tr -dc 0-9");
    expect(Number(size.stdout)).toBeGreaterThan(105);
  });

  it("does not have a failed action recorded as done by an up without a refresh", async () => {
    await cloud.fault({ kind: "action", action: "resize" });
    await cloud.configure(STACK, "volumeSizeGb", "115");
    expect((await cloud.up(STACK)).exitCode).toBe(1);
    const second = await cloud.up(STACK);
    expect(second.all).toContain(
      `is 110 GB, it should be 115 GB. An earlier run could not grow it. Run npm run sandbox -- pulumi up --stack ${STACK} again.`,
    );
    expect(second.all).not.toMatch(/^\s+at /m);
    expect(second.exitCode).not.toBe(0);
    const third = await cloud.up(STACK);
    expect(third.exitCode, third.all).toBe(0);
    expect(await volumeSizes()).toEqual([115]);
  });

  const volumeSizes = async () => (await volumes()).map((volume) => volume.size_gigabytes);
});

/** The `pulumi` command that a message gives as the fix. */
function advice(text: string): string[] {
  const [, command = ""] = /fix: .*?pulumi (up --stack \S+(?: (?:-[\w-]+|'[^']+'))*)/.exec(text) ?? [];
  return command.split(" ").map((word) => word.replaceAll("'", ""));
}

describe("an unhealthy backend", () => {
  let target: { host: string; key: string; hostKey: string };

  beforeAll(async () => {
    const { publicIp = "", sshPrivateKey = "", sshHostKey = "" } = await cloud.outputs(STACK);
    target = { host: publicIp, key: sshPrivateKey, hostKey: sshHostKey };
  });

  /** Uses the earlier address, because a failed run removes the stack's outputs. */
  const onDroplet = (command: string) => ssh(target, command);
  const sql = (statement: string, database = "postgres") =>
    onDroplet(`cd / && runuser -u postgres -- psql -qAtX -v ON_ERROR_STOP=1 -d ${database} -c "${statement}"`);

  /** The readiness check of an `up` without a domain. */
  const check = (container = "convex-backend", port = 3210) => {
    const instance = { container, image: "", name: "convex-self-hosted", mountpoint: MOUNTPOINT, key: "some|key" };
    const values = namedValues({ ...instance, port, site_port: 3211, cloud_origin: "", site_origin: "" });
    return onDroplet(`bash ${SCRIPTS}/convex/backend.sh <<< '${values}'`);
  };

  const answers = () =>
    eventually("the backend to answer again", 120, async () => {
      const version = await onDroplet("curl -fsS --max-time 5 http://127.0.0.1:3210/version");
      expect(version.exitCode, version.all).toBe(0);
    });

  it("fails the up with its last log lines, the cause and a fix, and that fix works", async () => {
    const rules = await onDroplet(
      // After a restart, the server counts as starting for some seconds, and cannot be reloaded.
      "until systemctl is-active --quiet postgresql@17-main; do sleep 0.1; done; " +
        "sed -i /^host/d /etc/postgresql/17/main/pg_hba.d/10-convex-droplet.conf && systemctl reload postgresql@17-main",
    );
    expect(rules.exitCode, rules.all).toBe(0);
    await cloud.configure(STACK, "logLevel", "debug");
    const up = await cloud.up(STACK);
    expect(up.exitCode, up.all).toBe(1);
    expect(up.all).toContain('no pg_hba.conf entry for host "172.30.0.');
    expect(up.all).toContain("cause: PostgreSQL's host rules do not admit the container's address, role or database");
    expect(up.all).toMatch(/error: backend: has ended \d+ times in a row, waiting longer would not help\./);

    const fix = advice(up.all);
    expect(fix).toEqual(["up", "--stack", STACK, "--replace", "**convex-server"]);
    const mended = await cloud.pulumi([...fix, "--yes", "--skip-preview"]);
    expect(mended.exitCode, mended.all).toBe(0);
    await answers();
  });

  it.each([
    {
      trouble: "PostgreSQL is down",
      cause: () => onDroplet("systemctl stop 'postgresql@*'"),
      log: "Connection refused (os error 111)",
      told: "cause: PostgreSQL does not listen where the container looks for it",
    },
    {
      trouble: "its database was dropped",
      cause: () => sql("DROP DATABASE convex_self_hosted WITH (FORCE)"),
      log: 'FATAL: database "convex_self_hosted" does not exist',
      told: "cause: the database named after the instance is missing",
    },
    {
      trouble: "it no longer offers TLS",
      cause: () =>
        onDroplet(
          "sed -i 's/^ssl = on/ssl = off/' /etc/postgresql/17/main/conf.d/10-convex-droplet.conf && systemctl reload postgresql@17-main",
        ),
      log: "error performing TLS handshake: server does not support TLS",
      told: "cause: the backend requires TLS, and PostgreSQL does not offer it",
    },
    {
      trouble: "it has a certificate of somebody else's",
      cause: () =>
        onDroplet(
          "cd /etc/postgresql/17/main && openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=host.docker.internal " +
            "-addext subjectAltName=DNS:host.docker.internal -keyout server.key -out server.crt && systemctl reload postgresql@17-main",
        ),
      log: "error performing TLS handshake: invalid peer certificate: UnknownIssuer",
      told: "cause: the backend does not trust PostgreSQL's certificate",
    },
    {
      trouble: "its password was changed",
      cause: () => sql("ALTER ROLE convex PASSWORD 'another'"),
      log: 'FATAL: password authentication failed for user "convex"',
      told: "cause: the role's password is not the one in the stack's state",
    },
  ])("says why, and names a fix that works: $trouble", async ({ cause, log, told }) => {
    const caused = await cause();
    expect(caused.exitCode, caused.all).toBe(0);
    await onDroplet("docker restart convex-backend");
    const failed = await check();
    expect(failed.exitCode).toBe(1);
    expect(failed.all).toContain(log);
    expect(failed.all).toContain(told);
    expect(failed.all.match(/cause: /g)).toHaveLength(1);

    const mended = await cloud.pulumi([...advice(failed.all), "--yes", "--skip-preview"]);
    expect(mended.exitCode, mended.all).toBe(0);
    await answers();
  });

  it("has a database that no other role can use, also after the database was created again", async () => {
    const access = await sql(
      "SELECT has_database_privilege('convex_admin', datname, 'CONNECT'), datacl FROM pg_database WHERE datname = 'convex_self_hosted'",
    );
    expect(access.stdout).not.toMatch(/[{,]=/);
    expect(access.stdout).toContain("convex=");
  });

  it("says that another backend, or a later clock, has taken over the database", async () => {
    const lease = (time: string) => sql(`UPDATE leases SET ts = ${time}`, "convex_self_hosted");
    expect((await lease("9000000000000000000")).exitCode).toBe(0);
    await onDroplet("docker restart convex-backend");
    const failed = await check();
    expect(failed.exitCode).toBe(1);
    expect(failed.all).toContain("failed to acquire lease: Already acquired with higher timestamp");
    expect(failed.all).toContain(
      "cause: another backend writes to the same database, or this machine's clock went back",
    );
    expect((await lease("0")).exitCode).toBe(0);
    // The next start takes half a minute, and the earlier failures must not count.
    const healthy = await check();
    expect(healthy.all).not.toContain("in a row");
    await answers();
  });

  it.each([
    {
      trouble: "a database in its URL",
      change: "s|:5432|:5432/convex_self_hosted|",
      log: "cluster url already contains db name: /convex_self_hosted",
      told: "cause: POSTGRES_URL names a database; the backend derives it from the instance name",
    },
    {
      trouble: "no certificate to trust",
      change: "/^PG_CA_FILE/d",
      log: "error performing TLS handshake: invalid peer certificate: UnknownIssuer",
      told: "cause: the backend does not trust PostgreSQL's certificate",
    },
  ])("says why if somebody started it with $trouble", async ({ change, log, told }) => {
    const environment = "docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' convex-backend";
    const image = "$(docker inspect --format '{{.Image}}' convex-backend)";
    const started = await onDroplet(
      `docker rm -f trial > /dev/null 2>&1; umask 077; ${environment} | sed '/^$/d; ${change}' > /root/trial.env && ` +
        "docker run --detach --name trial --restart unless-stopped --network convex --env-file /root/trial.env " +
        `--add-host host.docker.internal:172.30.0.1 --publish 127.0.0.1:4210:3210 ${image}`,
    );
    expect(started.exitCode, started.all).toBe(0);
    const failed = await check("trial", 4210);
    expect(failed.exitCode).toBe(1);
    expect(failed.all).toContain(log);
    expect(failed.all).toContain(told);
  });
});
