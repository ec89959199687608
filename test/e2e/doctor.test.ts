import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterAll, beforeAll, describe, expect, it } from "vitest";

import type { Examination } from "../../operations/doctor/examine.ts";
import { eventually, TestCloud } from "./harness.ts";
import { damagedKey } from "./probe.ts";

const STACK = "doctor";

let cloud: TestCloud;
let app: string;

beforeAll(async () => {
  cloud = await TestCloud.start();
  await cloud.createStack(STACK, { "allowedCidrs[0]": "127.0.0.0/8" });
  expect(await cloud.up(STACK)).toMatchObject({ exitCode: 0 });
  app = await mkdtemp(path.join(tmpdir(), "convex-droplet-app-"));
  await mkdir(path.join(app, "node_modules/convex"), { recursive: true });
  await writeFile(path.join(app, "package.json"), '{"dependencies":{"convex":"1.48.0","@convex-dev/auth":"0.0.90"}}');
  await mkdir(path.join(app, "convex"));
  await release("1.48.0");
});

afterAll(async () => {
  await cloud[Symbol.asyncDispose]();
  await rm(app, { recursive: true, force: true });
});

/** The doctor's checks of the stack, and with `--app` also of the app. */
async function examine(...args: string[]): Promise<Examination & { exitCode: number }> {
  const { exitCode, stdout, all } = await cloud.operate("doctor", STACK, ["--format", "json", ...args]);
  if (stdout === "") throw new Error(all);
  return { ...(JSON.parse(stdout) as Examination), exitCode };
}

function illIn({ stations }: Examination): string[] {
  return stations.filter(({ status }) => status === "ill").map(({ name }) => name);
}

/** The text of all problems. */
function said({ stations }: Examination): string {
  return stations.flatMap(({ ailments }) => ailments.map((ailment) => Object.values(ailment).join("\n"))).join("\n");
}

/** Runs the doctor's first fix, again and again, as a person would. */
async function followTheDoctor(): Promise<void> {
  for (let visits = 0; visits < 4; visits++) {
    const examination = await examine();
    if (examination.exitCode === 0) return;
    const cure = examination.stations.find(({ status }) => status === "ill")?.ailments[0]?.cure ?? "";
    expect(await cloud.typed(cure), said(examination)).toMatchObject({ exitCode: 0 });
  }
  expect(said(await examine())).toBe("");
}

/** Makes the backend's container by hand, as common guides do, with one mistake. */
function remake({ environment = "", hosts = "--add-host host.docker.internal:$gateway" } = {}): string {
  return `
    docker inspect --format '{{range .Config.Env}}{{println .}}{{end}}' convex-backend | sed '${environment}' > /run/remake.env
    image=$(docker inspect --format '{{.Config.Image}}' convex-backend)
    gateway=$(docker network inspect --format '{{(index .IPAM.Config 0).Gateway}}' convex)
    docker rm --force convex-backend > /dev/null
    docker run --detach --name convex-backend --env-file /run/remake.env --network convex ${hosts} --restart unless-stopped \\
      --publish 3210:3210 --publish 3211:3211 --volume /mnt/convex/data:/convex/data \\
      --volume "/etc/convex-droplet/postgres-authority.pem:$(sed -n 's/^PG_CA_FILE=//p' /run/remake.env | grep . || echo /unused):ro" "$image" > /dev/null
    rm /run/remake.env`;
}

const PSQL = "runuser -u postgres -- psql -qX";

const CASES: { symptom: string; cause: string; ill: string[]; says: RegExp; undo?: string }[] = [
  {
    symptom: "cluster url already contains db name",
    cause: remake({ environment: "s|^\\(POSTGRES_URL=.*:5432\\).*|\\1/convex_self_hosted|" }),
    ill: ["containers", "backend", "from here"],
    says: /POSTGRES_URL names a database; the backend derives it from the instance name/,
  },
  {
    symptom: "TLS handshake",
    cause: remake({ environment: "/^PG_CA_FILE=/d" }),
    ill: ["containers", "backend", "from here"],
    says: /the backend does not trust PostgreSQL's certificate/,
  },
  {
    symptom: "database does not exist",
    cause: `docker stop convex-backend && cd / && ${PSQL} -c 'ALTER DATABASE convex_self_hosted RENAME TO elsewhere' && docker start convex-backend`,
    ill: ["PostgreSQL", "backend", "from here"],
    says: /convex_self_hosted: is not there[^]*restore its backup/,
    undo: `cd / && ${PSQL} -c 'ALTER DATABASE elsewhere RENAME TO convex_self_hosted' && docker restart convex-backend`,
  },
  {
    symptom: "connection refused: the server is stopped",
    cause: "systemctl stop postgresql@17-main && docker restart convex-backend",
    ill: ["PostgreSQL", "backend", "from here"],
    says: /PostgreSQL does not listen where the container looks for it/,
  },
  {
    symptom: "connection refused: the server listens elsewhere",
    cause: `cd / && ${PSQL} -c "ALTER SYSTEM SET listen_addresses = 'localhost'" && systemctl restart postgresql@17-main && docker restart convex-backend`,
    ill: ["PostgreSQL", "backend", "from here"],
    says: /postgres.settings.listen_addresses: is localhost/,
  },
  {
    symptom: "no pg_hba.conf entry",
    cause: `sed -i 's/^host.*convex.*//' /etc/postgresql/17/main/pg_hba.d/10-convex-droplet.conf && cd / && ${PSQL} -c 'SELECT pg_reload_conf()' && docker restart convex-backend`,
    ill: ["PostgreSQL", "backend", "from here"],
    says: /host rules do not admit the container's address/,
  },
  {
    symptom: "an unknown host name",
    cause: remake({ hosts: "" }),
    ill: ["containers", "backend", "from here"],
    says: /the container does not know host.docker.internal/,
  },
  {
    symptom: "a restart loop: off its network",
    cause: "docker network disconnect --force convex convex-backend && docker restart convex-backend",
    ill: ["containers", "backend", "from here"],
    says: /networks: is \[\], it should be \["convex"\]/,
  },
  {
    symptom: "BadAdminKey: another secret",
    cause: remake({
      environment:
        "s|^INSTANCE_SECRET=.*|INSTANCE_SECRET=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff|",
    }),
    ill: ["containers", "backend"],
    says: /INSTANCE_SECRET: has another value[^]*the backend runs with another secret or name/,
  },
  {
    symptom: "another instance's name",
    cause: remake({ environment: "s|^INSTANCE_NAME=.*|INSTANCE_NAME=other|" }),
    ill: ["containers", "backend", "from here"],
    says: /INSTANCE_NAME: has another value[^]*host rules do not admit the container's address, role or database/,
  },
];

// One stack; each test leaves it healthy.
describe("the doctor", () => {
  it("finds no problem in a deployed stack", async () => {
    const examination = await examine();
    expect(said(examination)).toBe("");
    expect(examination).toMatchObject({ exitCode: 0, elsewhere: 0 });
  });

  it.each(CASES)("shows the cause of $symptom, and its fix works", async ({ cause, ill, says, undo }) => {
    const broken = await cloud.onDroplet(STACK, "bash -e -s", cause);
    expect(broken).toMatchObject({ exitCode: 0 });
    await eventually("the symptom", 60, async () => {
      const examination = await examine();
      expect(illIn(examination)).toEqual(ill);
      expect(said(examination)).toMatch(says);
      expect(examination.exitCode).toBe(2);
    });
    if (undo !== undefined) expect(await cloud.onDroplet(STACK, undo)).toMatchObject({ exitCode: 0 });
    await eventually("its end", 200, followTheDoctor);
  });

  it("reports a droplet that is off as such, and not as unreachable", async () => {
    await cloud.switchDroplet("off");
    const examination = await examine();
    expect(illIn(examination)).toEqual(["droplet", "from here"]);
    expect(said(examination)).toMatch(/is off, it should be active[^]*power-on \d+/);
    await cloud.switchDroplet("on");
    await eventually("the backend", 120, async () => {
      expect((await examine()).exitCode).toBe(0);
    });
  });
});

/** Gives the app's CLI this version. */
function release(version: string): Promise<void> {
  return writeFile(path.join(app, "node_modules/convex/package.json"), JSON.stringify({ version }));
}

describe("the doctor, with an app", () => {
  const environment = (lines: Record<string, string>) =>
    writeFile(
      path.join(app, ".env.local"),
      Object.entries(lines)
        .map(([name, value]) => `${name}=${value}\n`)
        .join(""),
    );

  async function examineApp(): Promise<{ text: string; exitCode: number }> {
    const examination = await examine("--app", app);
    expect(illIn(examination).filter((name) => !name.startsWith("app "))).toEqual([]);
    return { text: said(examination), exitCode: examination.exitCode };
  }

  it("shows why the CLI would ask questions, call another backend or be refused, and why sign-in would fail", async () => {
    const { backendUrl = "", adminKey = "", readOnlyAdminKey = "" } = await cloud.outputs(STACK);
    const cases: { given: Record<string, string>; says: RegExp }[] = [
      { given: {}, says: /CONVEX_SELF_HOSTED_URL: is not set/ },
      {
        given: { CONVEX_SELF_HOSTED_URL: "http://127.0.0.1:1", CONVEX_SELF_HOSTED_ADMIN_KEY: adminKey },
        says: /CONVEX_SELF_HOSTED_URL is http:\/\/127.0.0.1:1\/, this stack's is/,
      },
      {
        given: { CONVEX_SELF_HOSTED_URL: backendUrl, CONVEX_SELF_HOSTED_ADMIN_KEY: damagedKey(adminKey) },
        says: /BadAdminKey, 401[^]*another secret than the backend runs with/,
      },
      {
        given: { CONVEX_SELF_HOSTED_URL: backendUrl, CONVEX_SELF_HOSTED_ADMIN_KEY: `other|${"0".repeat(74)}` },
        says: /the key is for an instance other, this one is convex-self-hosted/,
      },
    ];
    for (const { given, says } of cases) {
      await environment(given);
      const { text, exitCode } = await examineApp();
      expect(text).toMatch(says);
      expect(exitCode).toBe(2);
      for (const key of [adminKey, readOnlyAdminKey]) expect(text).not.toContain(key.split("|")[1]);
    }

    await environment({ CONVEX_SELF_HOSTED_URL: backendUrl, CONVEX_SELF_HOSTED_ADMIN_KEY: adminKey });
    expect(await examineApp()).toEqual({ text: "", exitCode: 0 });
    await writeFile(path.join(app, "convex/auth.config.ts"), "export default {};");
    expect((await examineApp()).text).toMatch(/no JWT_PRIVATE_KEY and no JWKS[^]*authKeys true/);
    await release("1.26.1");
    expect((await examineApp()).text).toMatch(/convex: 1.26.1 is broken/);
  });
});
