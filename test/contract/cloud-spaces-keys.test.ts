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
  for (const { access_key } of cloud.cloud.store.state.spaces_keys) {
    await cloud.call("DELETE", `/v2/spaces/keys/${access_key}`);
  }
});

const FULL = [{ bucket: "", permission: "fullaccess" }];

async function create(name: string, grants: object[] = []): Promise<Json> {
  const { status, body } = await cloud.call("POST", "/v2/spaces/keys", { name, grants });
  expect([status, body.message]).toEqual([201, undefined]);
  return body.key ?? {};
}

async function names(query: string): Promise<unknown> {
  const { body } = await cloud.call("GET", `/v2/spaces/keys?${query}`);
  return (body.keys as unknown as Json[]).map(({ name }) => name);
}

describe("a key for Spaces", () => {
  it("shows its secret only in the answer to its create", async () => {
    const key = await create("first", FULL);
    expect(key).toEqual({
      name: "first",
      grants: FULL,
      access_key: expect.stringMatching(/^DO00[A-Z0-9]{16}$/) as string,
      secret_key: expect.stringMatching(/^[A-Za-z0-9+/]{43}$/) as string,
      created_at: expect.stringMatching(/^20\d\d-.*Z$/) as string,
    });
    const path = `/v2/spaces/keys/${textOf(key.access_key)}`;
    const answers = [
      await cloud.call("GET", path),
      await cloud.call("GET", "/v2/spaces/keys"),
      await cloud.call("PUT", path, { name: "second", grants: [] }),
      await cloud.call("PATCH", path, { grants: FULL }),
    ];
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
    expect(JSON.stringify(answers)).not.toContain("secret");
    expect(answers[3]?.body.key).toMatchObject({ name: "second", grants: FULL });
  });

  it("is deleted once", async () => {
    const path = `/v2/spaces/keys/${textOf((await create("short")).access_key)}`;
    expect((await cloud.call("DELETE", path)).status).toBe(204);
    for (const method of ["GET", "DELETE"]) expect((await cloud.call(method, path)).status).toBe(404);
    expect((await cloud.call("PUT", path, { name: "x" })).status).toBe(404);
  });

  it.each([
    ["no name", { grants: FULL }],
    ["an empty name", { name: "" }],
    ["an unknown permission", { name: "k", grants: [{ bucket: "b", permission: "write" }] }],
    ["a limited grant without a bucket", { name: "k", grants: [{ bucket: "", permission: "read" }] }],
    ["full access to one bucket", { name: "k", grants: [{ bucket: "b", permission: "fullaccess" }] }],
    ["full access and a limited grant", { name: "k", grants: [...FULL, { bucket: "b", permission: "read" }] }],
  ])("is refused with %s", async (_case, body) => {
    const key = textOf((await create("k")).access_key);
    for (const [method, path] of [
      ["POST", "/v2/spaces/keys"],
      ["PUT", `/v2/spaces/keys/${key}`],
    ] as const) {
      const { status, body: error } = await cloud.call(method, path, body);
      expect([status, error]).toMatchObject([400, { id: "bad_request", message: expect.any(String) as string }]);
    }
  });

  it("is found by name, bucket and permission, in pages, the latest first", async () => {
    await create("one", [{ bucket: "a", permission: "read" }]);
    await create("two", [
      { bucket: "a", permission: "readwrite" },
      { bucket: "b", permission: "read" },
    ]);
    await create("three", FULL);
    expect(await names("")).toEqual(["three", "two", "one"]);
    expect(await names("bucket=a")).toEqual(["two", "one"]);
    expect(await names("permission=read&sort=name&sort_direction=asc")).toEqual(["one", "two"]);
    expect(await names("permission=fullaccess")).toEqual(["three"]);
    expect(await names("name=one")).toEqual(["one"]);
    expect(await names("per_page=1&page=2")).toEqual(["two"]);
  });

  it("lets droplets reach Spaces, which no key does not", async () => {
    await create("first", FULL);
    expect(cloud.hypervisor.calls.filter((call) => call.startsWith("serveSpaces"))).not.toEqual([]);
    const another = await temporaryHome();
    const empty = await serveTestCloud(another);
    await empty.cloud.applySpacesKeys();
    expect(empty.hypervisor.calls).toEqual(["applyFirewalls 0"]);
    await empty[Symbol.asyncDispose]();
    await another[Symbol.asyncDispose]();
  });
});
