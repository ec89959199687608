import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import os from "node:os";
import path from "node:path";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";
import { ensureImage } from "../../sandbox/images/build.ts";
import { revision } from "../../sandbox/images/recipe.ts";
import { waitFor } from "../../sandbox/wait-for.ts";
import {
  adminKey,
  backendEnvironment,
  DATABASE,
  NAME,
  PASSWORD,
  SECRET,
  TestPostgres,
  TestSandbox,
  type ContainerSettings,
  type TestContainer,
} from "./images-harness.ts";

let sandbox: TestSandbox;
let postgres: TestPostgres;
let image: string;

/** The settings of a backend; each test changes some. */
const environment = () => backendEnvironment(postgres);

/** A container that is removed after the test. */
async function run(env: Record<string, string>, settings: ContainerSettings = {}): Promise<TestContainer> {
  const container = await sandbox.run(image, { env: { ...environment(), ...env }, ...settings });
  onTestFinished(() => container[Symbol.asyncDispose]());
  return container;
}

const asAdmin = (key = adminKey()) => ({ authorization: `Convex ${key}` });

async function post(address: string, body: unknown, headers: Record<string, string> = {}) {
  const response = await fetch(address, { method: "POST", body: JSON.stringify(body), headers });
  const answer = await response.text();
  return { status: response.status, body: answer === "" ? "" : (JSON.parse(answer) as unknown) };
}

async function get(address: string, headers: Record<string, string> = {}) {
  const response = await fetch(address, { headers });
  return { status: response.status, text: await response.text() };
}

/** A request without its second half, `rest`. The server has started to handle it: it answered "continue". */
async function halfARequest(address: string): Promise<Socket> {
  const { hostname, port, pathname } = new URL(address);
  const socket = connect(Number(port), hostname);
  const headers = ["host: test", "connection: close", "content-length: 8", "expect: 100-continue"];
  socket.write(`POST ${pathname} HTTP/1.1\r\n${headers.join("\r\n")}\r\n\r\n`);
  await once(socket, "data");
  socket.write("half");
  return socket;
}

beforeAll(async () => {
  sandbox = await TestSandbox.create();
  postgres = await TestPostgres.start(sandbox);
  await postgres.createDatabase(DATABASE);
  image = await ensureImage("backend", await revision(), () => undefined);
});

afterAll(async () => {
  // Its containers first, because a container may still use the network.
  await postgres[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});

describe("a running backend", () => {
  let backend: TestContainer;
  let api: string;
  let site: string;

  beforeAll(async () => {
    const data = await sandbox.volume("running");
    backend = await sandbox.run(image, { env: environment(), binds: [`${data}:/convex/data`] });
    api = await backend.answers(3210);
    site = await backend.answers(3211);
  });

  it("logs its start in the known lines, the ports last", async () => {
    const messages = [...(await backend.logs()).matchAll(/convex-local-backend: (.*)/g)].map(([, message]) => message);
    expect(messages).toEqual([
      "Postgres connection pool max size 8",
      "attempting to acquire lease",
      expect.stringMatching(/^lease acquired with ts \d{19}$/),
      "db metadata version up to date at 128",
      `Connected to Postgres database: ${NAME}`,
      "backend listening on 0.0.0.0:3210",
      "backend_http_proxy listening on 0.0.0.0:3211",
    ]);
  });

  it("makes its tables in the database named after the instance", async () => {
    const columns = await postgres.query<{ table: string; columns: string }>(
      DATABASE,
      `SELECT table_name AS table, string_agg(column_name, ' ' ORDER BY ordinal_position) AS columns
       FROM information_schema.columns WHERE table_schema = 'public' GROUP BY table_name ORDER BY table_name`,
    );
    expect(columns).toEqual([
      { table: "documents", columns: "id ts table_id json_value deleted prev_ts" },
      {
        table: "indexes",
        columns: "index_id ts key_prefix key_suffix key_sha256 deleted table_id document_id",
      },
      { table: "leases", columns: "id ts" },
      { table: "persistence_globals", columns: "key json_value" },
      { table: "read_only", columns: "id" },
    ]);
    const indexes = await postgres.query<{ indexname: string }>(
      DATABASE,
      "SELECT indexname FROM pg_indexes WHERE tablename IN ('documents', 'indexes') ORDER BY indexname",
    );
    expect(indexes.map(({ indexname }) => indexname)).toEqual([
      "documents_by_table_and_id",
      "documents_by_table_ts_and_id",
      "documents_pkey",
      "indexes_by_index_id_key_prefix_key_sha256",
      "indexes_pkey",
    ]);
  });

  it("shows its name and version to everyone", async () => {
    expect(await get(api)).toEqual({
      status: 200,
      text: "This Convex deployment is running. See https://docs.convex.dev/.",
    });
    expect(await get(`${api}/version`)).toEqual({ status: 200, text: "unknown" });
    expect(await get(`${api}/instance_name`)).toEqual({ status: 200, text: NAME });
    expect(await get(`${site}/version`)).toEqual({ status: 200, text: "unknown" });
    expect((await get(`${api}/metrics`)).text).toContain("process_resident_memory_bytes");
    expect((await get(`${site}/metrics`)).status).toBe(200);
    expect(await (await fetch(`${api}/echo`, { method: "POST", body: "hello" })).text()).toBe("hello");
  });

  it("has the programs that its health check and its users call", async () => {
    expect(await backend.exec(["curl", "-fsS", "http://localhost:3210/version"])).toBe("unknown");
    const processes = await backend.exec(["bash", "-c", "tr '\\0' ' ' </proc/1/cmdline"]);
    expect(processes).toContain(`--instance-secret ${SECRET}`);
    expect(processes).toContain(postgres.url());
    expect(await backend.exec(["stat", "-c", "%U %a", "/convex/data/credentials/instance_secret"])).toBe("root 600\n");
  });

  it("prints a valid admin key, another one each time", async () => {
    const keys = [
      (await backend.exec(["./generate_admin_key.sh"])).trim(),
      (await backend.exec(["./generate_admin_key.sh"])).trim(),
    ];
    expect(keys[0]).toMatch(/^convex-self-hosted\|01[0-9a-f]{72}$/);
    expect(keys[0]).not.toBe(keys[1]);
    for (const key of keys) expect((await get(`${api}/api/check_admin_key`, asAdmin(key))).status).toBe(200);
    await waitFor("the log to show it", 20, async () =>
      /Admin key accepted from MemberId\(0\) at .* for convex-self-hosted/.test(await backend.logs()),
    );
  });

  it("accepts and refuses admin keys with the known texts", async () => {
    const check = async (headers: Record<string, string>) => {
      const { status, text } = await get(`${api}/api/check_admin_key`, headers);
      return { status, body: JSON.parse(text) as unknown };
    };
    const badDeployKey = {
      status: 403,
      body: {
        code: "BadDeployKey",
        message:
          "The provided deploy key was invalid for this deployment. " +
          "Double check that the environment this key was generated for matches the desired deployment.",
      },
    };
    const badAdminKey = {
      status: 401,
      body: { code: "BadAdminKey", message: "The provided admin key was invalid for this instance" },
    };
    expect(await check(asAdmin())).toEqual({
      status: 200,
      body: { success: true, allowedOps: [], isReadOnly: false },
    });
    expect(await check({ authorization: `convex ${adminKey()}:eyJ9` })).toMatchObject({ status: 200 });
    expect(await check(asAdmin(adminKey({ isReadOnly: true })))).toMatchObject({
      status: 200,
      body: { isReadOnly: true, allowedOps: expect.arrayContaining(["ViewData", "ViewUsage"]) as unknown },
    });
    expect(await check({})).toEqual(badDeployKey);
    expect(await check(asAdmin(adminKey({ system: true })))).toEqual(badDeployKey);
    expect(await check(asAdmin(adminKey({}, "00".repeat(32))))).toEqual(badAdminKey);
    expect(await check(asAdmin(adminKey().replace(NAME, "other")))).toEqual(badAdminKey);
    expect(await check({ authorization: "Conv" })).toEqual({
      status: 400,
      body: { code: "InvalidHeaderFailure", message: "Invalid authentication header" },
    });
    expect((await get(`${api}/api/check_admin_key?adminKey=${encodeURIComponent(adminKey())}`)).status).toBe(200);
  });

  it("shows an admin its kind and its URLs", async () => {
    expect(await get(`${api}/api/v1/deployment_info`, asAdmin())).toEqual({
      status: 200,
      text: '{"kind":"selfHosted"}',
    });
    expect(JSON.parse((await get(`${api}/api/v1/get_canonical_urls`, asAdmin())).text)).toEqual({
      convexCloudUrl: "http://127.0.0.1:3210",
      convexSiteUrl: "http://127.0.0.1:3211",
    });
    expect((await get(`${api}/api/v1/get_canonical_urls`)).status).toBe(403);
  });

  it("accepts other URLs, and can reset them", async () => {
    const override = (url?: string) =>
      post(`${api}/api/v1/update_canonical_url`, { requestDestination: "convexSite", url }, asAdmin());
    const siteUrl = async () =>
      (JSON.parse((await get(`${api}/api/v1/get_canonical_urls`, asAdmin())).text) as { convexSiteUrl: string })
        .convexSiteUrl;
    await override("https://site.test");
    expect(await siteUrl()).toBe("https://site.test");
    await override();
    expect(await siteUrl()).toBe("http://127.0.0.1:3211");
  });

  it("keeps environment variables, for admins with write access", async () => {
    const update = (changes: unknown, key?: string) =>
      post(`${api}/api/update_environment_variables`, { changes }, asAdmin(key));
    expect(await update([{ name: "SITE_URL", value: "http://a" }])).toEqual({ status: 200, body: "" });
    expect(await update([{ name: "GONE", value: "x" }])).toMatchObject({ status: 200 });
    expect(await update([{ name: "GONE", value: null }])).toMatchObject({ status: 200 });
    expect(JSON.parse((await get(`${api}/api/v1/list_environment_variables`, asAdmin())).text)).toEqual({
      environmentVariables: { SITE_URL: "http://a" },
    });
    expect(await update([{ name: "CONVEX_SITE_URL", value: "x" }])).toMatchObject({
      status: 400,
      body: { code: "EnvVarNameForbidden" },
    });
    expect(await update([{ name: "A", value: "x" }], adminKey({ isReadOnly: true }))).toMatchObject({ status: 403 });
    const variable = { path: "sandbox:environmentVariable", args: { name: "SITE_URL" } };
    expect((await post(`${api}/api/query`, variable)).body).toMatchObject({ status: "error" });
    expect((await post(`${api}/api/query`, variable, asAdmin())).body).toEqual({
      status: "success",
      value: "http://a",
    });
  });

  it("writes rows to Postgres and files to its data directory, and has both after a kill", async () => {
    const call = (route: string, path: string, args: unknown) =>
      post(`${api}/api/${route}`, { path, args, format: "json" });
    expect(await call("mutation", "sandbox:put", { key: "a", value: { n: 1 } })).toEqual({
      status: 200,
      body: { status: "success", value: "a" },
    });
    await call("mutation", "sandbox:put", { key: "a", value: { n: 2 } });
    const versions = await postgres.query<{ json: string }>(
      DATABASE,
      `SELECT convert_from(json_value, 'UTF8') AS json FROM documents
       WHERE json_value LIKE '%"key":"a"%'::bytea ORDER BY ts`,
    );
    expect(versions.map(({ json }) => JSON.parse(json) as unknown)).toEqual([
      { key: "a", value: { n: 1 } },
      { key: "a", value: { n: 2 } },
    ]);

    const { body } = await call("mutation", "sandbox:generateUploadUrl", {});
    const uploadUrl = (body as { value: string }).value;
    expect(uploadUrl).toMatch(/^http:\/\/127\.0\.0\.1:3210\/api\/storage\/upload\?token=/);
    const reachable = uploadUrl.replace("http://127.0.0.1:3210", api);
    const upload = await fetch(reachable, {
      method: "POST",
      body: "bytes",
      headers: { "content-type": "text/x-test" },
    });
    const { storageId } = (await upload.json()) as { storageId: string };
    expect((await fetch(reachable + "0", { method: "POST", body: "bytes" })).status).toBe(401);
    expect(await backend.exec(["cat", `/convex/data/storage/files/${storageId}`])).toBe("bytes");

    await backend.signal("SIGKILL");
    await backend.ended();
    await backend.start();
    api = await backend.answers(3210);
    site = await backend.answers(3211);
    expect((await call("query", "sandbox:get", { key: "a" })).body).toEqual({
      status: "success",
      value: { key: "a", value: { n: 2 } },
    });
    const file = await fetch(`${api}/api/storage/${storageId}`);
    expect([file.headers.get("content-type"), await file.text()]).toEqual(["text/x-test", "bytes"]);
  });

  it("runs functions on each route, and only as their own type", async () => {
    expect(await post(`${api}/api/run/sandbox/get`, { args: { key: "none" } })).toEqual({
      status: 200,
      body: { status: "success", value: null },
    });
    expect((await post(`${api}/api/function`, { path: "sandbox:put", args: { key: "b", value: 1 } })).status).toBe(200);
    expect((await post(`${api}/api/action`, { path: "sandbox:callOwnOrigin", args: {} })).body).toEqual({
      status: "success",
      value: NAME,
    });
    expect((await post(`${api}/api/query`, { path: "sandbox:put", args: {} })).body).toEqual({
      status: "error",
      errorMessage: "Trying to execute sandbox:put as Query, but it is defined as Mutation.",
    });
    expect((await post(`${api}/api/query`, { path: "messages:list", args: {} })).body).toEqual({
      status: "error",
      errorMessage: expect.stringContaining("Could not find public function for 'messages:list'.") as unknown,
    });
    expect((await post(`${api}/api/query`, { args: {} })).status).toBe(400);
    expect((await post(`${api}/api/query`, { path: "sandbox:list", args: {} }, asAdmin("a|b"))).status).toBe(401);
  });

  it("pauses and continues", async () => {
    expect(await post(`${api}/api/v1/unpause_deployment`, {}, asAdmin())).toEqual({
      status: 400,
      body: { code: "UnpauseDeploymentFailed", message: "Deployment is not currently paused." },
    });
    expect((await post(`${api}/api/v1/pause_deployment`, {}, asAdmin())).status).toBe(200);
    expect((await post(`${api}/api/query`, { path: "sandbox:list", args: {} })).body).toMatchObject({
      status: "error",
    });
    expect((await post(`${api}/api/v1/unpause_deployment`, {}, asAdmin())).status).toBe(200);
    expect((await post(`${api}/api/query`, { path: "sandbox:list", args: {} })).body).toMatchObject({
      status: "success",
    });
  });

  it("accepts calls from pages of any origin", async () => {
    const preflight = await fetch(`${api}/api/query`, {
      method: "OPTIONS",
      headers: {
        origin: "http://app.test",
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization",
      },
    });
    expect(preflight.status).toBe(200);
    expect(Object.fromEntries(preflight.headers)).toMatchObject({
      "access-control-allow-origin": "http://app.test",
      "access-control-allow-credentials": "true",
      "access-control-allow-headers": "authorization",
      "access-control-max-age": "86400",
    });
    const answer = await fetch(`${api}/version`, { headers: { origin: "http://app.test" } });
    expect(answer.headers.get("access-control-allow-origin")).toBe("http://app.test");
  });

  it("has no HTTP actions on either port, and refuses what it does not simulate", async () => {
    const none = { status: 404, text: "This Convex deployment does not have HTTP actions enabled." };
    expect(await get(`${site}/any/path?x=1`)).toEqual(none);
    expect(await get(`${api}/http/any/path`)).toEqual(none);
    expect(await get(`${api}/api/export/zip/1`)).toMatchObject({ status: 403 });
    expect(await get(`${api}/nothing`)).toMatchObject({ status: 404 });
  });

  it("survives clients that disconnect in the middle of a request", async () => {
    for (const address of [`${api}/echo`, `${api}/api/query`, `${api}/api/v1/pause_deployment`, `${site}/action`])
      (await halfARequest(address)).destroy();
    expect((await get(`${api}/version`)).status).toBe(200);
    expect(await backend.isRunning()).toBe(true);
  });

  it("answers again after a restart of Postgres", async () => {
    await postgres.restart();
    await waitFor(
      "a row to be read again",
      20,
      async () => (await post(`${api}/api/query`, { path: "sandbox:list", args: {} })).status === 200,
    );
  });

  it("answers four HTTP actions at the same time, and the version besides", async () => {
    const pending = await Promise.all([1, 2, 3, 4].map(() => halfARequest(`${site}/upload`)));
    try {
      await expect(fetch(`${site}/`, { signal: AbortSignal.timeout(1000) })).rejects.toThrow("timeout");
      expect((await get(`${site}/version`)).status).toBe(200);
      const fifth = get(`${site}/`);
      pending[0]?.write("rest");
      expect((await fifth).status).toBe(404);
    } finally {
      pending.forEach((socket) => socket.destroy());
    }
  });
});

describe("configuration traps", () => {
  let idle: TestContainer;

  beforeAll(async () => {
    idle = await sandbox.run(image, { entrypoint: ["sleep", "infinity"] });
  });

  /** Starts a backend that must fail. In an existing container, because there are many of these. */
  async function refused(env: Record<string, string>): Promise<{ code: number; output: string }> {
    return await idle.tryExec(["./run_backend.sh"], { env: { ...environment(), ...env }, withErrors: true });
  }

  it.each([
    [
      "a database's name in the URL",
      () => ({ POSTGRES_URL: postgres.url("/convex") }),
      "cluster url already contains db name: /convex",
    ],
    ["no user", () => ({ POSTGRES_URL: "postgresql://database.test" }), "cluster url username must be set"],
    ["no URL", () => ({ POSTGRES_URL: "host=database.test user=convex" }), "invalid postgres connection url"],
    [
      "an SSL mode the driver does not know",
      () => ({ POSTGRES_URL: postgres.url("?sslmode=verify-full") }),
      "invalid value for option `sslmode`",
    ],
    [
      "a database that does not exist",
      () => ({ INSTANCE_NAME: "Other-Name" }),
      'db error: FATAL: database "Other_Name" does not exist',
    ],
    [
      "a wrong password",
      () => ({ POSTGRES_URL: postgres.url().replace(PASSWORD, "wrong") }),
      'db error: FATAL: password authentication failed for user "convex"',
    ],
    [
      "a closed port",
      () => ({ POSTGRES_URL: `postgresql://convex@database.test:1` }),
      "error connecting to server: Connection refused (os error 111)",
    ],
    [
      "an unknown host",
      () => ({ POSTGRES_URL: postgres.url("", "nowhere.invalid") }),
      "error connecting to server: failed to lookup address information",
    ],
    [
      "no TLS where it is required",
      () => ({ DO_NOT_REQUIRE_SSL: "" }),
      "error performing TLS handshake: server does not support TLS",
    ],
    [
      "sslmode=disable without the flag, which loses",
      () => ({ DO_NOT_REQUIRE_SSL: "", POSTGRES_URL: postgres.url("?sslmode=disable") }),
      "error performing TLS handshake: server does not support TLS",
    ],
    [
      "an empty POSTGRES_URL, which means SQLite",
      () => ({ POSTGRES_URL: "" }),
      "--db: the database is sqlite, this stand-in only simulates Postgres.",
    ],
    [
      "MySQL",
      () => ({ POSTGRES_URL: "", MYSQL_URL: "mysql://a" }),
      "--db: the database is mysql-v5, this stand-in only simulates Postgres.",
    ],
    [
      "an API origin without a scheme",
      () => ({ CONVEX_CLOUD_ORIGIN: "a.test" }),
      "Origin url should start with https:// or http:// but got 'a.test'",
    ],
    [
      "a site origin without a scheme",
      () => ({ CONVEX_SITE_ORIGIN: "b.test" }),
      "Site url should start with https:// or http:// but got 'b.test'",
    ],
    ["a secret that is not hexadecimal", () => ({ INSTANCE_SECRET: "secret" }), "Couldn't hexdecode key"],
    ["a short secret", () => ({ INSTANCE_SECRET: "00ff" }), "Hex-decoded key was 2 bytes, not 32"],
    [
      "a beacon flag that is no boolean",
      () => ({ DISABLE_BEACON: "never" }),
      "invalid value 'never' for '--disable-beacon'",
    ],
    ["a beacon flag that is empty", () => ({ DISABLE_BEACON: "" }), "invalid value '' for '--disable-beacon'"],
    ["a CA file that is not there", () => ({ PG_CA_FILE: "/none.pem" }), "Failed to read CA file: /none.pem"],
    [
      "a CA file that is none",
      () => ({ PG_CA_FILE: "/etc/hostname" }),
      "Failed to parse CA file as PEM: /etc/hostname",
    ],
  ])("%s: exits with the known text", async (_name, env, message) => {
    const { code, output } = await refused(env());
    expect(output).toContain(`Error: ${message}`);
    expect(code).toBe(1);
    expect(output).not.toContain(PASSWORD);
    expect(output).not.toContain(SECRET);
  });

  it("`false` switches presence flags on, but other settings accept only `true`", async () => {
    const backend = await run({
      DO_NOT_REQUIRE_SSL: "false",
      DISABLE_BEACON: "false",
      REDACT_LOGS_TO_CLIENT: "0",
      DISABLE_METRICS_ENDPOINT: "1",
    });
    const api = await backend.answers(3210);
    const flags = await backend.exec(["bash", "-c", "tr '\\0' ' ' </proc/1/cmdline"]);
    for (const flag of ["--do-not-require-ssl", "--disable-beacon", "--redact-logs-to-client"])
      expect(flags).toContain(flag);
    expect(await backend.logs()).toContain("Invalid value 1 for DISABLE_METRICS_ENDPOINT, falling back to false");
    expect((await get(`${api}/metrics`)).status).toBe(200);
  });

  it("disables the metrics on both ports for exactly `true`; shows the configured version on one", async () => {
    const backend = await run({ DISABLE_METRICS_ENDPOINT: "true", CONVEX_RELEASE_VERSION_DEV: "v1" });
    const [api, site] = [await backend.answers(3210), await backend.answers(3211)];
    const disabled = { status: 404, text: '{"code":"MetricsDisabled","message":"/metrics endpoint disabled"}' };
    expect(await get(`${api}/metrics`)).toEqual(disabled);
    expect(await get(`${site}/metrics`)).toEqual(disabled);
    expect((await get(`${api}/version`)).text).toBe("v1");
    expect((await get(`${site}/version`)).text).toBe("unknown");
  });

  it("accepts DATABASE_URL with a warning, and an incomplete set of S3 variables with another", async () => {
    const backend = await run({
      POSTGRES_URL: "",
      DATABASE_URL: postgres.url(),
      AWS_REGION: "fra1",
      S3_STORAGE_FILES_BUCKET: "files",
    });
    await backend.answers(3210);
    const log = await backend.logs();
    expect(log).toContain("Warning: DATABASE_URL is deprecated. Please use POSTGRES_URL for PostgreSQL or MYSQL_URL");
    expect(log).toContain("Warning: Some AWS/S3 environment variables are missing. Falling back to local storage.");
    expect(log).toContain(
      "Missing variables: S3_STORAGE_EXPORTS_BUCKET S3_STORAGE_MODULES_BUCKET S3_STORAGE_SEARCH_BUCKET S3_STORAGE_SNAPSHOT_IMPORTS_BUCKET",
    );
  });

  it("refuses S3 on a database that was first used with local storage", async () => {
    await (await run({})).answers(3210);
    const { output } = await refused({
      AWS_REGION: "fra1",
      S3_STORAGE_EXPORTS_BUCKET: "a",
      S3_STORAGE_FILES_BUCKET: "b",
      S3_STORAGE_MODULES_BUCKET: "c",
      S3_STORAGE_SEARCH_BUCKET: "d",
      S3_STORAGE_SNAPSHOT_IMPORTS_BUCKET: "e",
    });
    expect(output).toContain(
      'Error: Database was initialized with Some(Local { dir: "/convex/data/storage" }), but backend started up with S3.',
    );
  });

  it("keeps the given credentials for later runs without any", async () => {
    const data = await sandbox.volume("credentials");
    const settings = { binds: [`${data}:/convex/data`] };
    await (await run({}, settings)).answers(3210);
    const api = await (await run({ INSTANCE_NAME: "", INSTANCE_SECRET: "" }, settings)).answers(3210);
    expect((await get(`${api}/instance_name`)).text).toBe(NAME);
    expect((await get(`${api}/api/check_admin_key`, asAdmin())).status).toBe(200);
  });

  it("makes a name and a secret if it has none", async () => {
    const api = await (await run({ INSTANCE_NAME: "", INSTANCE_SECRET: "" })).answers(3210);
    expect((await get(`${api}/instance_name`)).text).toBe("convex-self-hosted");
    expect((await get(`${api}/api/check_admin_key`, asAdmin())).status).toBe(401);
  });
});

describe("TLS to Postgres", () => {
  let certificate: string;
  let folder: string;

  beforeAll(async () => {
    certificate = await postgres.enableTls("DNS:database.test");
    folder = await mkdtemp(path.join(os.tmpdir(), "images-ca-"));
    await writeFile(path.join(folder, "ca.pem"), certificate);
  });

  afterAll(async () => {
    await postgres.disableTls();
    await rm(folder, { recursive: true });
  });

  const usesTls = async () => {
    const rows = await postgres.query<{ ssl: boolean }>(
      "postgres",
      "SELECT DISTINCT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE usename = 'convex'",
    );
    return rows.map(({ ssl }) => ssl);
  };

  const untrusted = "Error: error performing TLS handshake: invalid peer certificate: UnknownIssuer";
  const trusting = () => ({ binds: [`${folder}:/ca:ro`] });

  it.each([
    ["required", ""],
    ["preferred", "1"],
  ])("%s: an untrusted certificate fails", async (_name, flag) => {
    const backend = await run({ DO_NOT_REQUIRE_SSL: flag });
    expect(await backend.ended()).toBe(1);
    expect(await backend.logs()).toContain(untrusted);
  });

  it.each([
    ["required", ""],
    ["preferred", "1"],
  ])("%s: a trusted certificate is used", async (_name, flag) => {
    const backend = await run({ DO_NOT_REQUIRE_SSL: flag, PG_CA_FILE: "/ca/ca.pem" }, trusting());
    await backend.answers(3210);
    expect(await usesTls()).toEqual([true]);
  });

  it("required: a trusted certificate for another name fails", async () => {
    const byAddress = { DO_NOT_REQUIRE_SSL: "", POSTGRES_URL: postgres.url("", sandbox.network.gateway) };
    const backend = await run({ ...byAddress, PG_CA_FILE: "/ca/ca.pem" }, trusting());
    expect(await backend.ended()).toBe(1);
    expect(await backend.logs()).toContain("invalid peer certificate: NotValidForName");
  });

  it("disabled by both the URL and the flag: plain text, whatever the server offers", async () => {
    const backend = await run({ POSTGRES_URL: postgres.url("?sslmode=disable") });
    await backend.answers(3210);
    expect(await usesTls()).toEqual([false]);
  });
});

describe("the lease", () => {
  it("belongs to the backend that started last; the other one logs the loss and exits with 0", async () => {
    const first = await run({});
    await first.answers(3210);
    const second = await run({});
    const api = await second.answers(3210);
    expect(await first.ended()).toBe(0);
    const log = await first.logs();
    expect(log).toContain("Lease Lost");
    expect(log).toContain("Received a fatal error. Shutting down immediately");
    expect(await second.isRunning()).toBe(true);
    expect((await post(`${api}/api/mutation`, { path: "sandbox:put", args: { key: "c" } })).body).toMatchObject({
      status: "success",
    });
  });

  it("cannot be acquired if the one in the database is from the future", async () => {
    await postgres.createDatabase("future");
    const settings = { INSTANCE_NAME: "future" };
    const first = await run(settings);
    await first.answers(3210);
    await first.signal("SIGINT");
    await first.ended();
    await postgres.query("future", "UPDATE leases SET ts = ts + 3600 * 1000000000::bigint");
    const second = await run(settings);
    expect(await second.ended()).toBe(1);
    expect(await second.logs()).toContain("Error: failed to acquire lease: Already acquired with higher timestamp");
  });

  it("cannot be acquired in a database that is being migrated", async () => {
    await postgres.createDatabase("migrated");
    const settings = { INSTANCE_NAME: "migrated" };
    await (await run(settings)).answers(3210);
    await postgres.query("migrated", "INSERT INTO read_only (id) VALUES (1)");
    const second = await run(settings);
    expect(await second.ended()).toBe(1);
    expect(await second.logs()).toContain("Error: persistence is read-only, data migration in progress");
  });
});

describe("the end", () => {
  it("comes in order after SIGINT: a pending request is answered first", async () => {
    const backend = await run({});
    const api = await backend.answers(3210);
    const socket = await halfARequest(`${api}/echo`);
    await backend.signal("SIGINT");
    await waitFor("the backend to close its port", 20, () =>
      fetch(`${api}/version`).then(
        () => false,
        () => true,
      ),
    );
    expect(await backend.isRunning()).toBe(true);
    socket.write("rest");
    expect(await text(socket)).toContain("halfrest");
    expect(await backend.ended()).toBe(0);
  });

  it("comes immediately after a second SIGINT, and not at all after SIGTERM", async () => {
    const backend = await run({});
    const api = await backend.answers(3210);
    await backend.signal("SIGTERM");
    const socket = await halfARequest(`${api}/echo`);
    await backend.signal("SIGINT");
    await waitFor("the first signal to be noticed", 20, async () => (await backend.logs()).includes("interrupted: "));
    expect(await backend.isRunning()).toBe(true);
    await backend.signal("SIGINT");
    expect(await backend.ended()).toBe(0);
    socket.destroy();
  });
});
