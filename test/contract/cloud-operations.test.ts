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
  await expectStatus(200, "GET", `/v2/volumes/${volume}/snapshots`);
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
  // A second delete finds nothing.
  const gone = [`projects/${project}`, `firewalls/${firewall}`, `droplets/${droplet}`, `volumes/${volume}`, "tags/web"];
  for (const path of [...gone, "droplets?tag_name=web", "volumes?name=data&region=fra1", `account/keys/${key}`]) {
    await expectStatus(404, "DELETE", `/v2/${path}`);
  }
});

it.each([
  ...["account/keys/1", "actions/1", "droplets/1", "droplets/1/actions", "droplets/1/actions/1", "droplets/1/backups"],
  ...["droplets/1/backups/policy", "droplets/1/firewalls", "droplets/1/kernels", "droplets/1/neighbors"],
  ...["droplets/1/snapshots", "images/none", "tags/none"],
  ...["", "/actions", "/actions/1", "/snapshots"].map((path) => `volumes/${NOWHERE}${path}`),
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
] as [string, string][])("%s %s", (method, template) => {
  let path = template;

  beforeAll(async () => {
    const { store } = cloud.cloud;
    if (store.state.keys.length === 0) {
      await cloud.call("POST", "/v2/account/keys", { name: "k", public_key: KEY });
      await cloud.call("POST", "/v2/volumes", { ...VOLUME, name: "other" });
      await cloud.call("POST", "/v2/firewalls", { name: "front", ...RULES });
      await cloud.call("POST", "/v2/droplets", { ...DROPLET, tags: ["front"] });
      await idle();
    }
    const { keys, volumes, firewalls, droplets } = store.state;
    path = template
      .replace("KEY", String(keys[0]?.id))
      .replace("VOLUME", String(volumes[0]?.id))
      .replace("FIREWALL", String(firewalls[0]?.id))
      .replace("DROPLET", String(droplets[0]?.id));
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
