import { stat } from "node:fs/promises";
import path from "node:path";

import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { waitFor } from "../../sandbox/wait-for.ts";
import type { Answer, Json, TestCloud } from "./cloud-harness.ts";
import { send, serveTestCloud, temporaryHome, textOf } from "./cloud-harness.ts";

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA3q3IhYxkuyOWe3WdUsJnIGdwrGjbdqO0RjxqDNZxgv someone@example";
const KEY_MD5 = /^([0-9a-f]{2}:){15}[0-9a-f]{2}$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;

const DROPLET = { name: "web", region: "fra1", size: "s-2vcpu-4gb", image: "debian-13-x64" };
const VOLUME = { name: "data", region: "fra1", size_gigabytes: 100 };
const ANYWHERE = { addresses: ["0.0.0.0/0", "::/0"] };
const SSH_RULE = { protocol: "tcp", ports: "22", sources: ANYWHERE };

let home: Awaited<ReturnType<typeof temporaryHome>>;
let cloud: TestCloud;

beforeEach(async () => {
  home = await temporaryHome();
  cloud = await serveTestCloud(home);
});

afterEach(async () => {
  await cloud[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
});

const get = (path: string) => cloud.call("GET", path);
const post = (path: string, body: unknown) => cloud.call("POST", path, body);
const put = (path: string, body: unknown) => cloud.call("PUT", path, body);
const remove = (path: string, body?: unknown) => cloud.call("DELETE", path, body);

/** Status, short name and message of an error answer. */
function refusal({ status, body }: Answer) {
  return [status, body.id, body.message];
}

function unprocessable(message: unknown) {
  return [422, "unprocessable_entity", message];
}

async function createDroplet(overrides: object = {}): Promise<number> {
  const { status, body } = await post("/v2/droplets", { ...DROPLET, ...overrides });
  expect(status).toBe(202);
  const id = Number(body.droplet?.id);
  await unlocked(id);
  return id;
}

async function createVolume(overrides: object = {}): Promise<string> {
  const { status, body } = await post("/v2/volumes", { ...VOLUME, ...overrides });
  expect(status).toBe(201);
  return textOf(body.volume?.id);
}

async function unlocked(id: number): Promise<Json> {
  let droplet: Json = {};
  await waitFor(`droplet ${id} to be unlocked`, 10, async () => {
    droplet = (await get(`/v2/droplets/${id}`)).body.droplet ?? {};
    return (droplet.locked as unknown) === false;
  });
  return droplet;
}

async function finished(answer: Answer): Promise<Json> {
  let action: Json = answer.body.action ?? {};
  await waitFor(`action ${textOf(action.id)} to end`, 10, async () => {
    action = (await get(`/v2/actions/${textOf(action.id)}`)).body.action ?? {};
    return (action.completed_at as unknown) !== null;
  });
  return action;
}

async function act(id: number, body: object): Promise<Json> {
  const answer = await post(`/v2/droplets/${id}/actions`, body);
  expect(answer.status).toBe(201);
  return finished(answer);
}

async function actOnVolume(id: string, body: object): Promise<Json> {
  const answer = await post(`/v2/volumes/${id}/actions`, body);
  expect(answer.status).toBe(202);
  return finished(answer);
}

/** Stops all work of the machine room until the returned function is called. */
function holdMachineRoom(): () => void {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  cloud.hypervisor.gate = promise;
  return () => {
    resolve(undefined);
  };
}

describe("access", () => {
  it("refuses a missing or wrong token", async () => {
    const none = await fetch(`${cloud.url}/v2/account`);
    expect([none.status, await none.json()]).toEqual([
      401,
      {
        id: "unauthorized",
        message: "Unable to authenticate you.",
        request_id: none.headers.get("x-request-id"),
      },
    ]);
    const wrong = await fetch(`${cloud.url}/v2/account`, { headers: { authorization: `Bearer ${"x".repeat(71)}` } });
    expect(wrong.status).toBe(401);
    expect((await get("/v2/account")).headers.get("ratelimit-remaining")).toBe("999999");
    for (const refused of [none, wrong]) {
      expect(refused.headers.get("ratelimit-limit")).toBe("1000000");
      expect(refused.headers.get("ratelimit-remaining")).toBe("1000000");
      expect(Number(refused.headers.get("ratelimit-reset")) - Date.now() / 1000).toBeGreaterThan(3500);
    }
    const control = await fetch(`${cloud.url}/_control/faults`);
    expect(control.status).toBe(401);
  });

  it("keeps its token and state from other users", async () => {
    expect(cloud.token).toMatch(/^dop_v1_[0-9a-f]{64}$/);
    await createVolume();
    for (const [file, mode] of Object.entries({ "": 0o700, token: 0o600, "state.json": 0o600 })) {
      expect((await stat(path.join(home.root, "cloud", file))).mode & 0o777).toBe(mode);
    }
  });

  it("shows a request id and the rate limit in each answer", async () => {
    const answer = await get("/v2/account");
    expect(answer.headers.get("x-request-id")).toMatch(UUID);
    expect(answer.headers.get("ratelimit-limit")).toBe("1000000");
    expect(answer.headers.get("ratelimit-remaining")).toBe("999999");
    expect(Number(answer.headers.get("ratelimit-reset")) - Date.now() / 1000).toBeGreaterThan(3500);
  });

  it("answers 429 with retry-after beyond the limit of a minute", async () => {
    await using other = await temporaryHome();
    await using limited = await serveTestCloud(other, undefined, { perHour: 5000, perMinute: 3 });
    for (let request = 0; request < 3; request++) expect((await limited.call("GET", "/v2/account")).status).toBe(200);
    const refused = await limited.call("GET", "/v2/account");
    expect(refusal(refused)).toEqual([429, "too_many_requests", "API Rate limit exceeded."]);
    expect(refused.headers.get("ratelimit-limit")).toBe("5000");
    expect(refused.headers.get("ratelimit-remaining")).toBe("0");
    expect(Number(refused.headers.get("retry-after"))).toBeGreaterThan(55);
  });

  it("answers 429 without retry-after beyond the limit of an hour", async () => {
    await using other = await temporaryHome();
    await using limited = await serveTestCloud(other, undefined, { perHour: 2, perMinute: 2 });
    for (let request = 0; request < 2; request++) expect((await limited.call("GET", "/v2/account")).status).toBe(200);
    const refused = await limited.call("GET", "/v2/account");
    expect(refusal(refused)).toEqual([429, "too_many_requests", "API Rate limit exceeded."]);
    expect(refused.headers.get("ratelimit-remaining")).toBe("0");
    expect(refused.headers.get("retry-after")).toBeNull();
  });

  it("answers 501 to requests that it does not simulate", async () => {
    const answer = await post("/v2/kubernetes/clusters", {});
    expect(refusal(answer)).toEqual([501, "not_simulated", expect.stringContaining("POST /v2/kubernetes/clusters")]);
    expect((await get("/v2/droplets/12")).status).toBe(404);
    expect((await get("/v2/droplets/web")).status).toBe(404);
  });

  it("refuses a body that is not a JSON object, and a field of another type", async () => {
    expect(refusal(await post("/v2/tags", []))).toEqual(unprocessable("The request body: not a JSON object."));
    expect(refusal(await post("/v2/tags", { name: 5 }))).toEqual(unprocessable("name must be a string."));
    expect(refusal(await post("/v2/tags", { name: null }))).toEqual(unprocessable("name must be present."));
  });

  it("gives the 400 of a new tag also in its second documented form", async () => {
    const answer = await send(cloud.url, cloud.token, "POST", "/v2/tags", "{");
    expect(answer.body).toMatchObject({
      id: "bad_request",
      error: "Your request body was malformed.",
      messages: null,
      root_causes: ["Your request body was malformed."],
    });
  });
});

describe("lists", () => {
  beforeEach(async () => {
    for (const number of [1, 2, 3, 4, 5]) await post("/v2/tags", { name: `tag-${number}` });
  });

  const names = (answer: Answer) => (answer.body.tags as unknown as { name: string }[]).map((tag) => tag.name);

  it("come in pages with links and a total", async () => {
    const middle = await get("/v2/tags?page=2&per_page=2");
    expect(names(middle)).toEqual(["tag-3", "tag-4"]);
    expect(middle.body.meta).toEqual({ total: 5 });
    const link = (page: number) => `${cloud.url}/v2/tags?page=${page}&per_page=2`;
    expect(middle.body.links).toEqual({ pages: { first: link(1), prev: link(1), next: link(3), last: link(3) } });
    const first = await get("/v2/tags?per_page=2");
    expect(Object.keys(first.body.links?.pages ?? {})).toEqual(["next", "last"]);
    const last = await get("/v2/tags?page=3&per_page=2");
    expect([names(last), Object.keys(last.body.links?.pages ?? {})]).toEqual([["tag-5"], ["first", "prev"]]);
  });

  it("have no links if one page is enough, and 20 items by default", async () => {
    const all = await get("/v2/tags");
    expect([names(all).length, all.body.links]).toEqual([5, {}]);
    expect((await get("/v2/sizes")).body.sizes).toHaveLength(20);
    expect((await get("/v2/sizes?per_page=500")).body.meta?.total).toBeGreaterThan(30);
  });
});

describe("catalogue", () => {
  it("has the sizes, regions and images the program uses", async () => {
    const { body } = await get("/v2/sizes?per_page=200");
    const sizes = body.sizes as unknown as { slug: string }[];
    expect(sizes.find((size) => size.slug === "s-2vcpu-4gb")).toEqual({
      slug: "s-2vcpu-4gb",
      memory: 4096,
      vcpus: 2,
      disk: 80,
      transfer: 4,
      price_monthly: 24,
      price_hourly: 0.03571,
      regions: expect.arrayContaining(["fra1", "nyc1"]) as string[],
      available: true,
      description: "Basic",
    });
    const regions = (await get("/v2/regions")).body.regions as unknown as { slug: string; sizes: string[] }[];
    expect(regions.find((region) => region.slug === "fra1")).toMatchObject({
      name: "Frankfurt 1",
      available: true,
      sizes: expect.arrayContaining(["s-2vcpu-4gb"]) as string[],
    });
    for (const slug of ["debian-13-x64", "debian-12-x64", "ubuntu-24-04-x64"]) {
      const image = (await get(`/v2/images/${slug}`)).body.image;
      expect(image).toMatchObject({ slug, public: true, status: "available", error_message: "" });
      expect((await get(`/v2/images/${textOf(image?.id)}`)).body.image).toEqual(image);
    }
    expect((await get("/v2/images?private=true")).body.images).toEqual([]);
  });
});

describe("ssh keys", () => {
  it("are created, found by id and fingerprint, renamed and deleted", async () => {
    const created = await post("/v2/account/keys", { name: "deploy", public_key: `${KEY}\n` });
    const key = created.body.ssh_key;
    expect([created.status, key]).toEqual([
      201,
      {
        id: expect.any(Number) as number,
        name: "deploy",
        fingerprint: expect.stringMatching(KEY_MD5) as string,
        public_key: KEY,
      },
    ]);
    expect((await get(`/v2/account/keys/${textOf(key?.fingerprint)}`)).body.ssh_key).toEqual(key);
    expect((await put(`/v2/account/keys/${textOf(key?.id)}`, { name: "other" })).body.ssh_key?.name).toBe("other");
    expect((await remove(`/v2/account/keys/${textOf(key?.id)}`)).status).toBe(204);
    expect((await get(`/v2/account/keys/${textOf(key?.id)}`)).status).toBe(404);
  });

  it("are unique and valid", async () => {
    await post("/v2/account/keys", { name: "one", public_key: KEY });
    expect(refusal(await post("/v2/account/keys", { name: "two", public_key: KEY }))).toEqual(
      unprocessable("SSH Key is already in use on your account"),
    );
    expect((await post("/v2/account/keys", { name: "x", public_key: "ssh-ed25519 AAAA" })).status).toBe(422);
  });
});

describe("droplets", () => {
  it("are new and locked until they run, then have everything that clients read", async () => {
    const release = holdMachineRoom();
    const key = await post("/v2/account/keys", { name: "deploy", public_key: KEY });
    const created = await post("/v2/droplets", {
      ...DROPLET,
      ssh_keys: [key.body.ssh_key?.id],
      user_data: "#cloud-config\n",
      monitoring: true,
      tags: ["web"],
    });
    const droplet = created.body.droplet;
    expect(created.status).toBe(202);
    expect(droplet).toMatchObject({ status: "new", locked: true, networks: { v4: [], v6: [] } });
    expect(Number(droplet?.id)).toBeGreaterThan(500_000_000);
    const action = created.body.links?.actions?.[0];
    expect(action).toEqual({
      id: expect.any(Number) as number,
      rel: "create",
      href: `${cloud.url}/v2/actions/${textOf(action?.id)}`,
    });
    expect((await get(`/v2/actions/${textOf(action?.id)}`)).body.action).toMatchObject({
      status: "in-progress",
      type: "create",
      completed_at: null,
      resource_id: droplet?.id,
      resource_type: "droplet",
      region_slug: "fra1",
    });

    release();
    const running = await unlocked(Number(droplet?.id));
    expect(running).toMatchObject({
      name: "web",
      status: "active",
      memory: 4096,
      vcpus: 2,
      disk: 80,
      features: ["monitoring", "droplet_agent", "private_networking"],
      image: { slug: "debian-13-x64" },
      size: { slug: "s-2vcpu-4gb" },
      size_slug: "s-2vcpu-4gb",
      region: { slug: "fra1" },
      tags: ["web"],
      volume_ids: [],
      backup_ids: [],
      snapshot_ids: [],
      created_at: expect.stringMatching(TIME) as string,
      vpc_uuid: expect.stringMatching(UUID) as string,
      networks: {
        v4: [
          { type: "private", ip_address: "10.116.0.2" },
          { type: "public", ip_address: `${home.addressPrefix}.1`, gateway: `${home.addressPrefix}.254` },
        ],
        v6: [],
      },
    });
    expect(JSON.stringify(running)).not.toContain("cloud-config");
    expect(cloud.hypervisor.machines.get(Number(droplet?.id))?.spec).toEqual({
      id: droplet?.id,
      name: "web",
      region: "fra1",
      memoryMegabytes: 4096,
      vcpus: 2,
      publicAddress: `${home.addressPrefix}.1`,
      userData: "#cloud-config\n",
      sshKeys: [KEY],
      volumeIds: [],
    });
    expect((await get(`/v2/droplets/${textOf(droplet?.id)}/actions`)).body.actions?.[0]).toMatchObject({
      status: "completed",
      type: "create",
      completed_at: expect.stringMatching(TIME) as string,
    });
  });

  it.each([
    ["region", { region: "mars1" }, "You specified an invalid region for Droplet creation."],
    ["closed region", { region: "sfo1" }, "Region is not available"],
    ["size", { size: "s-99vcpu" }, "You specified an invalid size for Droplet creation."],
    ["size elsewhere", { size: "s-1vcpu-512mb-10gb", region: "tor1" }, "Size is not available in this region."],
    ["image", { image: "debian-99-x64" }, "You specified an invalid image for Droplet creation."],
    ["key", { ssh_keys: [1, "aa:bb"] }, "1, aa:bb are invalid key identifiers for Droplet creation."],
    ["name", { name: "my_web" }, "Only valid hostname characters are allowed. (a-z, A-Z, 0-9, . and -)"],
    ["user data", { user_data: "x".repeat(65_537) }, "User data is too large: it must be 64 KiB or less."],
    ["volume", { volumes: ["nope"] }, "Invalid volume allocations"],
  ])("refuse a wrong %s", async (_what, overrides, message) => {
    expect(refusal(await post("/v2/droplets", { ...DROPLET, ...overrides }))).toEqual(unprocessable(message));
    expect((await get("/v2/droplets")).body.droplets).toEqual([]);
  });

  it("get the lowest free address", async () => {
    const ids = [await createDroplet(), await createDroplet(), await createDroplet()];
    await remove(`/v2/droplets/${ids[1] ?? 0}`);
    await waitFor(
      "the second droplet to be gone",
      10,
      async () => (await get(`/v2/droplets/${ids[1] ?? 0}`)).status === 404,
    );
    const id = await createDroplet();
    expect(cloud.hypervisor.machines.get(id)?.spec.publicAddress).toBe(`${home.addressPrefix}.2`);
  });

  it("refuse an action, a volume and a delete while one is in progress", async () => {
    const id = await createDroplet();
    const volume = await createVolume();
    const release = holdMachineRoom();
    const reboot = await post(`/v2/droplets/${id}/actions`, { type: "reboot" });
    const pending = unprocessable("Droplet already has a pending event.");
    expect(refusal(await post(`/v2/droplets/${id}/actions`, { type: "power_off" }))).toEqual(pending);
    expect(refusal(await post(`/v2/volumes/${volume}/actions`, { type: "attach", droplet_id: id }))).toEqual(pending);
    expect(refusal(await remove(`/v2/droplets/${id}`))).toEqual(pending);
    release();
    expect(await finished(reboot)).toMatchObject({ status: "completed", type: "reboot" });
  });

  it("are powered off and on, and show a power-off from inside", async () => {
    const id = await createDroplet();
    expect(refusal(await post(`/v2/droplets/${id}/actions`, { type: "power_on" }))).toEqual(
      unprocessable("Droplet is already powered on"),
    );
    await act(id, { type: "shutdown" });
    expect(cloud.hypervisor.calls).toContain(`stopDroplet ${id} graceful`);
    expect(await unlocked(id)).toMatchObject({ status: "off" });
    expect(refusal(await post(`/v2/droplets/${id}/actions`, { type: "power_off" }))).toEqual(
      unprocessable("Droplet is already powered off"),
    );
    expect(await act(id, { type: "shutdown" })).toMatchObject({ status: "completed", type: "shutdown" });
    expect(await unlocked(id)).toMatchObject({ status: "off" });
    await act(id, { type: "power_on" });
    expect(await unlocked(id)).toMatchObject({ status: "active" });
    const machine = cloud.hypervisor.machines.get(id);
    if (machine) machine.running = false;
    expect(await unlocked(id)).toMatchObject({ status: "off" });
    await act(id, { type: "power_cycle" });
    expect(await unlocked(id)).toMatchObject({ status: "active" });
  });

  it("are resized only while they are off, and their disk never shrinks", async () => {
    const id = await createDroplet();
    const resize = (size: string, disk = false) => post(`/v2/droplets/${id}/actions`, { type: "resize", size, disk });
    expect(refusal(await resize("s-4vcpu-8gb"))).toEqual(
      unprocessable("Droplet must be powered off before it can be resized"),
    );
    await act(id, { type: "power_off" });
    expect(refusal(await resize("s-1vcpu-1gb"))).toEqual(
      unprocessable("Size can not decrease size of Droplet's disk image"),
    );
    await finished(await resize("s-4vcpu-8gb"));
    expect(await unlocked(id)).toMatchObject({ size_slug: "s-4vcpu-8gb", memory: 8192, vcpus: 4, disk: 80 });
    expect(cloud.hypervisor.machines.get(id)?.size).toEqual({ memoryMegabytes: 8192, vcpus: 4 });
    await finished(await resize("s-4vcpu-8gb", true));
    expect(await unlocked(id)).toMatchObject({ disk: 160 });
    expect((await resize("s-2vcpu-4gb")).status).toBe(422);
  });

  it("can be renamed, and get IPv6 and backups", async () => {
    const id = await createDroplet();
    await act(id, { type: "rename", name: "db.example.com" });
    await act(id, { type: "enable_ipv6" });
    await act(id, { type: "enable_backups", backup_policy: { plan: "daily", hour: 8 } });
    const droplet = await unlocked(id);
    expect(droplet).toMatchObject({
      name: "db.example.com",
      features: ["droplet_agent", "private_networking", "ipv6", "backups"],
      networks: { v6: [{ type: "public", netmask: 64 }] },
    });
    expect((await get(`/v2/droplets/${id}/backups/policy`)).body.policy).toMatchObject({
      backup_enabled: true,
      backup_policy: { plan: "daily", hour: 8 },
    });
    await act(id, { type: "disable_backups" });
    expect((await unlocked(id)).features).not.toContain("backups");
    expect((await post(`/v2/droplets/${id}/actions`, { type: "snapshot" })).status).toBe(501);
    expect((await post(`/v2/droplets/${id}/actions`, { type: "dance" })).status).toBe(422);
  });

  it("are backed up daily by default, and accept only a different policy", async () => {
    const id = await createDroplet({ backups: true });
    const policy = async () => (await get(`/v2/droplets/${id}/backups/policy`)).body.policy?.backup_policy;
    const daily = { plan: "daily", hour: 0, window_length_hours: 4, retention_period_days: 7 };
    expect(await policy()).toEqual(daily);
    const change = (body: object) => post(`/v2/droplets/${id}/actions`, { type: "change_backup_policy", ...body });
    expect(refusal(await change({}))).toEqual(unprocessable("backup_policy must be present."));
    expect(refusal(await change({ backup_policy: {} }))).toEqual(unprocessable("backup_policy.plan must be present."));
    await finished(await change({ backup_policy: { plan: "weekly", weekday: "MON", hour: 20 } }));
    expect(await policy()).toMatchObject({ plan: "weekly", weekday: "MON", hour: 20, retention_period_days: 28 });
    await act(id, { type: "disable_backups" });
    expect(refusal(await change({ backup_policy: { plan: "daily" } }))).toEqual(
      unprocessable("Backups are not enabled on this Droplet"),
    );
    await act(id, { type: "enable_backups" });
    expect(await policy()).toEqual(daily);
  });

  it("are listed by name and tag, and acted on and deleted by tag", async () => {
    const web = await createDroplet({ name: "web", tags: ["Front"] });
    await createDroplet({ name: "db" });
    const ids = async (query: string) =>
      ((await get(`/v2/droplets?${query}`)).body.droplets as unknown as { id: number }[]).map(({ id }) => id);
    expect(await ids("tag_name=front")).toEqual([web]);
    expect(await ids("name=web")).toEqual([web]);
    expect(await ids("name=WEB")).toEqual([web]);
    expect(await ids("name=we")).toEqual([]);
    expect(await ids("")).toHaveLength(2);
    const actions = await post("/v2/droplets/actions?tag_name=front", { type: "power_off" });
    expect([actions.status, actions.body.actions]).toMatchObject([201, [{ type: "power_off", resource_id: web }]]);
    await unlocked(web);
    expect((await remove("/v2/droplets?tag_name=front")).status).toBe(204);
    await waitFor("only one droplet to be left", 10, async () => (await ids("")).length === 1);
  });

  it.each([
    ["power_cycle", 201],
    // The droplet is on already.
    ["power_on", 422],
    ["power_off", 201],
    ["shutdown", 201],
    ["enable_ipv6", 201],
    ["enable_backups", 201],
    ["disable_backups", 201],
    ["snapshot", 501],
    ...["reboot", "rename", "resize", "rebuild", "restore", "password_reset", "change_kernel"].map((type) => [
      type,
      422,
    ]),
    ...["change_backup_policy", "enable_private_networking", "dance"].map((type) => [type, 422]),
  ])("accept eight actions by tag: %s is answered with %i", async (type, status) => {
    await createDroplet({ tags: ["web"] });
    const details = { name: "db", size: "s-4vcpu-8gb", backup_policy: { plan: "daily" } };
    expect((await post("/v2/droplets/actions?tag_name=web", { type, ...details })).status).toBe(status);
  });

  it("are created by one request for several", async () => {
    const { body } = await post("/v2/droplets", { ...DROPLET, name: undefined, names: ["a", "b"] });
    expect([body.droplets, body.links?.actions]).toMatchObject([
      [{ name: "a" }, { name: "b" }],
      [{}, {}],
    ]);
  });

  it("stay locked while they are destroyed, and do not take their volumes and firewalls with them", async () => {
    const id = await createDroplet();
    const volume = await createVolume();
    await actOnVolume(volume, { type: "attach", droplet_id: id });
    await post("/v2/firewalls", { name: "fw", inbound_rules: [SSH_RULE], droplet_ids: [id] });
    await waitFor(
      "the firewall to be applied",
      10,
      () => cloud.hypervisor.firewalls[0]?.dropletIds.includes(id) ?? false,
    );
    const release = holdMachineRoom();
    expect((await remove(`/v2/droplets/${id}`)).status).toBe(204);
    expect((await get(`/v2/droplets/${id}`)).body.droplet).toMatchObject({ locked: true, volume_ids: [volume] });
    release();
    await waitFor("the droplet to be gone", 10, async () => (await get(`/v2/droplets/${id}`)).status === 404);
    expect((await get(`/v2/volumes/${volume}`)).body.volume).toMatchObject({ droplet_ids: [] });
    expect((await get("/v2/firewalls")).body.firewalls).toMatchObject([{ droplet_ids: [] }]);
    expect((await get("/v2/projects/default/resources")).body.resources).toMatchObject([
      { urn: `do:volume:${volume}` },
    ]);
    expect(cloud.hypervisor.machines.size).toBe(0);
    expect((await remove(`/v2/volumes/${volume}`)).status).toBe(204);
  });

  it("stay new and unlocked, with an errored action, if their machine cannot be made, and can be deleted", async () => {
    cloud.hypervisor.failing.add("createDroplet");
    const created = await post("/v2/droplets", DROPLET);
    const id = Number(created.body.droplet?.id);
    expect(await unlocked(id)).toMatchObject({ status: "new" });
    expect((await get(`/v2/droplets/${id}/actions`)).body.actions).toMatchObject([
      { status: "errored", type: "create", completed_at: expect.stringMatching(TIME) as string },
    ]);
    await remove(`/v2/droplets/${id}`);
    await waitFor("the droplet to be gone", 10, async () => (await get(`/v2/droplets/${id}`)).status === 404);
  });
});

describe("volumes", () => {
  it("are created with a file system, grown, attached, detached and deleted", async () => {
    const created = await post("/v2/volumes", {
      ...VOLUME,
      description: "rows",
      filesystem_type: "ext4",
      filesystem_label: "data",
      tags: ["db"],
    });
    const volume = created.body.volume;
    const id = textOf(volume?.id);
    expect([created.status, volume]).toMatchObject([
      201,
      {
        id: expect.stringMatching(UUID) as string,
        ...VOLUME,
        region: { slug: "fra1" },
        description: "rows",
        droplet_ids: [],
        filesystem_type: "ext4",
        filesystem_label: "data",
        tags: ["db"],
        created_at: expect.stringMatching(TIME) as string,
      },
    ]);
    expect(cloud.hypervisor.disks.get(id)?.spec).toEqual({
      id,
      name: "data",
      sizeGigabytes: 100,
      filesystem: { type: "ext4", label: "data" },
    });
    const droplet = await createDroplet();
    expect(await actOnVolume(id, { type: "attach", droplet_id: droplet })).toMatchObject({
      status: "completed",
      type: "attach_volume",
      resource_id: null,
      resource_type: "backend",
    });
    expect((await get(`/v2/droplets/${droplet}`)).body.droplet?.volume_ids).toEqual([id]);
    expect((await get(`/v2/volumes/${id}`)).body.volume?.droplet_ids).toEqual([droplet]);
    expect(await actOnVolume(id, { type: "resize", size_gigabytes: 150, region: "fra1" })).toMatchObject({
      type: "resize",
    });
    expect(cloud.hypervisor.disks.get(id)).toMatchObject({ sizeGigabytes: 150, dropletId: droplet });
    expect(refusal(await remove(`/v2/volumes/${id}`))).toEqual([
      409,
      "conflict",
      "failed to delete volume: attached volume cannot be deleted",
    ]);
    await actOnVolume(id, { type: "detach", droplet_id: droplet });
    expect(cloud.hypervisor.disks.get(id)?.dropletId).toBeUndefined();
    expect((await get(`/v2/volumes/${id}/actions`)).body.meta?.total).toBe(3);
    expect((await remove(`/v2/volumes/${id}`)).status).toBe(204);
    expect((await get(`/v2/volumes/${id}`)).status).toBe(404);
    expect(cloud.hypervisor.disks.size).toBe(0);
  });

  it("are attached in the call that creates their droplet", async () => {
    const volume = await createVolume();
    const id = await createDroplet({ volumes: [{ id: volume }] });
    expect((await get(`/v2/droplets/${id}`)).body.droplet?.volume_ids).toEqual([volume]);
    expect(cloud.hypervisor.disks.get(volume)?.dropletId).toBe(id);
    expect(refusal(await post("/v2/droplets", { ...DROPLET, volumes: [{ id: volume }] }))).toEqual(
      unprocessable("Invalid volume allocations"),
    );
  });

  it("are named uniquely in their region and found by name there", async () => {
    await createVolume();
    expect(refusal(await post("/v2/volumes", VOLUME))).toEqual([409, "conflict", "already exists"]);
    const other = await createVolume({ region: "nyc1" });
    expect((await get("/v2/volumes?name=data&region=nyc1")).body.volumes).toMatchObject([{ id: other }]);
    const droplet = await createDroplet({ region: "nyc1" });
    const attach = { type: "attach", volume_name: "data", region: "nyc1", droplet_id: droplet };
    await finished(await post("/v2/volumes/actions", attach));
    const resize = { type: "resize", volume_name: "data", region: "nyc1", size_gigabytes: 200 };
    expect(refusal(await post("/v2/volumes/actions", resize))).toEqual(unprocessable("Unsupported action type"));
    expect((await get(`/v2/volumes/${other}`)).body.volume?.droplet_ids).toEqual([droplet]);
    expect((await remove("/v2/volumes?name=data&region=fra1")).status).toBe(204);
    expect((await get("/v2/volumes")).body.meta).toEqual({ total: 1 });
  });

  it.each(["Data", "1data", "da_ta", "-data", "d".repeat(65), ""])("refuse the name %j", async (name) => {
    expect((await post("/v2/volumes", { ...VOLUME, name })).status).toBe(422);
  });

  it.each([
    [{ size_gigabytes: 0 }, "size_gigabytes: is 0, must be from 1 to 16384."],
    [{ size_gigabytes: 16385 }, "size_gigabytes: is 16385, must be from 1 to 16384."],
    [{ region: "mars1" }, "You specified an invalid region for Volume creation."],
    [{ filesystem_type: "zfs" }, "filesystem_type: is zfs, must be ext4 or xfs."],
    [
      { filesystem_type: "xfs", filesystem_label: "thirteen-long" },
      "filesystem_label: has 13 characters, must have 12 at most.",
    ],
  ])("refuse %j", async (overrides, message) => {
    expect(refusal(await post("/v2/volumes", { ...VOLUME, ...overrides }))).toEqual(unprocessable(message));
  });

  it("attach to one droplet in their region, fifteen at most, and detach from it", async () => {
    const [here, other, far] = [await createDroplet(), await createDroplet(), await createDroplet({ region: "nyc1" })];
    const volume = await createVolume();
    const attach = (droplet: number) => post(`/v2/volumes/${volume}/actions`, { type: "attach", droplet_id: droplet });
    const detach = (droplet: number) => post(`/v2/volumes/${volume}/actions`, { type: "detach", droplet_id: droplet });
    expect(refusal(await attach(far))).toEqual(unprocessable("Droplet and volume must be in the same region"));
    expect(refusal(await detach(here))).toEqual(unprocessable("Attachment not found"));
    await finished(await attach(here));
    expect(refusal(await attach(other))).toEqual(unprocessable("This volume is already attached"));
    expect(refusal(await detach(other))).toEqual(unprocessable("Attachment not found"));
    for (let number = 2; number <= 15; number++) {
      await actOnVolume(await createVolume({ name: `data-${number}` }), { type: "attach", droplet_id: here });
    }
    const sixteenth = await createVolume({ name: "data-16" });
    expect(refusal(await post(`/v2/volumes/${sixteenth}/actions`, { type: "attach", droplet_id: here }))).toEqual(
      unprocessable("exceed max volume count"),
    );
  });

  it("never shrink", async () => {
    const id = await createVolume();
    const resize = (size: number) => post(`/v2/volumes/${id}/actions`, { type: "resize", size_gigabytes: size });
    expect(refusal(await resize(99))).toEqual(
      unprocessable("size_gigabytes: is 99, must be greater than the current 100."),
    );
    expect((await resize(100)).status).toBe(422);
    expect((await resize(16385)).status).toBe(422);
  });

  it("do not exist if their disk cannot be made, and still exist if it cannot be deleted", async () => {
    cloud.hypervisor.failing.add("createVolume");
    expect((await post("/v2/volumes", VOLUME)).status).toBe(500);
    expect((await get("/v2/volumes")).body.volumes).toEqual([]);
    const id = await createVolume();
    cloud.hypervisor.failing.add("deleteVolume");
    expect((await remove(`/v2/volumes/${id}`)).status).toBe(500);
    expect((await remove(`/v2/volumes/${id}`)).status).toBe(204);
  });
});

describe("firewalls", () => {
  it("apply to their droplets and those with their tags, now and later", async () => {
    for (const name of ["web", "db"]) await post("/v2/tags", { name });
    const one = await createDroplet();
    const created = await post("/v2/firewalls", {
      name: "edge",
      inbound_rules: [
        SSH_RULE,
        { protocol: "tcp", ports: "all", sources: { addresses: ["10.1.2.3"], tags: ["db"] } },
        { protocol: "icmp", sources: ANYWHERE },
      ],
      outbound_rules: [{ protocol: "udp", ports: "0", destinations: { droplet_ids: [one] } }],
      droplet_ids: [one],
      tags: ["web"],
    });
    const firewall = created.body.firewall;
    expect([created.status, firewall]).toEqual([
      202,
      {
        id: expect.stringMatching(UUID) as string,
        name: "edge",
        status: "waiting",
        created_at: expect.stringMatching(TIME) as string,
        pending_changes: [{ droplet_id: one, removing: false, status: "waiting" }],
        inbound_rules: [
          SSH_RULE,
          { protocol: "tcp", ports: "0", sources: { addresses: ["10.1.2.3"], tags: ["db"] } },
          { protocol: "icmp", ports: "0", sources: ANYWHERE },
        ],
        outbound_rules: [{ protocol: "udp", ports: "0", destinations: { droplet_ids: [one] } }],
        droplet_ids: [one],
        tags: ["web"],
      },
    ]);
    await waitFor("the firewall to be applied", 10, async () => {
      const { body } = await get(`/v2/firewalls/${textOf(firewall?.id)}`);
      return (body.firewall?.status as unknown) === "succeeded";
    });
    const two = await createDroplet({ tags: ["web", "db"] });
    expect(cloud.hypervisor.firewalls).toEqual([
      {
        id: firewall?.id,
        dropletIds: [one, two],
        inbound: [
          { protocol: "tcp", ports: "22", addresses: ANYWHERE.addresses },
          { protocol: "tcp", ports: "all", addresses: ["10.1.2.3/32", `${home.addressPrefix}.2/32`] },
          { protocol: "icmp", ports: "all", addresses: ANYWHERE.addresses },
        ],
        outbound: [{ protocol: "udp", ports: "all", addresses: [`${home.addressPrefix}.1/32`] }],
      },
    ]);
    expect((await get(`/v2/droplets/${two}/firewalls`)).body.firewalls).toMatchObject([{ id: firewall?.id }]);
    await remove("/v2/tags/web");
    await waitFor(
      "the firewall to leave the untagged droplet",
      10,
      () => cloud.hypervisor.firewalls[0]?.dropletIds.length === 1,
    );
  });

  it("are changed as a whole, or by their droplets, tags and rules", async () => {
    const id = await createDroplet();
    await post("/v2/tags", { name: "web" });
    const created = await post("/v2/firewalls", { name: "edge", inbound_rules: [SSH_RULE] });
    const path = `/v2/firewalls/${textOf(created.body.firewall?.id)}`;
    const web = { protocol: "tcp", ports: "443", sources: ANYWHERE };
    expect((await post(`${path}/droplets`, { droplet_ids: [id] })).status).toBe(204);
    expect((await post(`${path}/tags`, { tags: ["web"] })).status).toBe(204);
    expect((await post(`${path}/rules`, { inbound_rules: [web], outbound_rules: null })).status).toBe(204);
    expect((await get(path)).body.firewall).toMatchObject({
      inbound_rules: [SSH_RULE, web],
      droplet_ids: [id],
      tags: ["web"],
    });
    expect((await remove(`${path}/rules`, { inbound_rules: [SSH_RULE] })).status).toBe(204);
    expect((await remove(`${path}/droplets`, { droplet_ids: [id] })).status).toBe(204);
    expect((await get(path)).body.firewall).toMatchObject({ inbound_rules: [web], droplet_ids: [] });
    expect((await remove(`${path}/rules`, { inbound_rules: [web] })).status).toBe(422);
    const replaced = await put(path, { name: "edge-2", inbound_rules: [SSH_RULE] });
    expect(replaced.body.firewall).toMatchObject({ name: "edge-2", inbound_rules: [SSH_RULE], tags: [] });
    expect((await remove(path)).status).toBe(204);
    await waitFor("no firewall to be left", 10, () => cloud.hypervisor.firewalls.length === 0);
  });

  it("name only existing tags, and create none", async () => {
    const unknown = unprocessable("tag web not found");
    const tagged = { ...SSH_RULE, sources: { tags: ["web"] } };
    const outbound = { protocol: "tcp", ports: "all", destinations: { tags: ["web"] } };
    const firewall = { name: "edge", inbound_rules: [SSH_RULE] };
    expect(refusal(await post("/v2/firewalls", { ...firewall, tags: ["web"] }))).toEqual(unknown);
    expect(refusal(await post("/v2/firewalls", { ...firewall, inbound_rules: [tagged] }))).toEqual(unknown);
    expect(refusal(await post("/v2/firewalls", { ...firewall, outbound_rules: [outbound] }))).toEqual(unknown);
    const created = await post("/v2/firewalls", firewall);
    const path = `/v2/firewalls/${textOf(created.body.firewall?.id)}`;
    expect(refusal(await put(path, { ...firewall, tags: ["web"] }))).toEqual(unknown);
    for (const call of [post, remove]) {
      expect(refusal(await call(`${path}/tags`, { tags: ["web"] }))).toEqual(unknown);
      expect(refusal(await call(`${path}/rules`, { inbound_rules: [tagged] }))).toEqual(unknown);
    }
    expect((await get("/v2/tags")).body.tags).toEqual([]);
    await post("/v2/tags", { name: "Web" });
    expect((await post(`${path}/tags`, { tags: ["web"] })).status).toBe(204);
    expect((await get(path)).body.firewall?.tags).toEqual(["Web"]);
  });

  it("show that the machine room refused them, and recover", async () => {
    cloud.hypervisor.failing.add("applyFirewalls");
    const { body } = await post("/v2/firewalls", { name: "edge", inbound_rules: [SSH_RULE] });
    const path = `/v2/firewalls/${textOf(body.firewall?.id)}`;
    const becomes = (status: string) =>
      waitFor(`status ${status}`, 10, async () => ((await get(path)).body.firewall?.status as unknown) === status);
    await becomes("failed");
    await put(path, { name: "edge", inbound_rules: [SSH_RULE] });
    await becomes("succeeded");
  });

  it.each([
    ["no rule", { inbound_rules: [] }, "must provide at least one inbound or outbound rule"],
    ["address", { inbound_rules: [{ ...SSH_RULE, sources: { addresses: ["10.0.0.0/33"] } }] }, "invalid address"],
    ["nobody", { inbound_rules: [{ ...SSH_RULE, sources: {} }] }, "sources must not be empty."],
    ["protocol", { inbound_rules: [{ ...SSH_RULE, protocol: "gre" }] }, "protocol: is gre, must be tcp, udp or icmp."],
    [
      "ports",
      { inbound_rules: [{ ...SSH_RULE, ports: "90-80" }] },
      "ports: is 90-80, must be a port, a range such as 8000-9000, or all.",
    ],
    ["droplet", { droplet_ids: [7] }, "droplet 7 not found"],
    ["name", { name: "e" }, "name must be two or more letters, digits, dots and dashes, the first a letter or digit"],
  ])("refuse wrong %s", async (_what, overrides, message) => {
    const firewall = { name: "edge", inbound_rules: [SSH_RULE], ...overrides };
    expect(refusal(await post("/v2/firewalls", firewall))).toEqual(unprocessable(message));
  });

  it("are named uniquely", async () => {
    await post("/v2/firewalls", { name: "edge", inbound_rules: [SSH_RULE] });
    const second = await post("/v2/firewalls", { name: "edge", inbound_rules: [SSH_RULE] });
    expect(refusal(second)).toEqual([409, "conflict", "duplicate name"]);
  });
});

describe("tags", () => {
  it("count their resources, in upper or lower case", async () => {
    expect((await post("/v2/tags", { name: "Web" })).body.tag).toMatchObject({ name: "Web", resources: { count: 0 } });
    const droplet = await createDroplet({ tags: ["web"] });
    const volume = await createVolume();
    const resources = [{ resource_id: volume, resource_type: "volume" }];
    expect((await post("/v2/tags/web/resources", { resources })).status).toBe(204);
    expect((await get("/v2/tags/WEB")).body.tag).toEqual({
      name: "Web",
      resources: {
        count: 2,
        last_tagged_uri: `${cloud.url}/v2/droplets/${droplet}`,
        droplets: { count: 1, last_tagged_uri: `${cloud.url}/v2/droplets/${droplet}` },
        volumes: { count: 1, last_tagged_uri: `${cloud.url}/v2/volumes/${volume}` },
        images: { count: 0 },
        volume_snapshots: { count: 0 },
        databases: { count: 0 },
      },
    });
    expect((await remove("/v2/tags/web/resources", { resources })).status).toBe(204);
    expect((await get(`/v2/volumes/${volume}`)).body.volume?.tags).toEqual([]);
    expect((await remove("/v2/tags/web")).status).toBe(204);
    expect((await get(`/v2/droplets/${droplet}`)).body.droplet?.tags).toEqual([]);
    expect((await get("/v2/tags/web")).status).toBe(404);
  });

  it("are created by a droplet, a volume or an attachment that names them, but not by a removal", async () => {
    const droplet = await createDroplet({ tags: ["on-droplet"] });
    const volume = await createVolume({ tags: ["on-volume"] });
    await actOnVolume(volume, { type: "attach", droplet_id: droplet, tags: ["on-attachment"] });
    expect((await get(`/v2/volumes/${volume}`)).body.volume?.tags).toEqual(["on-volume", "on-attachment"]);
    const resources = [{ resource_id: volume, resource_type: "volume" }];
    for (const call of [post, remove]) {
      expect((await call("/v2/tags/none/resources", { resources })).status).toBe(404);
    }
    expect((await remove("/v2/droplets?tag_name=none")).status).toBe(404);
    const { tags } = (await get("/v2/tags")).body as unknown as { tags: { name: string }[] };
    expect(tags.map(({ name }) => name)).toEqual(["on-droplet", "on-volume", "on-attachment"]);
  });

  it("are valid, and name only existing resources", async () => {
    expect((await post("/v2/tags", { name: "no spaces" })).status).toBe(422);
    await post("/v2/tags", { name: "web" });
    const resources = [{ resource_id: "12", resource_type: "droplet" }];
    expect((await post("/v2/tags/web/resources", { resources })).status).toBe(404);
  });
});

describe("projects", () => {
  it("have resources, which are in the default project first", async () => {
    const created = await post("/v2/projects", {
      name: "convex",
      purpose: "Web Application",
      environment: "Production",
    });
    const id = textOf(created.body.project?.id);
    expect([created.status, created.body.project]).toMatchObject([
      201,
      { name: "convex", purpose: "Web Application", environment: "Production", is_default: false, description: "" },
    ]);
    const urn = `do:droplet:${await createDroplet()}`;
    expect((await get("/v2/projects/default/resources")).body.resources).toMatchObject([{ urn, status: "ok" }]);
    const assigned = await post(`/v2/projects/${id}/resources`, { resources: [urn, "do:droplet:1"] });
    expect([assigned.status, assigned.body.resources]).toMatchObject([
      200,
      [{ urn, status: "assigned" }, { status: "not_found" }],
    ]);
    const other = `do:volume:${await createVolume()}`;
    const more = await post(`/v2/projects/${id}/resources`, { resources: [other] });
    expect(more.body.resources).toMatchObject([
      { urn, status: "ok" },
      { urn: other, status: "assigned" },
    ]);
    const again = await post(`/v2/projects/${id}/resources`, { resources: [urn] });
    expect(again.body.resources).toMatchObject([
      { urn, status: "already_assigned" },
      { urn: other, status: "ok" },
    ]);
    await post("/v2/projects/default/resources", { resources: [other] });
    expect((await get(`/v2/projects/${id}/resources?page=1&per_page=200`)).body).toMatchObject({
      resources: [{ urn, links: { self: `${cloud.url}/v2/droplets/${urn.slice(11)}` } }],
      links: {},
      meta: { total: 1 },
    });
    expect(refusal(await remove(`/v2/projects/${id}`))).toEqual([
      412,
      "precondition_failed",
      "cannot delete a project with resources",
    ]);
    await post("/v2/projects/default/resources", { resources: [urn] });
    expect((await remove(`/v2/projects/${id}`)).status).toBe(204);
  });

  it.each(["", "web", "do:droplet:", "do:spaceship:1", "urn:pulumi:dev::convex::digitalocean:index/app:App::web"])(
    "take nothing that is no URN of a resource: %j",
    async (urn) => {
      const droplet = `do:droplet:${await createDroplet()}`;
      const { body } = await post("/v2/projects", { name: "convex", purpose: "IoT" });
      const path = `/v2/projects/${textOf(body.project?.id)}/resources`;
      expect(refusal(await post(path, { resources: [droplet, urn] }))).toEqual([
        400,
        "bad_request",
        "resource objects must have an urn in the following format: do:resource_type:resource_id",
      ]);
      expect((await get(path)).body.resources).toEqual([]);
      expect((await post(path, { resources: [12] })).status).toBe(422);
    },
  );

  it('store an unknown purpose as "Other", and texts of 255 characters at most', async () => {
    const { body } = await post("/v2/projects", { name: "convex", purpose: "Database" });
    expect(body.project?.purpose).toBe("Other: Database");
    const path = `/v2/projects/${textOf(body.project?.id)}`;
    const patched = async (fields: object) => (await cloud.call("PATCH", path, fields)).body.project;
    expect((await patched({ description: "d".repeat(255) }))?.purpose).toBe("Other: Database");
    expect((await patched({ purpose: "Other: Database" }))?.purpose).toBe("Other: Database");
    expect((await patched({ purpose: "Service or API" }))?.purpose).toBe("Service or API");
    for (const text of ["purpose", "description"]) {
      const long = { [text]: "x".repeat(256) };
      const refused = unprocessable(`${text} must have 255 characters at most`);
      expect(refusal(await cloud.call("PATCH", path, long))).toEqual(refused);
      expect(refusal(await post("/v2/projects", { name: "long", purpose: "IoT", ...long }))).toEqual(refused);
    }
  });

  it("accept all fields with PUT and some with PATCH", async () => {
    const { body } = await post("/v2/projects", { name: "convex", purpose: "IoT" });
    const path = `/v2/projects/${textOf(body.project?.id)}`;
    const whole = { name: "other", description: "ours", purpose: "IoT", environment: "Staging", is_default: false };
    expect((await put(path, whole)).body.project).toMatchObject(whole);
    for (const field of Object.keys(whole)) {
      expect(refusal(await put(path, { ...whole, [field]: null }))).toEqual(unprocessable(`${field} must be present.`));
    }
    expect(refusal(await cloud.call("PATCH", path, {}))).toEqual(
      unprocessable("name or description or purpose or environment or is_default must be present."),
    );
    expect((await cloud.call("PATCH", path, { environment: null, name: "third" })).body.project).toMatchObject({
      ...whole,
      name: "third",
    });
  });

  it("change, and one is the default", async () => {
    const { body } = await post("/v2/projects", { name: "convex", purpose: "Web Application" });
    const path = `/v2/projects/${textOf(body.project?.id)}`;
    const patched = await cloud.call("PATCH", path, { description: "ours", is_default: true });
    expect(patched.body.project).toMatchObject({ name: "convex", description: "ours", is_default: true });
    expect((await get("/v2/projects/default")).body.project?.id).toBe(body.project?.id);
    expect((await remove(path)).status).toBe(412);
    expect((await post("/v2/projects", { name: "convex", purpose: "x" })).status).toBe(422);
  });
});

describe("domains", () => {
  const NO_HOST =
    "Name Only valid hostname characters are allowed. (a-z, A-Z, 0-9, ., _ and -) Or a single record of '@'.";
  const records = "/v2/domains/example.com/records";
  const list = async (query = "") =>
    ((await get(`${records}${query}`)).body.domain_records as unknown as Json[]).map(({ type, name, data }) =>
      [type, name, data].map(textOf).join(" "),
    );
  const addRecord = async (record: object) => {
    const { status, body } = await post(records, record);
    expect(status).toBe(201);
    return { path: `${records}/${textOf(body.domain_record?.id)}`, record: body.domain_record };
  };

  beforeEach(async () => {
    await post("/v2/domains", { name: "Example.com" });
  });

  it("have a zone with their name servers, and an address if they are created with one", async () => {
    expect(await list()).toEqual([
      "SOA @ 1800",
      "NS @ ns1.digitalocean.com",
      "NS @ ns2.digitalocean.com",
      "NS @ ns3.digitalocean.com",
    ]);
    const created = await post("/v2/domains", { name: "example.org", ip_address: "192.0.2.1" });
    expect(created.body.domain).toEqual({ name: "example.org", ttl: 1800, zone_file: null });
    expect((await get("/v2/domains/example.org")).body.domain?.zone_file).toMatch(
      /^\$ORIGIN example\.org\.\n\$TTL 1800\nexample\.org\. IN SOA ns1\.digitalocean\.com\. .*\n(.* NS .*\n){3}example\.org\. 1800 IN A 192\.0\.2\.1\n$/,
    );
    expect((await get("/v2/domains")).body.domains).toHaveLength(2);
    expect((await get("/v2/projects/default/resources")).body.resources).toMatchObject([
      { urn: "do:domain:example.com" },
      { urn: "do:domain:example.org" },
    ]);
    expect((await remove("/v2/domains/example.org")).status).toBe(204);
    expect((await get("/v2/domains/example.org/records")).status).toBe(404);
    expect((await get("/v2/projects/default/resources")).body.resources).toHaveLength(1);
  });

  it.each([
    ["a name that exists", { name: "EXAMPLE.com" }, "Name already exists"],
    ["a name without a dot", { name: "localhost" }, "Name is invalid"],
    ["no host name", { name: "-a.example.com" }, "Name is invalid"],
    ["a wrong address", { name: "example.org", ip_address: "192.0.2" }, "IP address is invalid"],
  ])("refuse %s", async (_what, body, message) => {
    expect(refusal(await post("/v2/domains", body))).toEqual(unprocessable(message));
    expect((await get("/v2/domains")).body.domains).toHaveLength(1);
  });

  it("have records with the fields of their type, half an hour to live by default", async () => {
    const none = { priority: null, port: null, ttl: 1800, weight: null, flags: null, tag: null };
    // The Go client sends zeros for numbers that a type does not have.
    const a = await addRecord({ type: "A", name: "www", data: "192.0.2.1", priority: 0, port: 0, weight: 0, flags: 0 });
    expect(a.record).toEqual({ id: expect.any(Number) as number, type: "A", name: "www", data: "192.0.2.1", ...none });
    const caa = await addRecord({ type: "CAA", name: "@", data: "letsencrypt.org.", flags: 0, tag: "issue", ttl: 60 });
    expect(caa.record).toMatchObject({ ...none, data: "letsencrypt.org", flags: 0, tag: "issue", ttl: 60 });
    expect((await get(a.path)).body.domain_record).toEqual(a.record);
    expect((await remove(a.path)).status).toBe(204);
    expect((await get(a.path)).status).toBe(404);
  });

  it.each([
    ["www.example.com.", "www"],
    ["example.com.", "@"],
    ["@", "@"],
    ["*", "*"],
    ["_acme-challenge.WWW", "_acme-challenge.www"],
  ])("are named relative to the domain: %s", async (name, shown) => {
    expect((await addRecord({ type: "TXT", name, data: "x" })).record).toMatchObject({ name: shown });
  });

  it.each([
    ["host.example.org.", "host.example.org"],
    ["www.example.com.", "www.example.com"],
    ["www", "www.example.com"],
    ["example.com.", "@"],
    ["@", "@"],
  ])("lead to a host that is complete, in the domain, or the domain itself: %s", async (data, shown) => {
    expect((await addRecord({ type: "CNAME", name: "alias", data })).record).toMatchObject({ data: shown });
  });

  it("keep the form of a CAA record that reports", async () => {
    const iodef = { type: "CAA", name: "@", data: "mailto:ca@example.com", flags: 0, tag: "iodef" };
    expect((await addRecord(iodef)).record).toMatchObject({ data: "mailto:ca@example.com" });
  });

  it("are found by type and full name", async () => {
    await addRecord({ type: "A", name: "www", data: "192.0.2.1" });
    await addRecord({ type: "TXT", name: "www", data: "x" });
    expect(await list("?type=A")).toEqual(["A www 192.0.2.1"]);
    expect(await list("?name=www.example.com")).toEqual(["A www 192.0.2.1", "TXT www x"]);
    expect(await list("?name=www.example.com&type=TXT")).toEqual(["TXT www x"]);
    expect(await list("?name=example.com&type=SOA")).toEqual(["SOA @ 1800"]);
    expect(await list("?name=www")).toEqual([]);
  });

  it("change in the fields that are sent, with PUT and PATCH", async () => {
    const { path, record } = await addRecord({ type: "A", name: "www", data: "192.0.2.1" });
    expect((await put(path, { type: "A", ttl: 60 })).body.domain_record).toEqual({ ...record, ttl: 60 });
    const patched = await cloud.call("PATCH", path, { type: "A", name: "app", data: "192.0.2.2" });
    expect(patched.body.domain_record).toEqual({ ...record, ttl: 60, name: "app", data: "192.0.2.2" });
    const serial = async () =>
      Number(/SOA \S+ \S+ (\d+)/.exec(textOf((await get("/v2/domains/example.com")).body.domain?.zone_file))?.[1]);
    const before = await serial();
    await put(path, { type: "A", data: "192.0.2.3" });
    expect(await serial()).toBeGreaterThan(before);
  });

  it("need their host again in each change, as in the API", async () => {
    const { path } = await addRecord({ type: "CNAME", name: "alias", data: "www.example.com." });
    expect(refusal(await put(path, { type: "CNAME", ttl: 60 }))).toEqual(
      unprocessable("Data needs to end with a dot (.)"),
    );
    expect((await put(path, { type: "CNAME", ttl: 60, data: "www.example.com." })).status).toBe(200);
  });

  it.each([
    ["an unknown type", { type: "cname" }, "Record type is not included in the list"],
    ["a second SOA", { type: "SOA" }, "Record type is not included in the list"],
    ["no name", { name: undefined }, "Name can't be blank"],
    ["an invalid name", { name: "w w" }, NO_HOST],
    ["a name of another domain", { name: "www.example.org." }, NO_HOST],
    ["no data", { data: undefined }, "Data can't be blank"],
    ["a wrong IPv4", { data: "::1" }, "Data IP address did not match IPv4 format (e.g. 255.255.255.255)."],
    ["a wrong IPv6", { type: "AAAA" }, "Data IP address did not match IPv6 format (e.g. 2001:db8::ff00:42:8329)."],
    ["a host without final dot", { type: "CNAME", data: "www.example.org" }, "Data needs to end with a dot (.)"],
    [
      "an authority without final dot",
      { type: "CAA", flags: 0, tag: "issue", data: "ca.org" },
      "Data needs to end with a dot (.)",
    ],
    ["a host that is none", { type: "NS", data: "a b." }, "Data is invalid"],
    [
      "an alias beside others",
      { type: "CNAME", name: "@", data: "a." },
      "CNAME records cannot share a name with other records",
    ],
    ["an MX without priority", { type: "MX", data: "mail" }, "Priority can't be blank"],
    ["a CAA without flags", { type: "CAA", tag: "issue" }, "Flags can't be blank"],
    ["a CAA without tag", { type: "CAA", flags: 0 }, "Tag can't be blank"],
    ["a CAA with an unknown tag", { type: "CAA", flags: 0, tag: "x" }, "Tag is not included in the list"],
    ["a number that is too large", { type: "CAA", flags: 256, tag: "issue" }, "Flags must be between 0 and 255"],
    ["a short life", { ttl: 29 }, "Ttl must be greater than or equal to 30"],
  ])("refuse %s", async (_what, change, message) => {
    const answer = await post(records, { type: "A", name: "www", data: "192.0.2.1", ...change });
    expect(refusal(answer)).toEqual(unprocessable(message));
    expect(await list()).toHaveLength(4);
  });

  it("refuse records beside an alias, and the removal of their SOA", async () => {
    const { path } = await addRecord({ type: "CNAME", name: "alias", data: "@" });
    const shared = unprocessable("CNAME records cannot share a name with other records");
    expect(refusal(await post(records, { type: "A", name: "alias", data: "192.0.2.1" }))).toEqual(shared);
    expect((await put(path, { type: "CNAME", name: "other", data: "@" })).status).toBe(200);
    const soa = (await get(`${records}?type=SOA`)).body.domain_records?.[0];
    expect(refusal(await remove(`${records}/${textOf(soa?.id)}`))).toEqual(
      unprocessable("SOA records cannot be deleted"),
    );
  });
});

describe("the name server", () => {
  const served = () => cloud.hypervisor.zones.map(({ name }) => name);

  it("gets every change of a domain, also after a failure and in the next process, and nothing without one", async () => {
    await createDroplet();
    expect(cloud.hypervisor.calls.filter((call) => call.startsWith("serveZones"))).toEqual([]);
    cloud.hypervisor.failing.add("serveZones");
    await post("/v2/domains", { name: "example.com" });
    await expect.poll(() => cloud.log.join()).toContain("domains: Error: serveZones fails");
    await post("/v2/domains/example.com/records", { type: "A", name: "www", data: "192.0.2.1" });
    await expect.poll(() => cloud.hypervisor.zones[0]?.file).toContain("www.example.com. 1800 IN A 192.0.2.1\n");
    expect(cloud.hypervisor.zones[0]?.file).toContain(` ${textOf(cloud.hypervisor.zones[0]?.serial)} 10800 `);

    await cloud[Symbol.asyncDispose]();
    cloud = await serveTestCloud(home);
    await expect.poll(served).toEqual(["example.com"]);
    await remove("/v2/domains/example.com");
    await expect.poll(served).toEqual([]);
  });
});

describe("reserved addresses", () => {
  const reserve = async (body: object = { region: "fra1" }) => {
    const answer = await post("/v2/reserved_ips", body);
    expect(answer.status).toBe(202);
    return `/v2/reserved_ips/${textOf(answer.body.reserved_ip?.ip)}`;
  };
  const act = async (path: string, body: object) => {
    const { status, body: answer } = await post(`${path}/actions`, body);
    expect(status).toBe(201);
    const action = textOf(answer.action?.id);
    const ended = async () => textOf((await get(`/v2/actions/${action}`)).body.action?.status);
    await waitFor(`action ${action}`, 10, async () => (await ended()) !== "in-progress");
    return { ...answer.action, ended: await ended() };
  };
  const dropletOf = async (path: string) => (await get(path)).body.reserved_ip?.droplet?.id;

  it("are reserved in a region, then assigned, moved and unassigned by actions", async () => {
    const [one, two] = [await createDroplet(), await createDroplet()];
    const path = await reserve();
    const ip = path.split("/").at(-1) ?? "";
    expect((await get(path)).body.reserved_ip).toMatchObject({
      ip: `${home.addressPrefix}.251`,
      region: { slug: "fra1" },
      droplet: null,
      locked: false,
      project_id: expect.stringMatching(UUID) as string,
    });
    const assigned = await act(path, { type: "assign", droplet_id: one });
    expect(assigned).toMatchObject({
      ...{ status: "in-progress", ended: "completed", type: "assign_ip", completed_at: null },
      ...{ resource_type: "reserved_ip", region_slug: "fra1" },
    });
    expect(await dropletOf(path)).toBe(one);
    expect(cloud.hypervisor.addresses).toEqual(new Map([[ip, one]]));
    // Clients find it after the droplet's own public address.
    const { v4 } = (await get(`/v2/droplets/${one}`)).body.droplet?.networks ?? {};
    expect((v4 as unknown as Json[]).filter(({ type }) => textOf(type) === "public")).toMatchObject([
      { ip_address: `${home.addressPrefix}.1` },
      { ip_address: ip },
    ]);

    await act(path, { type: "assign", droplet_id: two });
    expect(await dropletOf(path)).toBe(two);
    expect(cloud.hypervisor.addresses).toEqual(new Map([[ip, two]]));
    expect(await act(path, { type: "unassign" })).toMatchObject({ type: "unassign_ip", ended: "completed" });
    expect((await get(path)).body.reserved_ip?.droplet).toBeNull();
    expect(cloud.hypervisor.addresses.size).toBe(0);
    expect(((await get(`${path}/actions`)).body.actions as unknown as Json[]).map(({ type }) => type)).toEqual([
      ...["unassign_ip", "assign_ip", "assign_ip"],
    ]);
    // They are no actions on the droplet.
    expect((await get(`/v2/droplets/${one}/actions`)).body.actions).toMatchObject([{ type: "create" }]);
    expect((await remove(path)).status).toBe(204);
    expect((await get(path)).status).toBe(404);
  });

  it("are reserved for a droplet, and lead nowhere when it or they are deleted", async () => {
    const droplet = await createDroplet();
    const { body } = await post("/v2/reserved_ips", { droplet_id: droplet });
    expect(body).toMatchObject({
      reserved_ip: { droplet: null, locked: true, region: { slug: "fra1" } },
      links: { droplets: [{ id: droplet, rel: "droplet" }], actions: [{ rel: "assign_ip" }] },
    });
    const path = `/v2/reserved_ips/${textOf(body.reserved_ip?.ip)}`;
    await waitFor("the assignment", 10, async () => (await dropletOf(path)) !== undefined);
    await remove(`/v2/droplets/${droplet}`);
    await waitFor("the droplet's end", 10, async () => (await get(`/v2/droplets/${droplet}`)).status === 404);
    expect((await get(path)).body.reserved_ip?.droplet).toBeNull();
    expect(refusal(await post(`${path}/actions`, { type: "unassign" }))).toEqual(
      unprocessable("The reserved IP is not assigned to a Droplet."),
    );

    const other = await createDroplet();
    await act(path, { type: "assign", droplet_id: other });
    expect((await remove(path)).status).toBe(204);
    expect(cloud.hypervisor.addresses.size).toBe(0);
    expect((await get("/v2/projects/default/resources")).body.resources).toMatchObject([
      { urn: `do:droplet:${other}` },
    ]);
  });

  it("are locked, and lock their droplet, while an action is in progress", async () => {
    const [droplet, next] = [await createDroplet(), await createDroplet()];
    const path = await reserve();
    const other = await reserve();
    const gate = Promise.withResolvers<undefined>();
    cloud.hypervisor.gate = gate.promise;
    expect((await post(`${path}/actions`, { type: "assign", droplet_id: droplet })).status).toBe(201);
    expect((await get(path)).body.reserved_ip?.locked).toBe(true);
    expect((await get(`/v2/droplets/${droplet}`)).body.droplet?.locked).toBe(true);
    const pending = (what: string) => unprocessable(`${what} already has a pending event.`);
    expect(refusal(await remove(path))).toEqual(pending("The reserved IP"));
    expect(refusal(await post(`${path}/actions`, { type: "assign", droplet_id: next }))).toEqual(
      pending("The reserved IP"),
    );
    expect(refusal(await post(`${other}/actions`, { type: "assign", droplet_id: droplet }))).toEqual(
      pending("Droplet"),
    );
    gate.resolve(undefined);
    await unlocked(droplet);
    expect(await dropletOf(path)).toBe(droplet);
  });

  it("end an action in error, and stay as they were, if the machine room refuses", async () => {
    const droplet = await createDroplet();
    const path = await reserve();
    cloud.hypervisor.failing.add("assignAddress");
    expect(await act(path, { type: "assign", droplet_id: droplet })).toMatchObject({ ended: "errored" });
    expect((await get(path)).body.reserved_ip?.droplet).toBeNull();
    expect(await act(path, { type: "assign", droplet_id: droplet })).toMatchObject({ ended: "completed" });
  });

  it("are three at most, in an available region", async () => {
    const paths = [await reserve(), await reserve(), await reserve()];
    expect(new Set(paths).size).toBe(3);
    expect(refusal(await post("/v2/reserved_ips", { region: "fra1" }))).toEqual(
      unprocessable("You have reached the limit of 3 reserved IPs."),
    );
    await remove(paths[1] ?? "");
    expect(await reserve()).toBe(paths[1]);
    expect((await get("/v2/reserved_ips")).body.reserved_ips).toHaveLength(3);
  });

  it.each([
    ["an unknown region", { region: "x" }, "You specified an invalid region for reserved IP creation."],
    ["an unknown droplet", { droplet_id: 1 }, "Droplet not found"],
  ])("are not reserved for %s", async (_what, body, message) => {
    expect(refusal(await post("/v2/reserved_ips", body))).toEqual(unprocessable(message));
    expect((await get("/v2/reserved_ips")).body.reserved_ips).toEqual([]);
  });

  it("are assigned to an existing droplet in their region without another, and unassigned once", async () => {
    const path = await reserve();
    const far = await createDroplet({ region: "nyc3" });
    const near = await createDroplet();
    const refused = async (body: object) => refusal(await post(`${path}/actions`, body));
    expect(await refused({ type: "assign", droplet_id: 1 })).toEqual(unprocessable("Droplet not found"));
    expect(await refused({ type: "assign", droplet_id: far })).toEqual(
      unprocessable("Droplet and reserved IP must be in the same region"),
    );
    expect(await refused({ type: "unassign" })).toEqual(unprocessable("The reserved IP is not assigned to a Droplet."));
    expect(await refused({ type: "attach" })).toEqual(unprocessable("Unsupported action type"));
    await act(await reserve(), { type: "assign", droplet_id: near });
    expect(await refused({ type: "assign", droplet_id: near })).toEqual(
      unprocessable("Droplet already has a reserved IP"),
    );
  });

  it("belong to the project of their droplet, which shows them by their former name", async () => {
    const droplet = await createDroplet();
    const path = await reserve();
    const ip = path.split("/").at(-1) ?? "";
    const { body } = await post("/v2/projects", { name: "convex", purpose: "IoT" });
    const project = textOf(body.project?.id);
    const resources = `/v2/projects/${project}/resources`;
    const urns = async () => ((await get(resources)).body.resources as unknown as Json[]).map(({ urn }) => urn);
    // A client may name it by its present name.
    await post(resources, { resources: [`do:reservedip:${ip}`] });
    expect(await urns()).toEqual([`do:floatingip:${ip}`]);
    expect((await get(path)).body.reserved_ip).toMatchObject({ project_id: project });

    await act(path, { type: "assign", droplet_id: droplet });
    expect(await urns()).toEqual([]);
    expect(refusal(await post(resources, { resources: [`do:floatingip:${ip}`] }))).toEqual([
      412,
      "precondition_failed",
      "Cannot move a Reserved IP with an associated Droplet. Move the Droplet instead",
    ]);
    await post(resources, { resources: [`do:droplet:${droplet}`] });
    expect(await urns()).toEqual([`do:droplet:${droplet}`, `do:floatingip:${ip}`]);
  });
});

describe("faults", () => {
  const fault = async (body: object) => {
    const answer = await post("/_control/faults", body);
    expect(answer.status).toBe(201);
    return textOf(answer.body.fault?.id);
  };

  it("fail the next requests that match", async () => {
    await fault({ kind: "request", method: "GET", path: "^/v2/droplets", status: 503, message: "busy", count: 2 });
    expect(refusal(await get("/v2/droplets?page=1"))).toEqual([503, "service_unavailable", "busy"]);
    expect((await get("/v2/volumes")).status).toBe(200);
    expect((await get("/v2/droplets/1")).status).toBe(503);
    expect((await get("/v2/droplets")).status).toBe(200);
    await fault({ kind: "request", path: "account", status: 429, retry_after: 7 });
    const limited = await get("/v2/account");
    expect([limited.status, limited.headers.get("retry-after")]).toEqual([429, "7"]);
    expect(limited.headers.get("ratelimit-remaining")).toBe("0");
  });

  it.each([
    [400, "bad_request"],
    [401, "unauthorized"],
    [403, "forbidden"],
    [404, "not_found"],
    [409, "conflict"],
    [412, "precondition_failed"],
    [422, "unprocessable_entity"],
    [429, "too_many_requests"],
    [500, "server_error"],
    [502, "bad_gateway"],
    [503, "service_unavailable"],
    [504, "gateway_timeout"],
  ])("have the short name of their status: %i is %s", async (status, id) => {
    await fault({ kind: "request", path: "account", status });
    expect(refusal(await get("/v2/account"))).toEqual([status, id, "The sandbox was told to fail this request."]);
  });

  it("delay a request", async () => {
    await fault({ kind: "request", path: "account", delay_ms: 300 });
    const start = Date.now();
    expect((await get("/v2/account")).status).toBe(200);
    expect(Date.now() - start).toBeGreaterThanOrEqual(290);
  });

  it("do the work and lose the answer", async () => {
    await fault({ kind: "request", method: "POST", path: "volumes", lost: true });
    await expect(post("/v2/volumes", { name: "unheard", region: "nyc3", size_gigabytes: 1 })).rejects.toThrow();
    expect((await get("/v2/volumes?name=unheard&region=nyc3")).body.volumes).toHaveLength(1);
  });

  it("make an action end in error without any work", async () => {
    const droplet = await createDroplet();
    const volume = await createVolume();
    await fault({ kind: "action", action: "attach_volume" });
    const attach = { type: "attach", droplet_id: droplet };
    expect(await actOnVolume(volume, attach)).toMatchObject({ status: "errored" });
    expect((await get(`/v2/volumes/${volume}`)).body.volume?.droplet_ids).toEqual([]);
    expect(await actOnVolume(volume, attach)).toMatchObject({ status: "completed" });
  });

  it("keep a droplet from booting until they are deleted", async () => {
    const id = await fault({ kind: "boot", boot: "never" });
    const { body } = await post("/v2/droplets", DROPLET);
    const droplet = Number(body.droplet?.id);
    await waitFor("the fault to apply", 10, async () => {
      const { body: listed } = await get("/_control/faults");
      return (listed.faults?.[0]?.remaining as unknown) === 0;
    });
    expect((await get(`/v2/droplets/${droplet}`)).body.droplet).toMatchObject({
      ...{ status: "new", locked: true },
      networks: { v4: [], v6: [] },
    });
    expect(cloud.hypervisor.machines.size).toBe(0);
    expect((await remove(`/_control/faults/${id}`)).status).toBe(204);
    expect(await unlocked(droplet)).toMatchObject({ status: "active" });
  });

  it("show a droplet as active with its machine off, until it is powered on", async () => {
    await fault({ kind: "boot", boot: "dead" });
    const id = await createDroplet();
    expect(await unlocked(id)).toMatchObject({ status: "active" });
    expect(cloud.hypervisor.machines.get(id)?.running).toBe(false);
    await act(id, { type: "power_cycle" });
    expect(cloud.hypervisor.machines.get(id)?.running).toBe(true);
    await act(id, { type: "power_off" });
    expect(await unlocked(id)).toMatchObject({ status: "off" });
  });

  it("are listed and deleted, and refused if invalid", async () => {
    await fault({ kind: "action", action: "create" });
    expect((await get("/_control/faults")).body.faults).toEqual([
      { id: 1, remaining: 1, kind: "action", action: "create" },
    ]);
    expect((await remove("/_control/faults")).status).toBe(204);
    expect((await get("/_control/faults")).body.faults).toEqual([]);
    expect((await post("/_control/faults", { kind: "flood" })).status).toBe(422);
    expect((await post("/_control/faults", { kind: "request", path: "(" })).status).toBe(422);
  });
});
