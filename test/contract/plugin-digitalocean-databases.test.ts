import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { Secret, UNKNOWN } from "../../sandbox/plugins/framework/values.ts";
import { serveTestCloud, temporaryHome, textOf } from "./cloud-harness.ts";
import type { Json, TestCloud } from "./cloud-harness.ts";
import { type Made, PluginClient } from "./plugin-client.ts";
import { Waits } from "./plugin-clock.ts";
import { expectSame, isOriginal, standInOnly } from "./plugin-subject.ts";

const CLUSTER = "digitalocean:index/databaseCluster:DatabaseCluster";
const DROPLET = "digitalocean:index/droplet:Droplet";
const FIREWALL = "digitalocean:index/databaseFirewall:DatabaseFirewall";
const GET_CA = "digitalocean:index/getDatabaseCa:getDatabaseCa";

let home: Awaited<ReturnType<typeof temporaryHome>>;
let folder: string;
let cloud: TestCloud;
let waits: Waits;
let plugin: PluginClient;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "plugin-databases-"));
  waits = new Waits(path.join(folder, "sleeps"), isOriginal("digitalocean"));
  plugin = await PluginClient.start("digitalocean", {
    standIn: path.resolve("test/contract/plugin-digitalocean-main.ts"),
    env: { PLUGIN_SLEEPS: path.join(folder, "sleeps"), DIGITALOCEAN_API_URL: "", DIGITALOCEAN_TOKEN: "" },
  });
});
afterAll(async () => {
  await plugin[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  home = await temporaryHome();
  cloud = await serveTestCloud(home);
  await plugin.configure({ token: cloud.token, apiEndpoint: cloud.url });
});
afterEach(async () => {
  await cloud[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
});

const SMALL = { name: "main", engine: "pg", version: "17", size: "db-s-1vcpu-1gb", region: "fra1", nodeCount: 1 };
const LARGER = { ...SMALL, size: "db-s-1vcpu-2gb" };

const fault = (settings: object) => cloud.call("POST", "/_control/faults", { kind: "request", ...settings });

async function refreshed(made: Made): Promise<Made> {
  const found = await plugin.read(made);
  if (found === undefined) throw new Error(`${made.urn}: is gone`);
  return found;
}

async function shown({ id }: Made): Promise<Json> {
  return (await cloud.call("GET", `/v2/databases/${id}`)).body.database ?? {};
}

describe("DatabaseCluster", () => {
  test("is created when the cluster is online, which it looks for every 15 seconds, with its secrets", async () => {
    waits.restart();
    const made = await plugin.create(CLUSTER, { ...SMALL, tags: ["convex"] });
    expect(waits.were(15)).toBe(true);
    const { connection = {}, private_connection: inside = {}, ...database } = await shown(made);
    expect(made.id).toBe(database.id);
    const uriOf = (host: unknown) =>
      `postgresql://doadmin:${textOf(connection.password)}@${textOf(host)}:25060/defaultdb?sslmode=require`;
    expect(made.state).toMatchObject({
      ...{ ...SMALL, tags: ["convex"], storageSizeMib: "10240" },
      ...{ host: connection.host, privateHost: inside.host, port: 25060, database: "defaultdb", user: "doadmin" },
      ...{ clusterUrn: `do:dbaas:${made.id}`, projectId: database.project_id },
      privateNetworkUuid: database.private_network_uuid,
      metricsEndpoints: [`https://${textOf(connection.host)}:9273/metrics`],
      password: new Secret(textOf(connection.password)),
      uri: new Secret(uriOf(connection.host)),
      privateUri: new Secret(uriOf(inside.host)),
    });
    expectSame(await refreshed(made), made);
    expect((await plugin.diff(await refreshed(made), { ...SMALL, tags: ["convex"] })).diffs).toEqual([]);
  });

  test("does not know in a preview what the cloud chooses", async () => {
    const { state } = await plugin.create(CLUSTER, SMALL, { preview: true });
    expect(state).toMatchObject({ ...SMALL, host: UNKNOWN, privateHost: UNKNOWN, clusterUrn: UNKNOWN });
    for (const name of ["password", "uri", "privateUri"]) {
      expect([UNKNOWN, new Secret(UNKNOWN)]).toContainEqual(state[name]);
    }
  });

  test("is resized, moved and tagged in place, and waits until it is online again", async () => {
    const made = await plugin.create(CLUSTER, SMALL);
    const wanted = { ...LARGER, nodeCount: 2, region: "nyc3", tags: ["convex"] };
    expect(await plugin.diff(made, wanted)).toMatchObject({
      diffs: ["nodeCount", "region", "size", "tags"],
      replaces: [],
    });
    waits.restart();
    const updated = await plugin.update(made, wanted);
    expect(waits.were(15, 15)).toBe(true);
    expect(updated.state).toMatchObject({ ...wanted, storageSizeMib: "30720" });
    expect(await shown(made)).toMatchObject({ num_nodes: 2, region: "nyc3", tags: ["convex"], size: LARGER.size });
    expect((await plugin.diff(await refreshed(updated), wanted)).diffs).toEqual([]);
  });

  test("gets more storage in place", async () => {
    const made = await plugin.create(CLUSTER, SMALL);
    const wanted = { ...SMALL, storageSizeMib: "20480" };
    expect((await plugin.diff(made, wanted)).diffs).toEqual(["storageSizeMib"]);
    const updated = await plugin.update(made, wanted);
    expect(updated.state).toMatchObject({ storageSizeMib: "20480" });
    // What the program no longer says stays as it is.
    expect((await plugin.diff(updated, SMALL)).diffs).toEqual([]);
  });

  test.each([
    ["name", { name: "other" }],
    ["engine", { engine: "mysql" }],
    ["projectId", { projectId: "7a2f4c1e-0000-4000-8000-000000000000" }],
    ["privateNetworkUuid", { privateNetworkUuid: "7a2f4c1e-0000-4000-8000-000000000000" }],
  ])("is replaced for another %s", async (name, change) => {
    const made = await plugin.create(CLUSTER, SMALL);
    expect(await plugin.diff(made, { ...SMALL, ...change })).toMatchObject({ diffs: [name], replaces: [name] });
  });

  test("accepts a region in upper case, and shows the API's", async () => {
    const made = await plugin.create(CLUSTER, { ...SMALL, region: "fra1" });
    expect((await plugin.diff(made, { ...SMALL, region: "FRA1" })).diffs).toEqual([]);
  });

  test("has a maintenance window, whose seconds are no difference", async () => {
    const inputs = { ...SMALL, maintenanceWindows: [{ day: "sunday", hour: "14:00" }] };
    const made = await plugin.create(CLUSTER, inputs);
    expect((await shown(made)).maintenance_window).toMatchObject({ day: "sunday", hour: "14:00:00" });
    const found = await refreshed(made);
    expect(found.state["maintenanceWindows"]).toMatchObject([{ day: "sunday", hour: "14:00:00" }]);
    expect((await plugin.diff(found, inputs)).diffs).toEqual([]);
    const wanted = { ...SMALL, maintenanceWindows: [{ day: "monday", hour: "14:00" }] };
    expect((await plugin.diff(found, wanted)).diffs).toEqual(["maintenanceWindows"]);
    await plugin.update(found, wanted);
    expect((await shown(made)).maintenance_window).toMatchObject({ day: "monday" });
  });

  test("shows a password that was replaced from outside, in the public URI one refresh later", async () => {
    const made = await plugin.create(CLUSTER, SMALL);
    await cloud.call("POST", `/v2/databases/${made.id}/users/doadmin/reset_auth`, {});
    const password = textOf((await shown(made)).connection?.password);
    const found = await refreshed(made);
    expect(found.state["password"]).toEqual(new Secret(password));
    expect(found.state["uri"]).toEqual(made.state["uri"]);
    const again = await refreshed(found);
    expect(JSON.stringify(again.state["uri"])).toContain(password);
    expect((await plugin.diff(again, SMALL)).diffs).toEqual([]);
  });

  test("is made from another cluster's backup", async () => {
    const made = await plugin.create(CLUSTER, SMALL);
    await expect
      .poll(async () => (await cloud.call("GET", `/v2/databases/${made.id}/backups`)).body.backups)
      .toHaveLength(1);
    const inputs = { ...SMALL, name: "fork", backupRestore: { databaseName: "main" } };
    let fork: Made | undefined;
    await expect.poll(async () => (fork = await plugin.create(CLUSTER, inputs)).state).toMatchObject({ name: "fork" });
    expect(cloud.hypervisor.databases.get(fork?.id ?? "")?.restore?.cluster.id).toBe(made.id);
  });

  test("needs a version, and refuses what other engines have: its plan fails, not its check", async () => {
    for (const [inputs, reason] of [
      [{ ...SMALL, version: "" }, 'The argument "version" is required, but no definition was found.'],
      [{ ...SMALL, sqlMode: "ANSI" }, "sql_mode is only supported for MySQL Database Clusters"],
      [{ ...SMALL, evictionPolicy: "noeviction" }, "eviction_policy is only supported for"],
    ] as const) {
      await expect(plugin.create(CLUSTER, inputs, { preview: true })).rejects.toThrow(reason);
    }
  });

  test.each([
    ["an empty size", { size: "" }],
    ["no servers", { nodeCount: 0 }],
    ["no day", { maintenanceWindows: [{ day: "someday", hour: "14:00" }] }],
  ])("is refused by its check with %s", async (_case, settings) => {
    await expect(plugin.check(CLUSTER, { ...SMALL, ...settings })).rejects.toThrow();
  });

  test("reports what the API refuses", async () => {
    await expect(plugin.create(CLUSTER, { ...SMALL, nodeCount: 2 })).rejects.toThrow(
      /Error creating database cluster: POST http:.*\/v2\/databases: 422 \(request ".*"\) invalid node count/,
    );
    const made = await plugin.create(CLUSTER, LARGER);
    await expect(plugin.update(made, SMALL)).rejects.toThrow(/Error resizing database cluster: PUT .*: 422 /);
    await fault({ method: "PUT", path: "/maintenance$", status: 422, message: "told to" });
    const windows = [{ day: "sunday", hour: "14:00" }];
    await expect(plugin.update(made, { ...LARGER, maintenanceWindows: windows })).rejects.toThrow(
      /Error updating maintenance window for database cluster: PUT .*: 422 .*told to/,
    );
  });

  test("gives up a wait when its time is over, and leaves a cluster that it does not know", async () => {
    await cloud.call("POST", "/_control/faults", { kind: "action", action: "database_creating", count: 100 });
    await expect(plugin.create(CLUSTER, SMALL, { timeoutSeconds: 1 })).rejects.toThrow(
      "Error creating database cluster: Timeout waiting to database cluster to become online",
    );
    expect(cloud.cloud.store.state.databases).toHaveLength(1);
  });

  test("is gone after its delete, which fails if it was gone already", async () => {
    const made = await plugin.create(CLUSTER, SMALL);
    await plugin.delete(made);
    expect(await plugin.read(made)).toBeUndefined();
    await expect(plugin.delete(made)).rejects.toThrow(/Error deleting database cluster: DELETE .*: 404 /);
  });

  standInOnly("digitalocean", "the official plugin has it")("refuses what the stand-in does not have", async () => {
    await expect(plugin.check(CLUSTER, { ...SMALL, storageAutoscale: { enabled: true } })).rejects.toThrow(
      "storageAutoscale is not implemented",
    );
  });
});

describe("DatabaseFirewall", () => {
  const office = { type: "ip_addr", value: "192.0.2.0/24" };

  test("sets all trusted sources of a cluster, changes them in place, and removes them", async () => {
    const cluster = await plugin.create(CLUSTER, SMALL);
    const host = await plugin.create(DROPLET, {
      ...{ name: "host", region: "fra1", size: "s-1vcpu-1gb", image: "debian-13-x64" },
    });
    const inputs = { clusterId: cluster.id, rules: [{ type: "droplet", value: host.id }] };
    const made = await plugin.create(FIREWALL, inputs);
    expect(made.id).toMatch(new RegExp(`^${cluster.id}-[0-9a-f]{26}$`));
    const rule = { uuid: expect.stringMatching(/^[0-9a-f-]{36}$/) as string, createdAt: expect.any(String) as string };
    expect(made.state["rules"]).toMatchObject([{ ...inputs.rules[0], ...rule }]);
    expect(cloud.hypervisor.entrances[0]?.trusted).toEqual({ networks: [], dropletIds: [Number(host.id)] });
    expectSame(await refreshed(made), made);

    const wanted = { clusterId: cluster.id, rules: [office, ...inputs.rules] };
    expect((await plugin.diff(made, { ...inputs, rules: [...inputs.rules] })).diffs).toEqual([]);
    expect(await plugin.diff(made, wanted)).toMatchObject({ diffs: ["rules"], replaces: [] });
    const updated = await plugin.update(made, wanted);
    expect(cloud.hypervisor.entrances[0]?.trusted?.networks).toEqual(["192.0.2.0/24"]);
    expect((await plugin.diff(await refreshed(updated), wanted)).diffs).toEqual([]);

    await plugin.delete(updated);
    expect(cloud.hypervisor.entrances[0]?.trusted).toBeUndefined();
  });

  test("shows after a refresh a source that was added from outside, which its next update removes", async () => {
    const cluster = await plugin.create(CLUSTER, SMALL);
    const inputs = { clusterId: cluster.id, rules: [office] };
    const made = await plugin.create(FIREWALL, inputs);
    const rules = [office, { type: "ip_addr", value: "198.51.100.7" }];
    await cloud.call("PUT", `/v2/databases/${cluster.id}/firewall`, { rules });
    const found = await refreshed(made);
    expect(found.state["rules"]).toHaveLength(2);
    expect((await plugin.diff(found, inputs)).diffs).toEqual(["rules"]);
    await plugin.update(found, inputs);
    expect(cloud.hypervisor.entrances[0]?.trusted?.networks).toEqual(["192.0.2.0/24"]);
  });

  test("is replaced for another cluster, and gone with its cluster", async () => {
    const cluster = await plugin.create(CLUSTER, SMALL);
    const made = await plugin.create(FIREWALL, { clusterId: cluster.id, rules: [office] });
    expect(await plugin.diff(made, { clusterId: "another", rules: [office] })).toMatchObject({
      replaces: ["clusterId"],
    });
    await plugin.delete(cluster);
    expect(await plugin.read(made)).toBeUndefined();
    await expect(plugin.delete(made)).rejects.toThrow(/Error deleting DatabaseFirewall: PUT .*: 404 /);
  });

  test("refuses a type that does not exist, and reports what the API refuses", async () => {
    await expect(plugin.check(FIREWALL, { clusterId: "c", rules: [{ type: "volume", value: "v" }] })).rejects.toThrow();
    const cluster = await plugin.create(CLUSTER, SMALL);
    const rules = [{ type: "droplet", value: "12" }];
    await expect(plugin.create(FIREWALL, { clusterId: cluster.id, rules })).rejects.toThrow(
      /Error creating DatabaseFirewall: PUT .*\/firewall: 422 .*droplet 12 not found/,
    );
  });
});

describe("getDatabaseCa", () => {
  test("gives the authority of the cluster's certificate, PEM", async () => {
    const cluster = await plugin.create(CLUSTER, SMALL);
    expect(await plugin.invoke(GET_CA, { clusterId: cluster.id })).toMatchObject({
      ...{ id: cluster.id, clusterId: cluster.id },
      certificate: expect.stringContaining("-----BEGIN CERTIFICATE-----") as string,
    });
    await plugin.delete(cluster);
    await expect(plugin.invoke(GET_CA, { clusterId: cluster.id })).rejects.toThrow(
      /Error retrieving database CA certificate: GET .*: 404 /,
    );
  });
});
