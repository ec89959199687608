import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { officialImagesReachable } from "../../sandbox/images/build.ts";
import { eventually } from "../e2e/harness.ts";
import { leaksOf, ProcessWatch, secretsOf } from "../e2e/leaks.ts";
import { readRow, writeRow } from "../e2e/probe.ts";
import { succeeded } from "../e2e/succeeded.ts";
import { stepByStep } from "../steps.ts";
import { Example } from "./example.ts";
import { underLoad } from "./load.ts";
import { publishStandIn, type StandIn } from "./stand-in.ts";

const WEB = "https://convex.test";
const SERVER = "https://api.convex.test";
const ELECTRIC = "https://electric.convex.test";
const CONVEX = "https://convex.convex.test";
const PING = `${SERVER}/api/__debug/db/ping?debug=1`;

/** What the pages get when their image is built. */
const PUBLIC = { NEXT_PUBLIC_APP_URL: WEB, NEXT_PUBLIC_SERVER_URL: SERVER, NEXT_PUBLIC_ELECTRIC_URL: ELECTRIC };

/** Whether Electric is the one of the stack file. */
const IS_REAL = await officialImagesReachable();

let example: Example;
let processes: ProcessWatch;

beforeAll(async () => {
  example = await Example.start("openchat-electric");
  processes = new ProcessWatch();
});

afterAll(async () => {
  await processes[Symbol.asyncDispose]();
  await example[Symbol.asyncDispose]();
});

function web(revision: string, variables: Record<string, string> = PUBLIC): StandIn {
  const args = { REVISION: revision, PUBLIC: Object.keys(PUBLIC).join(","), ...variables };
  return { folder: "openchat/web", args };
}

/** @param migration  the newest one that it has */
function server(migration: number): StandIn {
  return { folder: "openchat/server", args: { REVISION: String(migration) }, modules: ["pg"] };
}

function electric(revision: string): StandIn {
  return { folder: "openchat/electric", args: { REVISION: revision }, modules: ["pg"] };
}

async function take(app: string, standIn: StandIn): Promise<void> {
  await example.set(`apps.${app}.image`, await publishStandIn(example.cloud.home, standIn));
}

const sql = (statement: string, database = "openchat") =>
  example.droplet(`cd / && runuser -u postgres -- psql -XqAt -v ON_ERROR_STOP=1 -d ${database}`, statement);
const status = async (url: string) => (await fetch(url)).status;
const say = async (text: string) => {
  expect(await (await fetch(`${SERVER}/api/messages`, { method: "POST", body: text })).json()).toEqual({});
};

// One stack; each test continues where the one before ended.
describe("OpenChat on PostgreSQL and Electric, from the example's stack file", () => {
  stepByStep();

  it("is refused at preview without what only its user knows, all at once, with the reasons", async () => {
    const { cloud, stack } = example;
    succeeded(await cloud.pulumi(["config", "rm", "--stack", stack, "--path", "apps.server.references.CORS_ORIGIN"]));
    const { exitCode, all } = await cloud.pulumi(["preview", "--stack", stack]);
    expect(exitCode).not.toBe(0);
    expect(all).toContain("has 3 mistakes");
    expect(all).toContain("convex-droplet:apps.server.image: is missing");
    expect(all).toContain("convex-droplet:apps.web.image: is missing");
    expect(all).toContain(
      "convex-droplet:apps.server.variables.CORS_ORIGIN: is missing, it should be there: only pages of this origin may call it.",
    );
    await example.set("apps.server.references.CORS_ORIGIN", "app:web.publicUrl");
  });

  it("has no image of a web front end without one of the variables that its pages need", async () => {
    const others = { NEXT_PUBLIC_APP_URL: WEB, NEXT_PUBLIC_SERVER_URL: SERVER };
    await expect(publishStandIn(example.cloud.home, web("one", others))).rejects.toThrow("node ./build.ts");
  });

  it("comes up in one run, and nothing drifts", async () => {
    await take("server", server(1));
    await take("web", web("one"));
    if (!IS_REAL) await take("electric", electric("one"));
    await example.deploy();
    succeeded(await example.cloud.operate("doctor", example.stack, [], example.names));
  });

  it("migrates with the shadow, and follows changes through a slot that only the secret opens", async () => {
    expect(await (await fetch(PING)).json()).toEqual({ ok: true });
    const tables = "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'";
    expect(await sql(tables, "openchat_shadow")).toBe("messages");
    // The run has waited for it, with a probe.
    expect(await status(`${ELECTRIC}/v1/health`)).toBe(200);
    expect(await sql("SHOW wal_level; SELECT active FROM pg_replication_slots")).toBe("logical\nt");
    const shape = `${ELECTRIC}/v1/shape?table=messages&offset=-1`;
    const electric = await example.environment("electric");
    expect(await status(shape)).toBe(401);
    expect(await status(`${shape}&secret=${encodeURIComponent(electric["ELECTRIC_SECRET"] ?? "")}`)).toBe(200);
    expect(await sql("SELECT tablename FROM pg_publication_tables")).toBe("messages");
    const own = await example.environment("server");
    expect(own["ELECTRIC_GATEKEEPER_SECRET"]).toBe(electric["ELECTRIC_GATEKEEPER_SECRET"]);
    expect(own["BETTER_AUTH_SECRET"]).toMatch(/^[\w+/]{64}$/);
    expect([own, await example.environment("web")]).toEqual([
      expect.not.objectContaining({ ELECTRIC_SECRET: expect.anything() as unknown }),
      expect.not.objectContaining({ ELECTRIC_SECRET: expect.anything() as unknown }),
    ]);
  });

  it("is opened by a browser over TLS, which shows what the server has", async () => {
    await say("hello");
    expect(await example.page(WEB)).toEqual({ state: "connected", messages: ["hello"] });
  });

  it("shows none of its secrets anywhere", async () => {
    // The suffix of the bucket's name, and those of containers, are no secrets.
    const secrets = Object.entries(await secretsOf(example.cloud, example.stack)).filter(
      ([name]) => !/-version\.result$|^convex-bucket-suffix/.test(name),
    );
    const { BETTER_AUTH_SECRET: auth = "", ELECTRIC_GATEKEEPER_SECRET: gate = "" } =
      await example.environment("server");
    const { ELECTRIC_SECRET: electric = "", PG_PROXY_PASSWORD: proxy = "" } = await example.environment("electric");
    const needles = { ...Object.fromEntries(secrets), auth, gate, electric, proxy };
    expect(await leaksOf(example.cloud, example.stack, processes, needles)).toEqual([]);
  });

  it("takes another version of the server, with a migration, and loses no request of 50 connections", async () => {
    await take("server", server(2));
    const { requests, lost } = await underLoad(`${SERVER}/api/reply`, await example.address(), async () => {
      succeeded(await example.cloud.up(example.stack));
    });
    console.log(`an update of the server under load: ${requests} requests, ${lost === "" ? "none lost" : lost}`);
    expect(lost).toBe("");
    expect(requests).toBeGreaterThan(500);
    expect(await (await fetch(`${SERVER}/api/reply`)).json()).toEqual({ revision: "2", known: 1 });
    expect(await sql("SELECT max(number) FROM migrations")).toBe("2");
  });

  it("keeps database and server as they are if a migration fails in the shadow", async () => {
    const known = await sql(
      "SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'",
    );
    await take("server", server(3));
    const up = await example.cloud.up(example.stack);
    expect(up.exitCode).not.toBe(0);
    expect(up.all).toContain("migration 3 fails in the shadow, so the database stays as it is");
    expect(
      await sql("SELECT string_agg(tablename, ' ' ORDER BY tablename) FROM pg_tables WHERE schemaname = 'public'"),
    ).toBe(known);
    expect(await (await fetch(PING)).json()).toEqual({ ok: true });
    await take("server", server(2));
    succeeded(await example.cloud.up(example.stack));
  });

  it("takes another version of the web front end under the same load, also if the run is killed in the middle", async () => {
    await take("web", web("two"));
    const { requests, lost } = await underLoad(WEB, await example.address(), () => example.deployKilled("web"));
    console.log(
      `a killed update of the web front end under load: ${requests} requests, ${lost === "" ? "none lost" : lost}`,
    );
    expect(lost).toBe("");
    expect(await (await fetch(WEB)).text()).toContain('"REVISION":"two"');
  });

  it.skipIf(IS_REAL)("takes another version of Electric, which gets the slot of the one before", async () => {
    await take("electric", electric("two"));
    succeeded(await example.cloud.up(example.stack));
    expect(await status(`${ELECTRIC}/v1/health`)).toBe(200);
    expect(await example.containers("electric")).toHaveLength(1);
    expect(await sql("SELECT count(*) FROM pg_replication_slots")).toBe("1");
    succeeded(await example.cloud.up(example.stack, "--expect-no-changes"));
  });

  it("is restored with all databases to one moment, and Electric makes another slot", async () => {
    await writeRow(CONVEX, "first", "one");
    await say("before");
    const moment = await example.moment();
    await writeRow(CONVEX, "first", "two");
    await say("after");
    succeeded(await example.cloud.operate("backup", example.stack, ["now"]));
    succeeded(await example.cloud.operate("restore", example.stack, ["--to", moment, "--yes"]));
    expect(await readRow(CONVEX, "first")).toBe("one");
    await eventually("server and Electric to serve again", 120, async () => {
      expect(await (await fetch(PING)).json()).toEqual({ ok: true });
      expect(await status(`${ELECTRIC}/v1/health`)).toBe(200);
    });
    expect(await example.page(WEB)).toEqual({ state: "connected", messages: ["hello", "before"] });
    expect(succeeded(await example.cloud.operate("drift", example.stack))).toContain("is as declared");
  });

  it("is destroyed without a trace", async () => {
    await example.destroy();
  });
});
