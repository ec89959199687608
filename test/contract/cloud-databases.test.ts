import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { serveTestCloud, temporaryHome, textOf } from "./cloud-harness.ts";
import type { Answer, Json, TestCloud } from "./cloud-harness.ts";

let home: Awaited<ReturnType<typeof temporaryHome>>;
let cloud: TestCloud;

beforeAll(async () => {
  home = await temporaryHome();
  cloud = await serveTestCloud(home);
});
afterAll(async () => {
  await cloud[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
});
afterEach(async () => {
  for (const { id } of cloud.cloud.store.state.databases) await cloud.call("DELETE", `/v2/databases/${id}`);
});

const SMALL = { name: "main", engine: "pg", version: "17", region: "fra1", size: "db-s-1vcpu-1gb", num_nodes: 1 };
const LARGER = { ...SMALL, size: "db-s-1vcpu-2gb" };

/** A call for one cluster. */
const on = (id: string, method: string, path: string, body?: unknown): Promise<Answer> =>
  cloud.call(method, `/v2/databases/${id}${path}`, body);

async function post(settings: object = {}): Promise<Json> {
  const { status, body } = await cloud.call("POST", "/v2/databases", { ...SMALL, ...settings });
  expect([status, body.message]).toEqual([201, undefined]);
  return body.database ?? {};
}

async function get(id: string): Promise<Json> {
  return (await on(id, "GET", "")).body.database ?? {};
}

async function untilOnline(id: string): Promise<Json> {
  await expect.poll(async () => (await get(id)).status).toBe("online");
  return get(id);
}

/** A cluster that is online. */
async function create(settings: object = {}): Promise<string> {
  const id = textOf((await post(settings)).id);
  await untilOnline(id);
  return id;
}

async function refused(answer: Promise<Answer>): Promise<unknown[]> {
  const { status, body } = await answer;
  return [status, body.message];
}

describe("a database cluster", () => {
  it("is created with its names and password, and comes online later", async () => {
    const made = await post();
    const id = textOf(made.id);
    const host = /^main-do-user-\d+-0\.[a-p]\.db\.ondigitalocean\.com$/;
    const password = /^AVNS_[\w-]{19}$/;
    expect(made).toMatchObject({
      ...{ ...SMALL, status: "creating", storage_size_mib: 10_240, users: null, db_names: null, tags: null },
      connection: {
        ...{ host: expect.stringMatching(host) as string, password: expect.stringMatching(password) as string },
        ...{ port: 25060, user: "doadmin", database: "defaultdb", ssl: true },
      },
    });
    const connection = made.connection ?? {};
    expect(connection.uri).toBe(
      `postgresql://doadmin:${textOf(connection.password)}@${textOf(connection.host)}:25060/defaultdb?sslmode=require`,
    );
    expect(made.private_connection?.host).toBe(`private-${textOf(connection.host)}`);
    expect(made).not.toHaveProperty("standby_connection");

    expect(await untilOnline(id)).toMatchObject({
      ...{ semantic_version: "17.6", db_names: ["defaultdb"], connection },
      users: [{ name: "doadmin", role: "primary", password: connection.password }],
    });
    expect(cloud.hypervisor.databases.get(id)).toMatchObject({ memoryMegabytes: 1024, maxConnections: 25 });
  });

  it("is listed, by tag if wanted, belongs to the project, and counts among what is tagged", async () => {
    const id = await create({ tags: ["convex"] });
    const listed = async (query: string) =>
      ((await cloud.call("GET", `/v2/databases${query}`)).body.databases as unknown as Json[]).map((one) => one.id);
    expect(await listed("")).toEqual([id]);
    expect(await listed("?tag_name=convex")).toEqual([id]);
    expect(await listed("?tag_name=other")).toEqual([]);
    const { body } = await cloud.call("GET", "/v2/projects/default/resources");
    const self = `${cloud.url}/v2/databases/${id}`;
    expect(body.resources?.[0]).toMatchObject({ urn: `do:dbaas:${id}`, links: { self } });
    const resources = [{ resource_id: id, resource_type: "database" }];
    expect((await cloud.call("DELETE", "/v2/tags/convex/resources", { resources })).status).toBe(204);
    expect((await get(id)).tags).toBeNull();
    expect((await cloud.call("POST", "/v2/tags/convex/resources", { resources })).status).toBe(204);
    const { body: tag } = await cloud.call("GET", "/v2/tags/convex");
    expect(tag.tag?.resources?.databases).toMatchObject({ count: 1 });
  });

  it("is gone at once when it is deleted, with its servers, and is deleted once", async () => {
    const id = await create();
    expect((await on(id, "DELETE", "")).status).toBe(204);
    for (const method of ["GET", "DELETE"]) expect((await on(id, method, "")).status).toBe(404);
    expect((await on(id, "PUT", "/resize", { size: SMALL.size, num_nodes: 1 })).status).toBe(404);
    await expect.poll(() => cloud.hypervisor.databases.size).toBe(0);
    expect((await cloud.call("GET", "/v2/projects/default/resources")).body.resources).toEqual([]);
    await create();
  });

  it.each([
    ["invalid cluster name", { name: "with_underscore" }],
    ["invalid cluster name", { name: "Upper" }],
    ["invalid cluster name", { name: "n".repeat(31) }],
    ["invalid cluster engine", { engine: "oracle" }],
    ["invalid cluster engine version", { version: "9" }],
    ["invalid region", { region: "mars1" }],
    ["invalid size", { size: "s-1vcpu-1gb" }],
    ["invalid node count", { num_nodes: 0 }],
    ["invalid node count", { num_nodes: 2 }],
    ["invalid node count", { size: "db-s-1vcpu-2gb", num_nodes: 4 }],
    ["invalid storage size", { storage_size_mib: 10_241 }],
    ["invalid storage size", { size: "db-s-1vcpu-2gb", storage_size_mib: 10_240 }],
    ["invalid private network uuid", { private_network_uuid: "7a2f4c1e-0000-4000-8000-000000000000" }],
    ["droplet 12 not found", { rules: [{ type: "droplet", value: "12" }] }],
  ])("is refused: %s, with %o", async (message, settings) => {
    expect(await refused(cloud.call("POST", "/v2/databases", { ...SMALL, ...settings }))).toEqual([422, message]);
    expect(cloud.cloud.store.state.databases).toEqual([]);
  });

  it("is refused under a name in use, and with an engine that is not simulated", async () => {
    await create();
    expect(await refused(cloud.call("POST", "/v2/databases", SMALL))).toEqual([422, "cluster name is not available"]);
    expect((await cloud.call("POST", "/v2/databases", { ...SMALL, name: "m", engine: "mysql" })).status).toBe(422);
    expect((await cloud.call("POST", "/v2/databases", { ...SMALL, name: "sql", engine: "mysql" })).status).toBe(501);
  });

  it("is resized, to larger servers, more of them and more storage, but not to smaller ones", async () => {
    const id = await create();
    const resize = (body: object) => on(id, "PUT", "/resize", body);
    await cloud.call("POST", "/_control/faults", { kind: "action", action: "database_resizing" });
    expect((await resize({ size: LARGER.size, num_nodes: 2 })).status).toBe(202);
    // It tries again two seconds later.
    expect(await get(id)).toMatchObject({ status: "resizing", size: LARGER.size, num_nodes: 2 });
    expect(await untilOnline(id)).toMatchObject({ storage_size_mib: 30_720 });
    expect(cloud.hypervisor.databases.get(id)).toMatchObject({ nodes: [200, 201], maxConnections: 50 });
    const [{ host = "" } = {}, standby] = [(await get(id)).connection, (await get(id)).standby_connection];
    expect(standby?.host).toBe(`replica-${textOf(host)}`);

    await cloud.call("POST", "/_control/faults", { kind: "action", action: "database_resizing" });
    await resize({ size: LARGER.size, num_nodes: 1, storage_size_mib: 40_960 });
    // The number of a server that is not removed yet is not free.
    await post({ name: "other" });
    expect(cloud.cloud.store.state.databases[1]?.nodes).toEqual([202]);
    expect(await untilOnline(id)).toMatchObject({ num_nodes: 1, storage_size_mib: 40_960 });
    expect(await refused(resize({ size: SMALL.size, num_nodes: 1, storage_size_mib: 40_960 }))).toEqual([
      422,
      "cluster cannot be resized to a smaller size",
    ]);
    expect(await refused(resize({ size: LARGER.size, num_nodes: 1, storage_size_mib: 30_720 }))).toEqual([
      422,
      "storage size cannot be decreased",
    ]);
    expect(await refused(resize({ size: LARGER.size }))).toEqual([422, "num_nodes must be present."]);
  });

  it("moves to another region, and has no other version to upgrade to", async () => {
    const id = await create();
    expect((await on(id, "PUT", "/migrate", { region: "nyc3" })).status).toBe(202);
    expect((await untilOnline(id)).region).toBe("nyc3");
    expect((await on(id, "PUT", "/upgrade", { version: "18" })).status).toBe(422);
  });

  it("has a maintenance window", async () => {
    const id = await create();
    const window = { day: "sunday", hour: "14:00" };
    expect((await on(id, "PUT", "/maintenance", window)).status).toBe(204);
    expect((await get(id)).maintenance_window).toMatchObject({ day: "sunday", hour: "14:00:00" });
    expect((await on(id, "PUT", "/maintenance", { ...window, day: "someday" })).status).toBe(422);
    expect((await on(id, "PUT", "/maintenance", { ...window, hour: "25:00" })).status).toBe(422);
  });

  it("shows the certificate of its authority when it is online", async () => {
    const id = await create();
    const { body } = await on(id, "GET", "/ca");
    expect(Buffer.from(textOf(body.ca?.certificate), "base64").toString()).toContain("BEGIN CERTIFICATE");
    expect((await on("7a2f4c1e-0000-4000-8000-000000000000", "GET", "/ca")).status).toBe(404);
  });

  it("shows what can be chosen: the smallest size has no standby", async () => {
    const { body } = await cloud.call("GET", "/v2/databases/options");
    const pg = body.options?.pg ?? {};
    expect(pg.layouts?.[0]?.sizes).toContain(SMALL.size);
    expect(pg.layouts?.[1]?.sizes).not.toContain(SMALL.size);
    expect(pg.default_version).toBe("17");
  });
});

describe("its trusted sources", () => {
  const rulesOf = async (id: string) => (await on(id, "GET", "/firewall")).body.rules as unknown as Json[];
  const trust = (id: string, ...rules: object[]) => on(id, "PUT", "/firewall", { rules });
  const entrance = () => cloud.hypervisor.entrances[0]?.trusted;

  it("are everyone without a rule, and in force when the answer comes", async () => {
    const id = await create();
    expect(cloud.hypervisor.entrances).toMatchObject([{ node: 200, publicAddress: `${home.addressPrefix}.200` }]);
    expect(entrance()).toBeUndefined();
    const { body } = await cloud.call("POST", "/v2/droplets", {
      ...{ name: "host", region: "fra1", size: "s-1vcpu-1gb", image: "debian-13-x64", tags: ["convex"] },
    });
    const droplet = textOf(body.droplet?.id);
    expect((await trust(id, { type: "droplet", value: droplet })).status).toBe(204);
    expect(entrance()).toEqual({ networks: [], dropletIds: [Number(droplet)] });
    await trust(
      id,
      { type: "tag", value: "convex" },
      { type: "ip_addr", value: "192.0.2.0/24", description: "office" },
    );
    expect(entrance()).toEqual({ networks: ["192.0.2.0/24"], dropletIds: [Number(droplet)] });
    const uuid = expect.stringMatching(/^[0-9a-f-]{36}$/) as string;
    expect(await rulesOf(id)).toMatchObject([
      { type: "tag", value: "convex", uuid, cluster_uuid: id },
      { type: "ip_addr", value: "192.0.2.0/24", uuid, description: "office" },
    ]);
    await trust(id);
    expect(entrance()).toBeUndefined();
  });

  it("keep their ids as long as they stay", async () => {
    const id = await create();
    await trust(id, { type: "ip_addr", value: "192.0.2.1" });
    const [before] = await rulesOf(id);
    await trust(id, { type: "ip_addr", value: "192.0.2.2" }, { type: "ip_addr", value: "192.0.2.1" });
    expect((await rulesOf(id))[1]).toEqual(before);
  });

  it.each([
    ["droplet 12 not found", [{ type: "droplet", value: "12" }]],
    ["tag nothing not found", [{ type: "tag", value: "nothing" }]],
    ["k8s 7a2f not found", [{ type: "k8s", value: "7a2f" }]],
    ["app 7a2f not found", [{ type: "app", value: "7a2f" }]],
    ["invalid IPv4 address or network: 2001:db8::1", [{ type: "ip_addr", value: "2001:db8::1" }]],
    ["invalid IPv4 address or network: 192.0.2.1/33", [{ type: "ip_addr", value: "192.0.2.1/33" }]],
    ["invalid firewall rule type: volume", [{ type: "volume", value: "1" }]],
    ["duplicate firewall rule", Array.from({ length: 2 }, () => ({ type: "ip_addr", value: "192.0.2.1" }))],
    [
      "a database cluster can have 100 trusted sources at most",
      Array.from({ length: 101 }, (_, index) => ({ type: "ip_addr", value: `192.0.2.${index}` })),
    ],
  ])("are refused: %s", async (message, rules) => {
    const id = await create();
    expect(await refused(trust(id, ...rules))).toEqual([422, message]);
    expect(await rulesOf(id)).toEqual([]);
  });
});

describe("its users", () => {
  it("are made with a password, which can be replaced, and deleted", async () => {
    const id = await create();
    const { status, body } = await on(id, "POST", "/users", { name: "app" });
    expect([status, body.user]).toMatchObject([201, { name: "app", role: "normal" }]);
    const passwordOf = () => cloud.hypervisor.databases.get(id)?.users[1]?.password;
    expect(passwordOf()).toBe(body.user?.password);
    const { body: reset } = await on(id, "POST", "/users/app/reset_auth", {});
    expect(reset.user?.password).not.toBe(body.user?.password);
    expect(passwordOf()).toBe(reset.user?.password);
    expect((await on(id, "PUT", "/users/app", { settings: { pg_allow_replication: true } })).status).toBe(201);
    expect(cloud.hypervisor.databases.get(id)?.users[1]).toMatchObject({ mayReplicate: true });
    expect((await on(id, "GET", "/users")).body.users).toMatchObject([{ name: "doadmin" }, { name: "app" }]);
    expect((await on(id, "DELETE", "/users/app")).status).toBe(204);
    expect(cloud.hypervisor.calls).toContain('queryDatabase defaultdb drop role if exists "app"');
    expect((await on(id, "GET", "/users/app")).status).toBe(404);
  });

  it("are refused with a name that exists, and the administrator stays", async () => {
    const id = await create();
    expect(await refused(on(id, "POST", "/users", { name: "doadmin" }))).toEqual([409, "user already exists"]);
    expect(await refused(on(id, "POST", "/users", { name: "" }))).toEqual([422, "invalid user name"]);
    expect((await on(id, "DELETE", "/users/doadmin")).status).toBe(422);
    expect((await on(id, "DELETE", "/users/nobody")).status).toBe(404);
  });
});

describe("its databases", () => {
  it("are made and deleted, but the default one stays", async () => {
    const id = await create();
    expect(await on(id, "POST", "/dbs", { name: "app" })).toMatchObject({ status: 201, body: { db: { name: "app" } } });
    expect(cloud.hypervisor.databases.get(id)?.databases).toEqual(["defaultdb", "app"]);
    expect((await on(id, "GET", "/dbs")).body.dbs).toEqual([{ name: "defaultdb" }, { name: "app" }]);
    expect((await on(id, "POST", "/dbs", { name: "app" })).status).toBe(409);
    expect((await on(id, "GET", "/dbs/app")).status).toBe(200);
    expect((await on(id, "DELETE", "/dbs/app")).status).toBe(204);
    expect((await on(id, "GET", "/dbs/app")).status).toBe(404);
    expect((await on(id, "DELETE", "/dbs/defaultdb")).status).toBe(422);
  });
});

describe("its configuration", () => {
  it("has defaults, and reaches PostgreSQL", async () => {
    const id = await create();
    expect((await on(id, "GET", "/config")).body.config).toMatchObject({ work_mem: 4, max_connections: 25 });
    expect((await on(id, "PATCH", "/config", { config: { work_mem: 8 } })).status).toBe(200);
    expect(cloud.hypervisor.databases.get(id)?.settings).toEqual({ work_mem: "8MB" });
    expect((await on(id, "PATCH", "/config", { config: { work_mem: 0 } })).status).toBe(422);
    expect((await on(id, "PATCH", "/config", { config: { stat_monitor_enable: true } })).status).toBe(501);
    expect((await on(id, "PATCH", "/config", {})).status).toBe(400);
  });
});

describe("its backups", () => {
  it("begin with one after the start, from which another cluster is made", async () => {
    const id = await create();
    const backups = async () => (await on(id, "GET", "/backups")).body.backups as unknown as Json[];
    await expect.poll(backups).toHaveLength(1);
    await on(id, "POST", "/users", { name: "app" });
    const fork = (settings: object) =>
      cloud.call("POST", "/v2/databases", { ...LARGER, name: "fork", backup_restore: settings });
    const first = textOf((await backups())[0]?.created_at);
    expect((await fork({ database_name: "nothing" })).status).toBe(404);
    for (const time of ["2020-01-01T00:00:00Z", "2120-01-01T00:00:00Z", "yesterday"]) {
      expect((await fork({ database_name: "main", backup_created_at: time })).status).toBe(422);
    }
    await expect.poll(async () => (await fork({ database_name: "main", backup_created_at: first })).status).toBe(201);
    const [, made] = cloud.cloud.store.state.databases;
    expect(await untilOnline(made?.id ?? "")).toMatchObject({ db_names: ["defaultdb"], num_nodes: 1 });
    const spec = cloud.hypervisor.databases.get(made?.id ?? "");
    expect(spec?.restore).toMatchObject({ cluster: { id } });
    expect(spec?.users.map(({ name }) => name)).toEqual(["doadmin", "app"]);
  });
});

describe("a failure of its server", () => {
  const control = (id: string, action: string) => cloud.call("POST", `/_control/databases/${id}`, { action });

  it("makes a standby the primary, to which the names lead", async () => {
    const id = await create({ ...LARGER, num_nodes: 2 });
    const names = () =>
      cloud.hypervisor.entrances.map(({ node, publicNames: [name = ""] }) => [node, name.split("-")[0]]);
    expect(names()).toEqual([
      [200, "main"],
      [201, "replica"],
    ]);
    expect((await control(id, "fail")).status).toBe(204);
    expect(cloud.hypervisor.calls).toContain("killDatabaseNode 200");
    expect(cloud.hypervisor.databases.get(id)?.nodes).toEqual([201, 200]);
    expect(names()).toEqual([
      [201, "main"],
      [200, "replica"],
    ]);
  });

  it("starts the only server again, but not one that is told to stay down", async () => {
    const id = await create();
    const starts = () => cloud.hypervisor.calls.filter((call) => call === "runDatabase 200").length;
    const before = starts();
    await control(id, "fail");
    expect(starts()).toBe(before + 1);
    await control(id, "down");
    expect(starts()).toBe(before + 1);
    await control(id, "up");
    expect(starts()).toBe(before + 2);
    expect((await control(id, "explode")).status).toBe(422);
  });
});

describe("a cloud that starts again", () => {
  it("starts the servers, and finishes what was begun", async () => {
    const id = await create();
    const { name } = cloud.cloud.store.state.databases[0] ?? {};
    await cloud[Symbol.asyncDispose]();
    cloud = await serveTestCloud(home);
    await expect.poll(() => cloud.hypervisor.databases.has(id)).toBe(true);
    expect(await get(id)).toMatchObject({ name, status: "online" });
    await expect.poll(() => cloud.hypervisor.entrances).toHaveLength(1);
  });

  it("tries again after a failure", async () => {
    cloud.hypervisor.failing.add("runDatabase");
    const { id } = await post();
    await expect.poll(async () => (await get(textOf(id))).status, { timeout: 10_000 }).toBe("online");
    expect(cloud.log.join("\n")).toContain(`database ${textOf(id)}: Error: runDatabase fails, as told`);
  });
});
