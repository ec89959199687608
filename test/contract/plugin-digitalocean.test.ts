import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { Secret, UNKNOWN } from "../../sandbox/plugins/framework/values.ts";
import { serveTestCloud, temporaryHome, textOf } from "./cloud-harness.ts";
import type { TestCloud } from "./cloud-harness.ts";
import { Waits } from "./plugin-clock.ts";
import { PluginClient } from "./plugin-client.ts";
import type { Inputs, Made } from "./plugin-client.ts";
import { expectSame, isOriginal, standInOnly } from "./plugin-subject.ts";

const DNS_RECORD = "digitalocean:index/dnsRecord:DnsRecord";
const DOMAIN = "digitalocean:index/domain:Domain";
const DROPLET = "digitalocean:index/droplet:Droplet";
const FIREWALL = "digitalocean:index/firewall:Firewall";
const PROJECT = "digitalocean:index/project:Project";
const RESERVED_IP = "digitalocean:index/reservedIp:ReservedIp";
const RESERVED_IP_ASSIGNMENT = "digitalocean:index/reservedIpAssignment:ReservedIpAssignment";
const SSH_KEY = "digitalocean:index/sshKey:SshKey";
const SNAPSHOT = "digitalocean:index/volumeSnapshot:VolumeSnapshot";
const VOLUME = "digitalocean:index/volume:Volume";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
const OTHER_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJ1Q2vKq9nPhZ0k3yq2m8m5qk1l0c8R2T3y5o9a7b1cD";

let home: Awaited<ReturnType<typeof temporaryHome>>;
let folder: string;
let cloud: TestCloud;
let waits: Waits;
let plugin: PluginClient;

beforeAll(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "plugin-digitalocean-"));
  waits = new Waits(path.join(folder, "sleeps"), isOriginal("digitalocean"));
  plugin = await start();
});
afterAll(async () => {
  await plugin[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
beforeEach(async () => {
  home = await temporaryHome();
  cloud = await serveTestCloud(home);
  await plugin.configure(settings());
});
afterEach(async () => {
  await cloud[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
});

const settings = () => ({ token: cloud.token, apiEndpoint: cloud.url });

/** Whether there were this many fixed waits before a first look. */
const delays = (count: number): boolean => waits.had(count, 10);

function start(): Promise<PluginClient> {
  return PluginClient.start("digitalocean", {
    standIn: path.resolve("test/contract/plugin-digitalocean-main.ts"),
    env: { PLUGIN_SLEEPS: path.join(folder, "sleeps"), DIGITALOCEAN_API_URL: "", DIGITALOCEAN_TOKEN: "" },
  });
}

async function refreshed(made: Made): Promise<Made> {
  const found = await plugin.read(made);
  if (found === undefined) throw new Error(`${made.urn}: is gone`);
  return found;
}

const fault = (settings: Record<string, unknown>) => cloud.call("POST", "/_control/faults", settings);

const droplet = { name: "host", region: "fra1", size: "s-1vcpu-1gb", image: "debian-13-x64" };
const volume = { name: "data", region: "fra1", size: 10 };

const unlessOriginal = standInOnly("digitalocean", "the official plugin has all of it, for every account");

describe("the provider", () => {
  unlessOriginal("refuses to be configured for a real account", async () => {
    await using client = await start();
    await expect(client.configure({ token: "real", apiEndpoint: "https://api.digitalocean.com" })).rejects.toThrow(
      "apiEndpoint: https://api.digitalocean.com is not an address of this computer",
    );
    await expect(client.configure({ token: "real" })).rejects.toThrow("`pulumi plugin install resource digitalocean`");
  });

  test("keeps its settings as given, without defaults, and its token secret if it was secret", async () => {
    expect(await plugin.checkConfig({ token: new Secret("abc") })).toEqual({ token: new Secret("abc") });
  });

  test("reads token and endpoint from the environment, and does not store them", async () => {
    const env = { DIGITALOCEAN_ACCESS_TOKEN: cloud.token, DIGITALOCEAN_API_URL: cloud.url, DIGITALOCEAN_TOKEN: "" };
    await using client = await PluginClient.start("digitalocean", { env });
    expect(await client.checkConfig({})).toEqual({});
    await client.configure({});
    expect((await client.create(SSH_KEY, { name: "k", publicKey: KEY })).state).toMatchObject({ name: "k" });
  });

  test("reports a refused token, but does not show it", async () => {
    await plugin.configure({ ...settings(), token: "wrong-token" });
    const error = await plugin.create(SSH_KEY, { name: "k", publicKey: KEY }).catch(String);
    expect(error).toMatch(
      /Error creating SSH Key: POST http:.*\/v2\/account\/keys: 401 \(request ".*"\) Unable to authenticate you/,
    );
    expect(error).not.toContain("wrong-token");
  });

  test("retries 429 after the API's time, and 5xx with growing pauses, four times", async () => {
    waits.restart();
    await fault({ kind: "request", path: "/v2/account/keys", status: 429, retry_after: 7 });
    await fault({ kind: "request", path: "/v2/account/keys", status: 500, count: 3 });
    await plugin.create(SSH_KEY, { name: "k", publicKey: KEY });
    expect(waits.were(7, 2, 4, 8, 0)).toBe(true);

    await fault({ kind: "request", path: "/v2/account/keys", status: 503, count: 5 });
    await expect(plugin.create(SSH_KEY, { name: "l", publicKey: OTHER_KEY })).rejects.toThrow(
      /: 503 .*; giving up after 5 attempt\(s\)/,
    );
    expect(waits.were(1, 2, 4, 8)).toBe(true);
  });

  test("retries as often as configured, also if the API is not there", async () => {
    waits.restart();
    await plugin.configure({
      ...settings(),
      httpRetryMax: "1",
      httpRetryWaitMin: "3",
      apiEndpoint: "http://127.0.0.1:2",
    });
    await expect(plugin.create(SSH_KEY, { name: "k", publicKey: KEY })).rejects.toThrow(
      'Error creating SSH Key: Post "http://127.0.0.1:2/v2/account/keys": dial tcp 127.0.0.1:2: connect: connection refused',
    );
    expect(waits.were(3)).toBe(true);
  });

  test("continues when the user cancels", async () => {
    await using client = await start();
    await client.configure({ ...settings(), httpRetryWaitMin: "2" });
    await fault({ kind: "request", path: "/v2/account/keys", status: 500 });
    const creating = client.create(SSH_KEY, { name: "k", publicKey: KEY });
    await client.cancel();
    expect((await creating).state).toMatchObject({ name: "k" });
    expect((await client.create(SSH_KEY, { name: "l", publicKey: OTHER_KEY })).state).toMatchObject({ name: "l" });
  });

  test("lists sizes, prices and regions", async () => {
    const { sizes } = await plugin.invoke("digitalocean:index/getSizes:getSizes", {});
    expect(sizes).toContainEqual(
      expect.objectContaining({
        slug: "s-1vcpu-1gb",
        memory: 1024,
        vcpus: 1,
        priceMonthly: 6,
        priceHourly: expect.closeTo(0.0089, 3) as number,
        regions: expect.arrayContaining(["fra1"]) as string[],
      }),
    );
  });

  unlessOriginal("filters no sizes", async () => {
    await expect(plugin.invoke("digitalocean:index/getSizes:getSizes", { filters: [] })).rejects.toThrow(
      "filters is not implemented",
    );
  });
});

describe("SshKey", () => {
  test("is created, renamed in place, replaced for another key, and deleted", async () => {
    const made = await plugin.create(SSH_KEY, { publicKey: `${KEY}\n` }, { name: "deploy" });
    expect(made.id).toMatch(/^\d+$/);
    expect(made.state).toMatchObject({ name: expect.stringMatching(/^deploy-[0-9a-f]{7}$/) as string, publicKey: KEY });
    expect(made.state["fingerprint"]).toMatch(/^([0-9a-f]{2}:){15}[0-9a-f]{2}$/);
    expect((await plugin.diff(made, { publicKey: KEY })).diffs).toEqual([]);

    const named = { name: "deploy", publicKey: KEY };
    expect(await plugin.diff(made, named)).toMatchObject({ diffs: ["name"], replaces: [] });
    const renamed = await plugin.update(made, named);
    expect(renamed.state["name"]).toBe("deploy");
    expect(await plugin.diff(renamed, { ...named, publicKey: OTHER_KEY })).toMatchObject({
      replaces: ["publicKey"],
      deleteBeforeReplace: true,
    });

    await cloud.call("PUT", `/v2/account/keys/${made.id}`, { name: "other" });
    expect((await plugin.diff(await refreshed(renamed), named)).diffs).toEqual(["name"]);
    await plugin.delete(renamed);
    expect(await plugin.read(renamed)).toBeUndefined();
    await expect(plugin.delete(renamed)).rejects.toThrow(
      new RegExp(`deleting ${renamed.urn}: 1 error occurred:\\n\\t\\* Error deleting SSH key: DELETE .*: 404 `),
    );
  });
});

describe("Droplet", () => {
  test("is created as requested, with a wait of 10 seconds at least", async () => {
    const key = await plugin.create(SSH_KEY, { name: "k", publicKey: KEY });
    const disk = await plugin.create(VOLUME, volume);
    waits.restart();
    const inputs = {
      ...droplet,
      userData: "#cloud-config\n",
      sshKeys: [key.id],
      volumeIds: [disk.id],
      tags: ["convex"],
      monitoring: true,
    };
    const made = await plugin.create(DROPLET, inputs);
    expect(delays(1)).toBe(true);
    expect(made.id).toMatch(/^\d+$/);
    expect(made.state).toMatchObject({
      ...inputs,
      status: "active",
      locked: false,
      memory: 1024,
      vcpus: 1,
      disk: 25,
      dropletUrn: `do:droplet:${made.id}`,
      userData: "c0af657a8122db11fb8541f90feab7871c2c3d71",
    });
    expect(made.state["ipv4Address"]).toMatch(/^127\./);
    const machine = cloud.hypervisor.machines.get(Number(made.id));
    expect(machine?.spec).toMatchObject({ userData: "#cloud-config\n", sshKeys: [KEY], volumeIds: [disk.id] });
    expectSame(await refreshed(made), made);
    expect((await plugin.diff(made, inputs)).diffs).toEqual([]);
  });

  test("shows in a preview no value that the cloud decides", async () => {
    const planned = await plugin.create(DROPLET, droplet, { preview: true });
    expect(planned.state).toMatchObject({ ...droplet, ipv4Address: UNKNOWN, dropletUrn: UNKNOWN, volumeIds: UNKNOWN });
    expect(cloud.hypervisor.machines.size).toBe(0);
  });

  test.each<[string, Inputs]>([
    ["image", { image: "ubuntu-24-04-x64" }],
    ["region", { region: "nyc3" }],
    ["userData", { userData: "#cloud-config\n# other\n" }],
    ["sshKeys", { sshKeys: ["1"] }],
    ["monitoring", { monitoring: true }],
    ["dropletAgent", { dropletAgent: true }],
    ["vpcUuid", { vpcUuid: "5a4981aa-9653-4bd1-bef5-d6bff52042e4" }],
  ])("is replaced if %s changes; the old one is deleted first if the program names it", async (property, change) => {
    const named = await plugin.create(DROPLET, droplet);
    expect(await plugin.diff(named, { ...droplet, ...change })).toMatchObject({
      replaces: [property],
      deleteBeforeReplace: true,
    });
    const anonymous = { ...droplet, name: undefined };
    const auto = await plugin.create(DROPLET, anonymous);
    expect((await plugin.diff(auto, { ...anonymous, ...change })).deleteBeforeReplace).toBe(false);
  });

  test.each<[string, number, Inputs, Inputs]>([
    ["size", 3, { size: "s-2vcpu-4gb" }, { size: "s-2vcpu-4gb", memory: 4096, vcpus: 2, status: "active" }],
    ["name", 1, { name: "renamed" }, { name: "renamed" }],
    ["ipv6", 1, { ipv6: true }, { ipv6: true }],
    ["backups", 1, { backups: true }, { backups: true }],
    ["tags", 0, { tags: ["one", "two"] }, {}],
    ["resizeDisk", 0, { resizeDisk: false }, { resizeDisk: false }],
    ["gracefulShutdown", 0, { gracefulShutdown: true }, { gracefulShutdown: true }],
  ])("changes %s in place, with %d waits of 10 seconds", async (property, count, change, state) => {
    const made = await plugin.create(DROPLET, droplet);
    const wanted = { ...droplet, ...change };
    const diff = await plugin.diff(made, wanted);
    expect(diff).toMatchObject({ diffs: expect.arrayContaining([property]) as string[], replaces: [] });
    waits.restart();
    const updated = await plugin.update(made, wanted);
    expect(delays(count)).toBe(true);
    expect(updated.state).toMatchObject(state);
    expect((await plugin.diff(await refreshed(updated), wanted)).diffs).toEqual([]);
  });

  test("is replaced to lose IPv6", async () => {
    const made = await plugin.create(DROPLET, { ...droplet, ipv6: true });
    // The original does not name the property.
    expect((await plugin.diff(made, droplet)).replaces).toHaveLength(1);
  });

  test("attaches and detaches volumes in place", async () => {
    const one = await plugin.create(VOLUME, volume);
    const two = await plugin.create(VOLUME, { ...volume, name: "more" });
    const made = await plugin.create(DROPLET, { ...droplet, volumeIds: [one.id] });
    waits.restart();
    const updated = await plugin.update(made, { ...droplet, volumeIds: [two.id] });
    expect(delays(2)).toBe(true);
    expect(updated.state["volumeIds"]).toEqual([two.id]);
    expect(cloud.hypervisor.disks.get(two.id)?.dropletId).toBe(Number(made.id));
  });

  test("shows outside changes and an outside delete after a refresh", async () => {
    const made = await plugin.create(DROPLET, droplet);
    await cloud.call("POST", `/v2/droplets/${made.id}/actions`, { type: "rename", name: "other" });
    await expect.poll(async () => (await refreshed(made)).state["name"]).toBe("other");
    expect((await plugin.diff(await refreshed(made), droplet)).detailed).toEqual({ name: "UPDATE" });
    await cloud.call("DELETE", `/v2/droplets/${made.id}`);
    await expect.poll(() => plugin.read(made)).toBeUndefined();
    await expect(plugin.delete(made)).rejects.toThrow(
      `Error waiting for droplet to be unlocked for destroy (${made.id}): unexpected state 'Not Found', wanted target 'false'.`,
    );
  });

  test("detaches its volumes before its delete, and they keep their data", async () => {
    const disk = await plugin.create(VOLUME, volume);
    const made = await plugin.create(DROPLET, { ...droplet, volumeIds: [disk.id], gracefulShutdown: true });
    waits.restart();
    await plugin.delete(made);
    // Until unlocked, shut down, detached, gone.
    expect(delays(4)).toBe(true);
    expect(cloud.hypervisor.machines.size).toBe(0);
    expect(cloud.hypervisor.disks.get(disk.id)?.dropletId).toBeUndefined();
    expect(cloud.hypervisor.calls).toContain(`stopDroplet ${made.id} graceful`);
  });

  test("is shut down before its delete even if it is off", async () => {
    const made = await plugin.create(DROPLET, { ...droplet, gracefulShutdown: true });
    await cloud.call("POST", `/v2/droplets/${made.id}/actions`, { type: "power_off" });
    await plugin.delete(made);
    expect(cloud.hypervisor.calls).toContain(`stopDroplet ${made.id} graceful`);
    expect(cloud.hypervisor.machines.size).toBe(0);
  });

  test("stays in the state with an error if it does not boot in time", async () => {
    await fault({ kind: "boot", boot: "never" });
    const error: unknown = await plugin
      .create(DROPLET, droplet, { timeoutSeconds: 1 })
      .catch((caught: unknown) => caught);
    const kept = plugin.initErrorOf(error);
    expect(kept?.id).toMatch(/^\d+$/);
    expect(kept?.state).toMatchObject(droplet);
    expect(kept?.reasons[0]).toContain(`Error waiting for droplet (${String(kept?.id)}) to become ready: `);
  });

  test("shows the API's message about an unknown size or key", async () => {
    await expect(plugin.create(DROPLET, { ...droplet, size: "s-1vcpu-1tb" })).rejects.toThrow(
      /Error creating droplet: POST .*: 422 .*size/,
    );
    await expect(plugin.create(DROPLET, { ...droplet, sshKeys: ["1"] })).rejects.toThrow(
      "are invalid key identifiers for Droplet creation",
    );
  });

  test("fails in the create, not before, with a backup policy but backups off", async () => {
    const inputs = { ...droplet, backups: false, backupPolicy: { plan: "daily", weekday: "SUN", hour: 4 } };
    await plugin.create(DROPLET, inputs, { preview: true });
    await expect(plugin.create(DROPLET, inputs)).rejects.toThrow(
      "backup_policy can only be set when backups are enabled",
    );
    expect(cloud.hypervisor.machines.size).toBe(0);
  });

  unlessOriginal("refuses what the stand-in does not have", async () => {
    await expect(plugin.check(DROPLET, { ...droplet, privateNetworking: true })).rejects.toThrow(
      "privateNetworking is not implemented",
    );
    await expect(plugin.check(DROPLET, { ...droplet, flavour: "x" })).rejects.toThrow("flavour is unknown");
  });
});

describe("Volume", () => {
  test("is created immediately, grows in place after 10 seconds, and never shrinks", async () => {
    waits.restart();
    const made = await plugin.create(VOLUME, {
      ...volume,
      initialFilesystemType: "ext4",
      initialFilesystemLabel: "data",
    });
    expect(waits.were()).toBe(true);
    expect(made.state).toMatchObject({
      ...volume,
      filesystemType: "ext4",
      filesystemLabel: "data",
      volumeUrn: `do:volume:${made.id}`,
      dropletIds: [],
    });
    expectSame(await refreshed(made), made);
    const inputs = { ...volume, initialFilesystemType: "ext4", initialFilesystemLabel: "data" };
    expect((await plugin.diff(made, inputs)).diffs).toEqual([]);

    expect(await plugin.diff(made, { ...inputs, size: 20 })).toMatchObject({ diffs: ["size"], replaces: [] });
    const grown = await plugin.update(made, { ...inputs, size: 20 });
    expect(delays(1)).toBe(true);
    expect(grown.state["size"]).toBe(20);
    expect(cloud.hypervisor.disks.get(made.id)?.sizeGigabytes).toBe(20);
    await expect(plugin.diff(grown, inputs)).rejects.toThrow(
      /diffing urn:.*: 1 error occurred:\n\t\* volumes `size` can only be expanded and not shrunk/,
    );
  });

  test("is in the state as grown if its growth fails, and the next update does not change it", async () => {
    const made = await plugin.create(VOLUME, volume);
    const wanted = { ...volume, size: 20 };
    await fault({ kind: "action", action: "resize" });
    const error: unknown = await plugin.update(made, wanted).catch((caught: unknown) => caught);
    const kept = plugin.initErrorOf(error);
    expect(kept?.reasons[0]).toContain(
      `Error waiting for resize volume (${made.id}) to finish: unexpected state 'errored', wanted target 'completed'.`,
    );
    expect(kept?.state["size"]).toBe(20);
    const recorded = { ...made, state: kept?.state ?? {} };
    expect((await plugin.diff(recorded, wanted)).detailed).toEqual({});
    // The engine updates the failed resource, which only reads it.
    const again = await plugin.update(recorded, wanted);
    expect(again.state["size"]).toBe(10);
    expect(cloud.hypervisor.disks.get(made.id)?.sizeGigabytes).toBe(10);
  });

  test("cannot be deleted if it is already gone", async () => {
    const made = await plugin.create(VOLUME, volume);
    await plugin.delete(made);
    await expect(plugin.delete(made)).rejects.toThrow(/Error deleting volume: DELETE .*: 404 /);
  });

  test("gets a name that the cloud allows if the program sets none", async () => {
    const made = await plugin.create(VOLUME, { ...volume, name: undefined }, { name: "Convex-Data" });
    expect(made.state["name"]).toMatch(/^convex-data-[0-9a-f]{7}$/);
  });

  test.each<[string, Inputs]>([
    ["region", { region: "nyc3" }],
    ["name", { name: "other" }],
    ["description", { description: "words" }],
    ["snapshotId", { snapshotId: "5a4981aa-9653-4bd1-bef5-d6bff52042e4" }],
    ["initialFilesystemType", { initialFilesystemType: "xfs" }],
    ["initialFilesystemLabel", { initialFilesystemLabel: "label" }],
  ])("is replaced when %s changes", async (property, change) => {
    const made = await plugin.create(VOLUME, volume);
    expect((await plugin.diff(made, { ...volume, ...change })).replaces).toEqual([property]);
  });

  test("changes tags in place", async () => {
    const made = await plugin.create(VOLUME, { ...volume, tags: ["old", "kept"] });
    const wanted = { ...volume, tags: ["kept", "new"] };
    expect(await plugin.diff(made, wanted)).toMatchObject({ diffs: ["tags"], replaces: [] });
    const updated = await plugin.update(made, wanted);
    expect((await plugin.diff(await refreshed(updated), wanted)).diffs).toEqual([]);
  });

  test("is made from a snapshot, which changes its tags in place and is replaced for another volume", async () => {
    const original = await plugin.create(VOLUME, { ...volume, initialFilesystemType: "ext4" });
    const inputs = { name: "before", volumeId: original.id, tags: ["old"] };
    const made = await plugin.create(SNAPSHOT, inputs);
    expect(made.state).toMatchObject({ ...inputs, regions: ["fra1"], minDiskSize: 10, size: 0.26 });
    expectSame(await refreshed(made), made);
    const changed = await plugin.update(made, { ...inputs, tags: ["new"] });
    expect(changed.state["tags"]).toEqual(["new"]);
    expect((await plugin.diff(made, { ...inputs, volumeId: "5a4981aa" })).replaces).toEqual(["volumeId"]);
    expect((await plugin.diff(made, { ...inputs, name: "x" })).replaces).toEqual(["name"]);

    const restored = await plugin.create(VOLUME, { ...volume, name: "restored", size: 20, snapshotId: made.id });
    expect(restored.state).toMatchObject({ filesystemType: "ext4", snapshotId: made.id });
    expect((await refreshed(restored)).state).toMatchObject({ snapshotId: made.id });
    expect((await plugin.diff(restored, { ...volume, name: "restored", size: 20 })).replaces).toEqual(["snapshotId"]);
    await expect(plugin.create(VOLUME, { ...volume, name: "small", size: 9, snapshotId: made.id })).rejects.toThrow(
      /Error creating Volume: POST .*: 422 /,
    );
    await plugin.delete(changed);
    expect(await plugin.read(changed)).toBeUndefined();
    await expect(plugin.delete(changed)).rejects.toThrow(/Error deleting snapshot: DELETE .*: 404 /);
    await expect(plugin.create(SNAPSHOT, { ...inputs, volumeId: made.id })).rejects.toThrow(
      /Error creating Volume Snapshot: POST .*: 404 /,
    );
  });

  test("shows after a refresh that it was grown or deleted from outside", async () => {
    const made = await plugin.create(VOLUME, volume);
    await cloud.call("POST", `/v2/volumes/${made.id}/actions`, { type: "resize", size_gigabytes: 30, region: "fra1" });
    await expect.poll(async () => (await refreshed(made)).inputs["size"]).toBe(30);
    await plugin.delete(made);
    expect(await plugin.read(made)).toBeUndefined();
  });

  test("is not deleted while it is attached", async () => {
    const made = await plugin.create(VOLUME, volume);
    await plugin.create(DROPLET, { ...droplet, volumeIds: [made.id] });
    await expect(plugin.delete(made)).rejects.toThrow(
      /Error deleting volume: DELETE .*: 409 .*attached volume cannot be deleted/,
    );
  });
});

describe("Firewall", () => {
  const ssh = { protocol: "tcp", portRange: "22", sourceAddresses: ["192.0.2.0/24"] };
  const web = { protocol: "tcp", portRange: "443", sourceAddresses: ["0.0.0.0/0", "::/0"] };
  const ping = { protocol: "icmp", sourceAddresses: ["0.0.0.0/0"] };
  const out = { protocol: "tcp", portRange: "all", destinationAddresses: ["0.0.0.0/0", "::/0"] };

  test("is created and applied, changes everything in place, and is deleted", async () => {
    const host = await plugin.create(DROPLET, droplet);
    const inputs = { name: "fw", dropletIds: [Number(host.id)], inboundRules: [ssh, ping], outboundRules: [out] };
    const made = await plugin.create(FIREWALL, inputs);
    expect(made.state).toMatchObject({ name: "fw", dropletIds: [Number(host.id)], outboundRules: [out] });
    const rules = [expect.objectContaining(ssh), expect.objectContaining(ping)] as unknown[];
    expect(made.state["inboundRules"]).toEqual(expect.arrayContaining(rules));
    expect((await plugin.diff(made, { ...inputs, inboundRules: [ping, ssh] })).diffs).toEqual([]);
    await expect.poll(() => cloud.hypervisor.firewalls).toHaveLength(1);
    expect((await plugin.diff(await refreshed(made), inputs)).diffs).toEqual([]);

    await cloud.call("POST", "/v2/tags", { name: "convex" });
    const wanted = { name: "other", dropletIds: [], tags: ["convex"], inboundRules: [ssh, web], outboundRules: [] };
    expect(await plugin.diff(made, wanted)).toMatchObject({
      diffs: ["dropletIds", "inboundRules", "name", "outboundRules", "tags"],
      replaces: [],
    });
    const updated = await plugin.update(made, wanted);
    expect((await plugin.diff(await refreshed(updated), wanted)).diffs).toEqual([]);
    await plugin.delete(updated);
    expect(await plugin.read(updated)).toBeUndefined();
    await expect(plugin.delete(updated)).rejects.toThrow(/Error deleting firewall: DELETE .*: 404 /);
  });

  test("shows after a refresh a rule that was added from outside in the state, not in the inputs", async () => {
    const inputs = { name: "fw", inboundRules: [ssh] };
    const made = await plugin.create(FIREWALL, inputs);
    const rule = { protocol: "tcp", ports: "5432", sources: { addresses: ["0.0.0.0/0"] } };
    await cloud.call("POST", `/v2/firewalls/${made.id}/rules`, { inbound_rules: [rule] });
    const found = await refreshed(made);
    const added = { protocol: "tcp", portRange: "5432", sourceAddresses: ["0.0.0.0/0"] };
    expect(found.state["inboundRules"]).toHaveLength(2);
    expect(found.state["inboundRules"]).toContainEqual(expect.objectContaining(added));
    expect(found.inputs["inboundRules"]).toEqual([ssh]);
    const { detailed } = await plugin.diff(found, inputs);
    expect(Object.values(detailed)).toEqual(["DELETE"]);
    expect(Object.keys(detailed)[0]).toMatch(/^inboundRules\[[01]\]$/);
    // After another update, it is as the program wants it.
    const updated = await plugin.update(found, inputs);
    expect((await plugin.diff(await refreshed(updated), inputs)).diffs).toEqual([]);
  });

  test("shows after a refresh a rule that was changed or removed from outside in both", async () => {
    const inputs = { name: "fw", inboundRules: [ssh, web] };
    const made = await plugin.create(FIREWALL, inputs);
    const changed = { protocol: "tcp", ports: "443", sources: { addresses: ["198.51.100.0/24"] } };
    await cloud.call("PUT", `/v2/firewalls/${made.id}`, { name: "fw", inbound_rules: [changed] });
    const found = await refreshed(made);
    expect(found.inputs["inboundRules"]).toEqual([{ ...web, sourceAddresses: ["198.51.100.0/24"] }]);
    expect((await plugin.diff(found, inputs)).diffs).toEqual(["inboundRules"]);
  });

  test("names a difference by its place in the rules", async () => {
    const made = await plugin.create(FIREWALL, { name: "fw", inboundRules: [ssh] });
    const more = { ...ssh, sourceAddresses: ["192.0.2.0/24", "198.51.100.0/24"] };
    expect((await plugin.diff(made, { name: "fw", inboundRules: [more] })).detailed).toEqual({
      "inboundRules[0].sourceAddresses[1]": "ADD",
    });
  });

  test("is in the state as planned if its update fails, and the next update applies it", async () => {
    const made = await plugin.create(FIREWALL, { name: "fw", inboundRules: [ssh] });
    const wanted = { name: "fw", inboundRules: [ssh, web] };
    await fault({ kind: "request", method: "PUT", path: "/v2/firewalls/", status: 422, message: "told to" });
    const error: unknown = await plugin.update(made, wanted).catch((caught: unknown) => caught);
    const kept = { ...made, state: plugin.initErrorOf(error)?.state ?? {} };
    expect(kept.state["inboundRules"]).toHaveLength(2);
    expect((await plugin.diff(kept, wanted)).detailed).toEqual({});
    const again = await plugin.update(kept, wanted);
    expect((await refreshed(again)).state["inboundRules"]).toHaveLength(2);
  });

  test("needs a rule, and ports for protocols with ports: its plan fails, not its check", async () => {
    for (const preview of [true, false]) {
      await expect(plugin.create(FIREWALL, { name: "fw" }, { preview })).rejects.toThrow(
        /diffing urn:.*: 1 error occurred:\n\t\* At least one rule must be specified\n/,
      );
    }
    await expect(plugin.create(FIREWALL, { inboundRules: [{ protocol: "udp" }] })).rejects.toThrow(
      "`port_range` of inbound rules is required if protocol is `tcp` or `udp`",
    );
  });

  unlessOriginal("refuses what the stand-in does not have", async () => {
    await expect(plugin.check(FIREWALL, { inboundRules: [{ ...ssh, action: "deny" }] })).rejects.toThrow(
      "inboundRules[0].action is not implemented",
    );
  });
});

describe("ProjectResources", () => {
  const PROJECT_RESOURCES = "digitalocean:index/projectResources:ProjectResources";
  const inProject = async (id: string) =>
    textOf(JSON.stringify((await cloud.call("GET", `/v2/projects/${id}/resources`)).body));

  test("assigns its resources, returns removed ones to the default project, and ignores all others", async () => {
    const disk = await plugin.create(VOLUME, volume);
    const host = await plugin.create(DROPLET, droplet);
    const [diskUrn, hostUrn] = [textOf(disk.state["volumeUrn"]), textOf(host.state["dropletUrn"])];
    const project = await plugin.create(PROJECT, { name: "convex" });
    const inputs = { project: project.id, resources: [hostUrn] };
    const made = await plugin.create(PROJECT_RESOURCES, inputs);
    expect(made.id).toBe(project.id);
    await cloud.call("POST", `/v2/projects/${project.id}/resources`, { resources: [diskUrn] });
    expectSame(await refreshed(made), made);
    // What the project shows is no difference to a project without resources of its own.
    expect((await plugin.diff(await refreshed(project), { name: "convex" })).diffs).toEqual([]);

    const wanted = { ...inputs, resources: [diskUrn] };
    expect(await plugin.diff(made, wanted)).toMatchObject({ diffs: ["resources"], replaces: [] });
    const updated = await plugin.update(made, wanted);
    expect(await inProject("default")).toContain(hostUrn);

    await cloud.call("POST", "/v2/projects/default/resources", { resources: [diskUrn] });
    expect((await plugin.diff(await refreshed(updated), wanted)).diffs).toEqual(["resources"]);
    await plugin.delete(updated);
    expect(await inProject(project.id)).not.toContain(diskUrn);
    await plugin.delete(project);
    expect(await plugin.read(updated)).toBeUndefined();
    await plugin.delete(updated);
  });
});

describe("Project", () => {
  test("has resources, returns removed ones to the default project, and is deleted when it is empty", async () => {
    const disk = await plugin.create(VOLUME, volume);
    const host = await plugin.create(DROPLET, droplet);
    const [diskUrn, hostUrn] = [disk.state["volumeUrn"], host.state["dropletUrn"]];
    const inputs = { name: "convex", environment: "development", resources: [diskUrn] };
    const made = await plugin.create(PROJECT, inputs);
    expect(made.state).toMatchObject({
      name: "convex",
      purpose: "Web Application",
      isDefault: false,
      resources: [diskUrn],
    });
    // The API returns it with a capital letter, and so does a refresh; this is not a difference.
    const found = await refreshed(made);
    expect(found.inputs["environment"]).toBe("Development");
    expectSame(found, { ...made, inputs: { ...made.inputs, environment: "Development" } });
    expect((await plugin.diff(found, inputs)).diffs).toEqual([]);

    const wanted = {
      ...inputs,
      description: "words",
      purpose: "Service or API",
      environment: "production",
      resources: [hostUrn],
    };
    expect(await plugin.diff(made, wanted)).toMatchObject({
      diffs: ["description", "environment", "purpose", "resources"],
      replaces: [],
    });
    const updated = await plugin.update(made, wanted);
    expect((await plugin.diff(await refreshed(updated), wanted)).diffs).toEqual([]);
    const { body } = await cloud.call("GET", "/v2/projects/default/resources");
    expect(textOf(JSON.stringify(body))).toContain(diskUrn);

    await plugin.delete(updated);
    expect(await plugin.read(updated)).toBeUndefined();
  });

  test("shows after a refresh that a resource was removed from outside", async () => {
    const disk = await plugin.create(VOLUME, volume);
    const inputs = { name: "convex", resources: [disk.state["volumeUrn"]] };
    const made = await plugin.create(PROJECT, inputs);
    await cloud.call("POST", "/v2/projects/default/resources", { resources: [disk.state["volumeUrn"]] });
    expect((await plugin.diff(await refreshed(made), inputs)).diffs).toEqual(["resources"]);
  });

  test("waits only until removed resources are no longer listed", async () => {
    const made = await plugin.create(PROJECT, { name: "convex" });
    const refused = { kind: "request", method: "DELETE", path: "/v2/projects/", status: 412 };
    await fault({ ...refused, message: "cannot delete a project with resources", count: 2 });
    waits.restart();
    await plugin.delete(made);
    expect(waits.were(0, 0.5, 1)).toBe(true);
    const other = await plugin.create(PROJECT, { name: "other" });
    await fault({ ...refused, message: "told to" });
    await expect(plugin.delete(other)).rejects.toThrow(`Error deleting project (${other.id}): DELETE `);
  });

  test("cannot be deleted if it is already gone", async () => {
    const made = await plugin.create(PROJECT, { name: "convex" });
    await plugin.delete(made);
    await expect(plugin.delete(made)).rejects.toThrow(/Error deleting project \(.*\): DELETE .*: 404 /);
  });

  test("stays in the state as it was if its update fails, and the next update applies it", async () => {
    const made = await plugin.create(PROJECT, { name: "convex" });
    const wanted = { name: "convex", description: "words" };
    await fault({ kind: "request", method: "PATCH", path: "/v2/projects/", status: 422, message: "told to" });
    const error: unknown = await plugin.update(made, wanted).catch((caught: unknown) => caught);
    const kept = { ...made, state: plugin.initErrorOf(error)?.state ?? {} };
    expect(kept.state["name"]).toBe("convex");
    expect((await plugin.diff(kept, wanted)).diffs).toEqual(["description"]);
    expect((await plugin.update(kept, wanted)).state["description"]).toBe("words");
  });

  test("refuses an environment that the cloud does not have", async () => {
    await expect(plugin.check(PROJECT, { environment: "test" })).rejects.toThrow(
      'expected environment to be one of ["development" "staging" "production"], got test',
    );
  });
});

describe("Domain", () => {
  test("has name servers, and an address if the program sets one, and is deleted with its records", async () => {
    const inputs = { name: "example.com", ipAddress: "192.0.2.1" };
    const made = await plugin.create(DOMAIN, inputs);
    expect(made).toMatchObject({
      id: "example.com",
      state: { ...inputs, ttl: 1800, domainUrn: "do:domain:example.com" },
    });
    const { body } = await cloud.call("GET", "/v2/domains/example.com/records?type=A");
    expect(body.domain_records).toMatchObject([{ name: "@", data: "192.0.2.1" }]);
    expectSame(await refreshed(made), made);
    expect((await plugin.diff(made, inputs)).diffs).toEqual([]);
    await plugin.delete(made);
    expect(await plugin.read(made)).toBeUndefined();
    await expect(plugin.delete(made)).rejects.toThrow(/Error deleting Domain: DELETE .*: 404 /);
  });

  test.each<[string, Inputs]>([
    ["name", { name: "example.org" }],
    ["ipAddress", { ipAddress: "192.0.2.1" }],
  ])("is replaced if %s changes", async (property, change) => {
    const made = await plugin.create(DOMAIN, { name: "example.com" });
    expect(await plugin.diff(made, { name: "example.com", ...change })).toMatchObject({
      replaces: [property],
      deleteBeforeReplace: false,
    });
  });

  test("is not created if the account has it", async () => {
    await plugin.create(DOMAIN, { name: "example.com" });
    await expect(plugin.create(DOMAIN, { name: "example.com" })).rejects.toThrow(
      /Error creating Domain: POST .*: 422 .*Name already exists/,
    );
  });

  test("needs a name", async () => {
    await expect(plugin.check(DOMAIN, { name: "" })).rejects.toThrow("name");
  });
});

describe("DnsRecord", () => {
  const web = { domain: "example.com", type: "A", name: "www", value: "192.0.2.1" };

  beforeEach(() => plugin.create(DOMAIN, { name: "example.com" }));

  test("is created with a default time to live, changes in place, and is deleted", async () => {
    const made = await plugin.create(DNS_RECORD, web);
    expect(made.id).toMatch(/^\d+$/);
    expect(made.state).toMatchObject({ ...web, ttl: 1800, fqdn: "www.example.com" });
    expectSame(await refreshed(made), made);
    expect((await plugin.diff(made, web)).diffs).toEqual([]);

    const wanted = { ...web, name: "app", value: "192.0.2.2", ttl: 60 };
    expect(await plugin.diff(made, wanted)).toMatchObject({ diffs: ["name", "ttl", "value"], replaces: [] });
    const updated = await plugin.update(made, wanted);
    expect(updated.state).toMatchObject(wanted);
    expect((await plugin.diff(await refreshed(updated), wanted)).diffs).toEqual([]);
    // A time to live that the program no longer sets stays.
    expect((await plugin.diff(updated, { ...wanted, ttl: undefined })).diffs).toEqual([]);
    await plugin.delete(updated);
    expect(await plugin.read(updated)).toBeUndefined();
    await plugin.delete(updated);
  });

  test.each<[Inputs, Inputs]>([
    [{ type: "AAAA", value: "2001:db8::1" }, {}],
    [{ type: "TXT", name: "@", value: "v=spf1 -all" }, { fqdn: "example.com" }],
    [{ name: "*" }, { fqdn: "*.example.com" }],
    [{ type: "CNAME", value: "host.example.org." }, {}],
    [{ type: "CNAME", value: "app" }, { value: "app.example.com." }],
    [{ type: "CNAME", value: "@" }, {}],
    [{ type: "CNAME", value: "example.com." }, { value: "@" }],
    [{ type: "NS", name: "sub", value: "ns1.example.org." }, {}],
    [{ type: "CAA", name: "@", value: "letsencrypt.org.", flags: 0, tag: "issue" }, {}],
    [{ type: "CAA", name: "@", value: "mailto:ca@example.com", flags: 128, tag: "iodef" }, {}],
    [{ type: "MX", name: "@", value: "mail.example.com.", priority: 10 }, {}],
    [{ type: "SRV", name: "_sip._tcp", value: "@", priority: 1, port: 5060, weight: 2 }, {}],
    [{ name: "www.example.com." }, { name: "www", fqdn: "www.example.com" }],
    [{ name: "example.com." }, { name: "@", fqdn: "example.com" }],
  ])("is as the program says after a refresh: %j", async (change, state) => {
    const inputs = { ...web, ...change };
    const made = await plugin.create(DNS_RECORD, inputs);
    expect(made.state).toMatchObject({ ...inputs, ...state });
    expect((await plugin.diff(made, inputs)).diffs).toEqual([]);
    const found = await refreshed(made);
    expect((await plugin.diff(found, inputs)).diffs).toEqual([]);
    // The inputs are then in the API's form.
    expect(found.inputs).toMatchObject(Object.fromEntries(Object.keys(inputs).map((key) => [key, made.state[key]])));
  });

  test.each<[string, Inputs]>([
    ["domain", { domain: "example.org" }],
    ["type", { type: "TXT" }],
  ])("is replaced if %s changes", async (property, change) => {
    const made = await plugin.create(DNS_RECORD, web);
    const diff = await plugin.diff(made, { ...web, ...change });
    expect(diff).toMatchObject({ replaces: [property], deleteBeforeReplace: true });
  });

  test("is named after the resource if the program sets no name", async () => {
    const made = await plugin.create(DNS_RECORD, { ...web, name: undefined }, { name: "app" });
    expect(made.state["name"]).toMatch(/^app-[0-9a-f]{7}$/);
    expect((await plugin.diff(made, { ...web, name: undefined, type: "TXT" })).deleteBeforeReplace).toBe(false);
  });

  test("shows outside changes after a refresh", async () => {
    const made = await plugin.create(DNS_RECORD, web);
    await cloud.call("PUT", `/v2/domains/example.com/records/${made.id}`, { type: "A", data: "192.0.2.9", ttl: 90 });
    const found = await refreshed(made);
    expect(found.state).toMatchObject({ value: "192.0.2.9", ttl: 90 });
    expect((await plugin.diff(found, web)).diffs).toEqual(["value"]);
    // The update does not change what the program does not set.
    expect((await plugin.update(found, web)).state).toMatchObject({ value: "192.0.2.1", ttl: 90 });
    await cloud.call("DELETE", "/v2/domains/example.com");
    expect(await plugin.read(made)).toBeUndefined();
  });

  test.each<[Inputs, string]>([
    [{ name: "" }, "name must not be empty"],
    [{ domain: "" }, "domain must not be empty"],
    [{ ttl: 0 }, "expected ttl to be at least (1), got 0"],
    [{ port: 70_000 }, "expected port to be in the range (0 - 65535), got 70000"],
    [{ flags: 256 }, "expected flags to be in the range (0 - 255), got 256"],
    [{ type: "a" }, "type"],
    [{ type: "CAA", flags: 0, tag: "x" }, "tag"],
  ])("refuses %j", async (change, message) => {
    await expect(plugin.check(DNS_RECORD, { ...web, ...change })).rejects.toThrow(message);
  });

  test.each<[Inputs, string]>([
    [{ type: "MX" }, "priority"],
    [{ type: "SRV", weight: 1 }, "priority"],
    [{ type: "SRV", priority: 1 }, "weight"],
    [{ type: "CAA", tag: "issue" }, "flags"],
    [{ type: "CAA", flags: 0 }, "tag"],
  ])("needs the fields of its type: %j", async (change, missing) => {
    const message = `\`${missing}\` is required for when type is \`${String(change["type"])}\``;
    await expect(plugin.create(DNS_RECORD, { ...web, ...change }, { preview: true })).rejects.toThrow(message);
  });

  test("fails in the create, not before, if an SRV has no port", async () => {
    const inputs = { ...web, type: "SRV", priority: 1, weight: 1 };
    await plugin.create(DNS_RECORD, inputs, { preview: true });
    await expect(plugin.create(DNS_RECORD, inputs)).rejects.toThrow("`port` is required for when type is `SRV`");
  });

  test("shows the API's message about a host without final dot", async () => {
    await expect(plugin.create(DNS_RECORD, { ...web, type: "CNAME", value: "a.example.org" })).rejects.toThrow(
      /Failed to create record: POST .*: 422 .*Data needs to end with a dot \(\.\)/,
    );
  });
});

describe("ReservedIp", () => {
  const address = { region: "fra1" };

  test("is reserved in a region immediately, and is deleted", async () => {
    waits.restart();
    const made = await plugin.create(RESERVED_IP, address);
    expect(waits.were()).toBe(true);
    expect(made).toMatchObject({
      id: `${home.addressPrefix}.251`,
      state: { region: "fra1", ipAddress: made.id, reservedIpUrn: `do:reservedip:${made.id}` },
    });
    expectSame(await refreshed(made), made);
    expect((await plugin.diff(made, { region: "FRA1" })).diffs).toEqual([]);
    expect(await plugin.diff(made, { region: "nyc3" })).toMatchObject({
      replaces: ["region"],
      deleteBeforeReplace: false,
    });
    // It is sent as the program writes it.
    await expect(plugin.create(RESERVED_IP, { region: "FRA1" })).rejects.toThrow(
      /Error creating reserved IP: .*: 422 /,
    );
    await plugin.delete(made);
    expect(await plugin.read(made)).toBeUndefined();
    await expect(plugin.delete(made)).rejects.toThrow(/Error deleting reserved IP: DELETE .*: 404 /);
  });

  test("is assigned, moved and unassigned in place, and unassigned before its delete", async () => {
    const [one, two] = [await plugin.create(DROPLET, droplet), await plugin.create(DROPLET, { ...droplet, name: "b" })];
    const [first, second] = [Number(one.id), Number(two.id)];
    waits.restart();
    const made = await plugin.create(RESERVED_IP, { ...address, dropletId: first });
    // Until the droplet has no action, and until the assignment is done.
    expect(waits.were(3, 10)).toBe(true);
    expect(made.state).toMatchObject({ ...address, dropletId: first });
    expect(cloud.hypervisor.addresses.get(made.id)).toBe(first);
    expectSame(await refreshed(made), made);

    const wanted = { ...address, dropletId: second };
    expect(await plugin.diff(made, wanted)).toMatchObject({ diffs: ["dropletId"], replaces: [] });
    waits.restart();
    const moved = await plugin.update(made, wanted);
    expect(waits.were(3, 10)).toBe(true);
    expect(cloud.hypervisor.addresses.get(made.id)).toBe(second);
    const free = await plugin.update(moved, address);
    expect(waits.were(10)).toBe(true);
    expect(cloud.hypervisor.addresses.size).toBe(0);
    expect((await plugin.diff(await refreshed(free), address)).diffs).toEqual([]);

    const again = await plugin.update(free, wanted);
    waits.restart();
    await plugin.delete(again);
    expect(waits.were(10)).toBe(true);
    expect(cloud.cloud.store.state.reserved_ips).toEqual([]);
  });

  test("does not notice that it was unassigned from outside, and can be deleted then", async () => {
    const host = await plugin.create(DROPLET, droplet);
    const inputs = { ...address, dropletId: Number(host.id) };
    const made = await plugin.create(RESERVED_IP, inputs);
    await cloud.call("POST", `/v2/reserved_ips/${made.id}/actions`, { type: "unassign" });
    await expect.poll(() => cloud.hypervisor.addresses.size).toBe(0);
    expect((await plugin.diff(await refreshed(made), inputs)).diffs).toEqual([]);
    await plugin.delete(made);
    expect(cloud.cloud.store.state.reserved_ips).toEqual([]);
  });

  test("keeps its droplet in the state when that is destroyed, then moves to another one, or is deleted", async () => {
    const host = await plugin.create(DROPLET, droplet);
    const made = await plugin.create(RESERVED_IP, { ...address, dropletId: Number(host.id) });
    await plugin.delete(host);
    expectSame(await refreshed(made), made);
    // It is not assigned any more, so it cannot be unassigned by an update.
    await expect(plugin.update(made, address)).rejects.toThrow(/Error unassigning reserved IP \(.*\): POST .*: 422 /);

    const next = await plugin.create(DROPLET, droplet);
    const wanted = { ...address, dropletId: Number(next.id) };
    expect(await plugin.diff(made, wanted)).toMatchObject({ diffs: ["dropletId"], replaces: [] });
    const moved = await plugin.update(made, wanted);
    expect(moved.id).toBe(made.id);
    expect(cloud.hypervisor.addresses.get(made.id)).toBe(Number(next.id));

    await plugin.delete(next);
    await plugin.delete(moved);
    expect(cloud.cloud.store.state.reserved_ips).toEqual([]);
  });

  test("is imported with its droplet", async () => {
    const host = await plugin.create(DROPLET, droplet);
    const made = await plugin.create(RESERVED_IP, { ...address, dropletId: Number(host.id) });
    const imported = await plugin.read({ ...made, inputs: {}, state: {} });
    expect(imported?.state).toMatchObject({ ...address, ipAddress: made.id, dropletId: Number(host.id) });
    expect(await plugin.read({ ...made, id: "192.0.2.1", inputs: {}, state: {} })).toBeUndefined();
  });

  test("notices that it was assigned to another droplet from outside", async () => {
    const [one, two] = [await plugin.create(DROPLET, droplet), await plugin.create(DROPLET, { ...droplet, name: "b" })];
    const inputs = { ...address, dropletId: Number(one.id) };
    const made = await plugin.create(RESERVED_IP, inputs);
    const second = Number(two.id);
    await cloud.call("POST", `/v2/reserved_ips/${made.id}/actions`, { type: "assign", droplet_id: second });
    await expect.poll(() => cloud.cloud.store.state.reserved_ips[0]?.droplet_id).toBe(second);
    expect((await plugin.diff(await refreshed(made), inputs)).diffs).toEqual(["dropletId"]);
  });

  test("stays in the state with an error if it cannot be assigned", async () => {
    const error: unknown = await plugin
      .create(RESERVED_IP, { ...address, dropletId: 1 })
      .catch((caught: unknown) => caught);
    const kept = plugin.initErrorOf(error);
    expect(kept?.id).toBe(`${home.addressPrefix}.251`);
    expect(kept?.reasons[0]).toMatch(
      /Error waiting for droplet \(1\) to be ready for reserved IP assign: Error retrieving droplet \(1\) actions: GET .*: 404 /,
    );
  });
});

describe("ReservedIpAssignment", () => {
  async function parts() {
    const address = await plugin.create(RESERVED_IP, { region: "fra1" });
    const host = await plugin.create(DROPLET, droplet);
    return { host, address, inputs: { ipAddress: address.id, dropletId: Number(host.id) } };
  }

  test("assigns an address, which does not show it, and unassigns it when it is deleted", async () => {
    const { address, inputs } = await parts();
    waits.restart();
    const made = await plugin.create(RESERVED_IP_ASSIGNMENT, inputs);
    expect(waits.were(3, 10)).toBe(true);
    expect(made.id).toMatch(new RegExp(`^${inputs.dropletId}-${address.id}-\\d{18}[0-9a-f]{8}$`));
    expect(made.state).toMatchObject(inputs);
    expect(cloud.hypervisor.addresses.get(address.id)).toBe(inputs.dropletId);
    expectSame(await refreshed(made), made);
    expect((await plugin.diff(made, inputs)).diffs).toEqual([]);
    const found = await refreshed(address);
    expect((await plugin.diff(found, { region: "fra1" })).diffs).toEqual([]);

    waits.restart();
    await plugin.delete(made);
    expect(waits.were(10)).toBe(true);
    expect(cloud.hypervisor.addresses.size).toBe(0);
    expect(await plugin.read(made)).toBeUndefined();
  });

  test.each<[string, Inputs]>([
    ["dropletId", { dropletId: 2 }],
    ["ipAddress", { ipAddress: "192.0.2.1" }],
  ])("is replaced if %s changes", async (property, change) => {
    const { inputs } = await parts();
    const made = await plugin.create(RESERVED_IP_ASSIGNMENT, inputs);
    expect(await plugin.diff(made, { ...inputs, ...change })).toMatchObject({
      replaces: [property],
      deleteBeforeReplace: false,
    });
  });

  test("takes the address away from a replacement if it is deleted after the replacement's create", async () => {
    const { address, inputs } = await parts();
    const made = await plugin.create(RESERVED_IP_ASSIGNMENT, inputs);
    const next = await plugin.create(DROPLET, { ...droplet, name: "next" });
    await plugin.create(RESERVED_IP_ASSIGNMENT, { ...inputs, dropletId: Number(next.id) });
    // It is another droplet's now, so the delete leaves it.
    await plugin.delete(made);
    expect(cloud.hypervisor.addresses.get(address.id)).toBe(Number(next.id));
  });

  test("is gone after a refresh if its droplet is, but cannot be read without its address", async () => {
    const { host, address, inputs } = await parts();
    const made = await plugin.create(RESERVED_IP_ASSIGNMENT, inputs);
    await cloud.call("DELETE", `/v2/droplets/${host.id}`);
    await expect.poll(() => plugin.read(made)).toBeUndefined();
    await plugin.delete(address);
    await expect(plugin.read(made)).rejects.toThrow(/Error retrieving reserved IP: GET .*: 404 /);
  });

  test("waits for an action on its droplet, but fails during one on the droplet's volume", async () => {
    const { host, inputs } = await parts();
    const disk = await plugin.create(VOLUME, volume);
    const gate = Promise.withResolvers<undefined>();
    cloud.hypervisor.gate = gate.promise;
    await cloud.call("POST", `/v2/volumes/${disk.id}/actions`, { type: "attach", droplet_id: Number(host.id) });
    await expect(plugin.create(RESERVED_IP_ASSIGNMENT, inputs)).rejects.toThrow(
      /Error Assigning reserved IP \(.*\) to the droplet: POST .*: 422 .*Droplet already has a pending event\./,
    );
    gate.resolve(undefined);
    await expect.poll(() => cloud.hypervisor.disks.get(disk.id)?.dropletId).toBe(Number(host.id));

    const reboot = Promise.withResolvers<undefined>();
    cloud.hypervisor.gate = reboot.promise;
    await cloud.call("POST", `/v2/droplets/${host.id}/actions`, { type: "reboot" });
    const creating = plugin.create(RESERVED_IP_ASSIGNMENT, inputs);
    await expect.poll(() => cloud.log.filter((line) => line.includes("/actions 200")).length).toBeGreaterThan(1);
    reboot.resolve(undefined);
    expect((await creating).state).toMatchObject(inputs);
  });

  test("fails if the assignment does", async () => {
    const { inputs } = await parts();
    await fault({ kind: "action", action: "assign_ip" });
    await expect(plugin.create(RESERVED_IP_ASSIGNMENT, inputs)).rejects.toThrow(
      /Error waiting for reserved IP \(.*\) to be Assigned: unexpected state 'errored', wanted target 'completed'\./i,
    );
  });

  test("needs a valid address and a droplet", async () => {
    await expect(plugin.check(RESERVED_IP_ASSIGNMENT, { ipAddress: "x", dropletId: 1 })).rejects.toThrow("IPv4");
    await expect(plugin.check(RESERVED_IP_ASSIGNMENT, { ipAddress: "192.0.2.1", dropletId: 0 })).rejects.toThrow(
      /droplet/,
    );
  });
});
