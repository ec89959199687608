import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";

import { serveTestCloud, temporaryHome, textOf } from "./cloud-harness.ts";
import type { Json, TestCloud } from "./cloud-harness.ts";

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

async function create(settings: object = {}): Promise<Json> {
  const { status, body } = await cloud.call("POST", "/v2/databases", { ...SMALL, ...settings });
  expect([status, body.message]).toEqual([201, undefined]);
  return body.database ?? {};
}

async function get(id: unknown): Promise<Json> {
  return (await cloud.call("GET", `/v2/databases/${textOf(id)}`)).body.database ?? {};
}

const online = (id: unknown) => expect.poll(async () => (await get(id)).status).toBe("online");

describe("a database cluster", () => {
  it("is created, and comes online", async () => {
    const { id, ...made } = await create();
    expect(made).toMatchObject({ status: "creating", num_nodes: 1, users: null, db_names: null });
    await online(id);
    await cloud.call("PUT", `/v2/databases/${textOf(id)}/firewall`, {
      rules: [{ type: "ip_addr", value: "192.0.2.1" }],
    });
    await cloud.call("GET", "/v2/databases/options");
  });
});
