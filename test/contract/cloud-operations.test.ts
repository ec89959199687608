import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { waitFor } from "../../sandbox/wait-for.ts";
import type { Answer, Json, TestCloud } from "./cloud-harness.ts";
import { send, serveTestCloud, temporaryHome, textOf } from "./cloud-harness.ts";

// At least one request for each operation that the simulator serves, valid and invalid. If the published API description
// is available, the harness checks all of them against it.

const KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA3q3IhYxkuyOWe3WdUsJnIGdwrGjbdqO0RjxqDNZxgv someone@example";
const DROPLET = { name: "web", region: "fra1", size: "s-2vcpu-4gb", image: "debian-13-x64" };
const VOLUME = { name: "data", region: "fra1", size_gigabytes: 10 };
const RULES = { inbound_rules: [{ protocol: "tcp", ports: "22", sources: { addresses: ["0.0.0.0/0"] } }] };
const PROJECT = { name: "convex", description: "", purpose: "Web Application", environment: "Staging" };
const NOWHERE = "00000000-0000-4000-8000-000000000000";

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

async function expectStatus(status: number, method: string, path: string, body?: unknown): Promise<Answer> {
  const answer = await cloud.call(method, path, body);
  expect([method, path, answer.status, answer.body.message]).toEqual([
    method,
    path,
    status,
    status < 300 ? undefined : (expect.any(String) as string),
  ]);
  return answer;
}

const idle = () =>
  waitFor("all actions to end", 10, async () => {
    const { body } = await cloud.call("GET", "/v2/actions?per_page=200");
    return (body.actions as unknown as Json[]).every((action) => (action.status as unknown) !== "in-progress");
  });

async function publicNames() {
  const domain = "/v2/domains/example.com";
  await expectStatus(201, "POST", "/v2/domains", { name: "example.com", ip_address: "192.0.2.1" });
  await expectStatus(200, "GET", "/v2/domains");
  await expectStatus(200, "GET", domain);
  const records = [
    { type: "A", name: "www", data: "192.0.2.1" },
    { type: "AAAA", name: "www", data: "2001:db8::1" },
    { type: "CAA", name: "@", data: "letsencrypt.org.", flags: 0, tag: "issue" },
    { type: "CNAME", name: "alias", data: "www.example.com." },
    { type: "MX", name: "@", data: "mail.example.com.", priority: 10 },
    { type: "NS", name: "sub", data: "ns.example.org.", flags: null, tag: null },
    { type: "SRV", name: "_sip._tcp", data: "@", priority: 1, port: 5060, weight: 1, flags: null, tag: null },
    { type: "TXT", name: "@", data: "v=spf1 -all", flags: null, tag: null },
  ];
  for (const record of records) await expectStatus(201, "POST", `${domain}/records`, record);
  const { body } = await expectStatus(200, "GET", `${domain}/records?type=A&name=www.example.com`);
  const record = `${domain}/records/${textOf(body.domain_records?.[0]?.id)}`;
  await expectStatus(200, "GET", record);
  await expectStatus(200, "PUT", record, { type: "A", name: "app", data: "192.0.2.2", ttl: 60 });
  await expectStatus(200, "PATCH", record, { type: "A", data: "192.0.2.3" });
  return { domain, record };
}

async function reservedIps(droplet: string) {
  const created = await expectStatus(202, "POST", "/v2/reserved_ips", { region: "fra1" });
  const path = `/v2/reserved_ips/${textOf(created.body.reserved_ip?.ip)}`;
  const assigned = await expectStatus(202, "POST", "/v2/reserved_ips", { droplet_id: Number(droplet) });
  await idle();
  const other = `/v2/reserved_ips/${textOf(assigned.body.reserved_ip?.ip)}`;
  await expectStatus(200, "GET", other);
  await expectStatus(201, "POST", `${other}/actions`, { type: "unassign" });
  await idle();
  await expectStatus(204, "DELETE", other);
  const action = await expectStatus(201, "POST", `${path}/actions`, { type: "assign", droplet_id: Number(droplet) });
  await idle();
  await expectStatus(200, "GET", "/v2/reserved_ips");
  await expectStatus(200, "GET", path);
  await expectStatus(200, "GET", `/v2/droplets/${droplet}`);
  await expectStatus(200, "GET", `${path}/actions`);
  await expectStatus(200, "GET", `${path}/actions/${textOf(action.body.action?.id)}`);
  await expectStatus(200, "GET", `/v2/actions/${textOf(action.body.action?.id)}`);
  return path;
}

async function spacesKeys() {
  const { body } = await expectStatus(201, "POST", "/v2/spaces/keys", { name: "k", grants: [] });
  const path = `/v2/spaces/keys/${textOf(body.key?.access_key)}`;
  await expectStatus(200, "GET", "/v2/spaces/keys?per_page=1&sort=name&bucket=b");
  await expectStatus(200, "GET", path);
  await expectStatus(200, "PUT", path, { name: "l", grants: [{ bucket: "b", permission: "read" }] });
  await expectStatus(200, "PATCH", path, { name: "m" });
  await expectStatus(400, "PATCH", path, { name: "" });
  await expectStatus(204, "DELETE", path);
  await expectStatus(404, "GET", path);
}

it("answers each operation with the documented status", async () => {
  const key = textOf(
    (await expectStatus(201, "POST", "/v2/account/keys", { name: "k", public_key: KEY })).body.ssh_key?.id,
  );
  await expectStatus(201, "POST", "/v2/tags", { name: "web" });
  const volume = textOf((await expectStatus(201, "POST", "/v2/volumes", VOLUME)).body.volume?.id);
  const created = await expectStatus(202, "POST", "/v2/droplets", {
    ...DROPLET,
    tags: ["web"],
    ipv6: true,
    backups: true,
  });
  const droplet = textOf(created.body.droplet?.id);
  const action = textOf(created.body.links?.actions?.[0]?.id);
  await expectStatus(202, "POST", "/v2/droplets", { ...DROPLET, name: undefined, names: ["a", "b"] });
  await idle();
  const firewall = textOf(
    (await expectStatus(202, "POST", "/v2/firewalls", { name: "edge", ...RULES, droplet_ids: [Number(droplet)] })).body
      .firewall?.id,
  );
  const project = textOf((await expectStatus(201, "POST", "/v2/projects", PROJECT)).body.project?.id);

  const { domain, record } = await publicNames();
  const reserved = await reservedIps(droplet);
  await spacesKeys();

  for (const path of ["account", "regions", "sizes", "images", "images/debian-13-x64"]) {
    await expectStatus(200, "GET", `/v2/${path}`);
  }
  for (const path of ["account/keys", `account/keys/${key}`, "actions", `actions/${action}`, "tags", "tags/web"]) {
    await expectStatus(200, "GET", `/v2/${path}`);
  }
  for (const path of [
    "",
    "/actions",
    `/actions/${action}`,
    "/firewalls",
    "/backups/policy",
    "/neighbors",
    "/kernels",
  ]) {
    await expectStatus(200, "GET", `/v2/droplets/${droplet}${path}`);
  }
  for (const path of ["/snapshots", "/backups"]) await expectStatus(200, "GET", `/v2/droplets/${droplet}${path}`);
  for (const path of ["droplets", "firewalls", `firewalls/${firewall}`, "volumes", `volumes/${volume}`]) {
    await expectStatus(200, "GET", `/v2/${path}`);
  }
  for (const path of ["", "/default", `/${project}`, `/${project}/resources`, "/default/resources"]) {
    await expectStatus(200, "GET", `/v2/projects${path}`);
  }

  await expectStatus(200, "PUT", `/v2/account/keys/${key}`, { name: "other" });
  await expectStatus(201, "POST", `/v2/droplets/${droplet}/actions`, { type: "rename", name: "db" });
  await idle();
  await expectStatus(201, "POST", "/v2/droplets/actions?tag_name=web", { type: "power_cycle" });
  await idle();
  const attach = await expectStatus(202, "POST", `/v2/volumes/${volume}/actions`, {
    type: "attach",
    droplet_id: Number(droplet),
  });
  await idle();
  await expectStatus(200, "GET", `/v2/volumes/${volume}/actions`);
  await expectStatus(200, "GET", `/v2/volumes/${volume}/actions/${textOf(attach.body.action?.id)}`);
  await expectStatus(201, "POST", `/v2/volumes/${volume}/snapshots`, { name: "before", tags: ["web"] });
  const { body: copies } = await expectStatus(200, "GET", `/v2/volumes/${volume}/snapshots`);
  const copy = textOf(copies.snapshots?.[0]?.id);
  await expectStatus(200, "GET", "/v2/snapshots?resource_type=volume");
  for (const path of [`/v2/snapshots/${copy}`, `/v2/volumes/snapshots/${copy}`]) await expectStatus(200, "GET", path);
  await expectStatus(200, "GET", "/v2/tags/web");
  await expectStatus(204, "DELETE", `/v2/snapshots/${copy}`);
  await expectStatus(404, "DELETE", `/v2/volumes/snapshots/${copy}`);
  const detach = { type: "detach", volume_name: VOLUME.name, region: VOLUME.region, droplet_id: Number(droplet) };
  await expectStatus(202, "POST", "/v2/volumes/actions", detach);
  await idle();

  const parts = { droplets: { droplet_ids: [Number(droplet)] }, tags: { tags: ["web"] } };
  const outbound = { outbound_rules: [{ protocol: "udp", ports: "53", destinations: { tags: ["web"] } }] };
  for (const [part, body] of Object.entries({ ...parts, rules: outbound })) {
    await expectStatus(204, "POST", `/v2/firewalls/${firewall}/${part}`, body);
    await expectStatus(204, "DELETE", `/v2/firewalls/${firewall}/${part}`, body);
  }
  await expectStatus(200, "PUT", `/v2/firewalls/${firewall}`, { name: "edge", ...RULES });
  const resources = [{ resource_id: volume, resource_type: "volume" }];
  await expectStatus(204, "POST", "/v2/tags/web/resources", { resources });
  await expectStatus(204, "DELETE", "/v2/tags/web/resources", { resources });
  for (const id of [project, "default"]) {
    await expectStatus(200, "POST", `/v2/projects/${id}/resources`, { resources: [`do:volume:${volume}`] });
    await expectStatus(200, "PATCH", `/v2/projects/${id}`, { description: "ours" });
    await expectStatus(200, "PUT", `/v2/projects/${id}`, {
      ...PROJECT,
      name: `put-${id}`,
      is_default: id === "default",
    });
  }

  await expectStatus(412, "DELETE", "/v2/projects/default");
  await expectStatus(204, "DELETE", `/v2/projects/${project}`);
  await expectStatus(204, "DELETE", `/v2/firewalls/${firewall}`);
  await expectStatus(204, "DELETE", "/v2/droplets?tag_name=web");
  await idle();
  await expectStatus(204, "DELETE", `/v2/volumes?name=${VOLUME.name}&region=${VOLUME.region}`);
  await expectStatus(204, "DELETE", "/v2/tags/web");
  await expectStatus(204, "DELETE", `/v2/account/keys/${key}`);
  await expectStatus(204, "DELETE", record);
  await expectStatus(204, "DELETE", domain);
  await expectStatus(204, "DELETE", reserved);
  // A second delete finds nothing.
  const gone = [`projects/${project}`, `firewalls/${firewall}`, `droplets/${droplet}`, `volumes/${volume}`, "tags/web"];
  for (const path of [...gone, "droplets?tag_name=web", "volumes?name=data&region=fra1", `account/keys/${key}`]) {
    await expectStatus(404, "DELETE", `/v2/${path}`);
  }
  for (const path of [record, domain, reserved]) await expectStatus(404, "DELETE", path);
});

it.each([
  ...["account/keys/1", "actions/1", "droplets/1", "droplets/1/actions", "droplets/1/actions/1", "droplets/1/backups"],
  ...["droplets/1/backups/policy", "droplets/1/firewalls", "droplets/1/kernels", "droplets/1/neighbors"],
  ...["droplets/1/snapshots", "images/none", "tags/none"],
  ...["", "/actions", "/actions/1", "/snapshots"].map((path) => `volumes/${NOWHERE}${path}`),
  ...["domains/example.org", "domains/example.org/records", "domains/example.org/records/1"],
  ...["", "/actions", "/actions/1"].map((path) => `reserved_ips/192.0.2.1${path}`),
  ...[`firewalls/${NOWHERE}`, `projects/${NOWHERE}`, `projects/${NOWHERE}/resources`],
])("answers 404 for what does not exist: %s", async (path) => {
  await expectStatus(404, "GET", `/v2/${path}`);
});

describe.each([
  ["POST", "/v2/account/keys"],
  ["PUT", "/v2/account/keys/KEY"],
  ["POST", "/v2/droplets"],
  ["POST", "/v2/droplets/DROPLET/actions"],
  ["POST", "/v2/droplets/actions?tag_name=web"],
  ["POST", "/v2/domains"],
  ["POST", "/v2/domains/example.net/records"],
  ["PUT", "/v2/domains/example.net/records/RECORD"],
  ["PATCH", "/v2/domains/example.net/records/RECORD"],
  ["POST", "/v2/reserved_ips"],
  ["POST", "/v2/reserved_ips/RESERVED/actions"],
  ["POST", "/v2/firewalls"],
  ["PUT", "/v2/firewalls/FIREWALL"],
  ...["droplets", "tags", "rules"].flatMap((part) => [
    ["POST", `/v2/firewalls/FIREWALL/${part}`],
    ["DELETE", `/v2/firewalls/FIREWALL/${part}`],
  ]),
  ["POST", "/v2/projects"],
  ["PUT", "/v2/projects/default"],
  ["PATCH", "/v2/projects/default"],
  ["POST", "/v2/projects/default/resources"],
  ["POST", "/v2/tags"],
  ["POST", "/v2/tags/front/resources"],
  ["DELETE", "/v2/tags/front/resources"],
  ["POST", "/v2/volumes"],
  ["POST", "/v2/volumes/actions"],
  ["POST", "/v2/volumes/VOLUME/actions"],
  ["POST", "/v2/volumes/VOLUME/snapshots"],
] as [string, string][])("%s %s", (method, template) => {
  let path = template;

  beforeAll(async () => {
    const { store } = cloud.cloud;
    if (store.state.keys.length === 0) {
      await cloud.call("POST", "/v2/account/keys", { name: "k", public_key: KEY });
      await cloud.call("POST", "/v2/volumes", { ...VOLUME, name: "other" });
      await cloud.call("POST", "/v2/firewalls", { name: "front", ...RULES });
      await cloud.call("POST", "/v2/droplets", { ...DROPLET, tags: ["front"] });
      await cloud.call("POST", "/v2/domains", { name: "example.net" });
      await cloud.call("POST", "/v2/reserved_ips", { region: "fra1" });
      await idle();
    }
    const { keys, volumes, firewalls, droplets, domains, reserved_ips: reserved } = store.state;
    path = template
      .replace("KEY", String(keys[0]?.id))
      .replace("VOLUME", String(volumes[0]?.id))
      .replace("FIREWALL", String(firewalls[0]?.id))
      .replace("DROPLET", String(droplets[0]?.id))
      .replace("RECORD", String(domains[0]?.records[0]?.id))
      .replace("RESERVED", String(reserved[0]?.ip));
  });

  it("refuses a body without a required field, and a request without a body", async () => {
    for (const body of [{}, [], undefined]) {
      const { body: error } = await expectStatus(422, method, path, body);
      expect(error).toMatchObject({ id: "unprocessable_entity", request_id: expect.any(String) as string });
    }
  });

  it("answers broken JSON with 400", async () => {
    const { status, body } = await send(cloud.url, cloud.token, method, path, '{"name": "web",');
    expect([status, body]).toMatchObject([
      400,
      { id: "bad_request", message: "Your request body was malformed.", request_id: expect.any(String) as string },
    ]);
  });
});
