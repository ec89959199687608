import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import {
  CreateBucketCommand,
  DeleteBucketCommand,
  HeadBucketCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  DeleteObjectCommand,
} from "@aws-sdk/client-s3";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";

import { Secret, UNKNOWN } from "../../sandbox/plugins/framework/values.ts";
import { serveTestCloud, temporaryHome } from "./cloud-harness.ts";
import type { TestCloud } from "./cloud-harness.ts";
import { type Inputs, type Made, PluginClient } from "./plugin-client.ts";
import { Waits } from "./plugin-clock.ts";
import { expectSame, isOriginal, standInOnly } from "./plugin-subject.ts";
import { type Key, newKey, s3Client } from "./spaces-client.ts";

const BUCKET = "digitalocean:index/spacesBucket:SpacesBucket";
const KEY = "digitalocean:index/spacesKey:SpacesKey";
const ENDPOINT = "http://{{.Region}}.digitaloceanspaces.com";

let home: Awaited<ReturnType<typeof temporaryHome>>;
let folder: string;
let cloud: TestCloud;
let key: Key;
let waits: Waits;
let plugin: PluginClient;

beforeAll(async () => {
  home = await temporaryHome();
  folder = await mkdtemp(path.join(tmpdir(), "plugin-spaces-"));
  waits = new Waits(path.join(folder, "sleeps"), isOriginal("digitalocean"));
  cloud = await serveTestCloud(home);
  key = await newKey(cloud);
  plugin = await start();
  await plugin.configure(settings());
});
afterAll(async () => {
  await plugin[Symbol.asyncDispose]();
  await cloud[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
  await rm(folder, { recursive: true });
});
afterEach(() => cloud.call("DELETE", "/_control/faults"));

const settings = () => ({
  ...{ token: cloud.token, apiEndpoint: cloud.url },
  ...{ spacesAccessId: key.accessKeyId, spacesSecretKey: key.secretAccessKey },
});

function start(env: Record<string, string> = {}): Promise<PluginClient> {
  return PluginClient.start("digitalocean", {
    standIn: path.resolve("test/contract/plugin-digitalocean-main.ts"),
    env: {
      ...{ PLUGIN_SLEEPS: path.join(folder, "sleeps"), DIGITALOCEAN_API_URL: "", DIGITALOCEAN_TOKEN: "" },
      ...{ SPACES_ACCESS_KEY_ID: "", SPACES_SECRET_ACCESS_KEY: "" },
      ...{ SPACES_ENDPOINT_URL: ENDPOINT, HTTP_PROXY: cloud.url },
      ...env,
    },
  });
}

const fault = (settings: object) => cloud.call("POST", "/_control/faults", { kind: "spaces", ...settings });

async function refreshed(made: Made): Promise<Made> {
  const found = await plugin.read(made);
  if (found === undefined) throw new Error(`${made.urn}: is gone`);
  return found;
}

describe("the provider's settings for Spaces", () => {
  test("have no defaults in the state, and come from the environment, too", async () => {
    const env = {
      ...{ DIGITALOCEAN_TOKEN: cloud.token, DIGITALOCEAN_API_URL: cloud.url },
      ...{ SPACES_ACCESS_KEY_ID: key.accessKeyId, SPACES_SECRET_ACCESS_KEY: key.secretAccessKey },
    };
    await using client = await start(env);
    expect(await client.checkConfig({})).toEqual({});
    await client.configure({});
    const made = await client.create(BUCKET, { name: "of-environment", region: "fra1" });
    expect(made.state).toMatchObject({ endpoint: "fra1.digitaloceanspaces.com" });
    await client.delete(made);
  });

  test("are needed for buckets only", async () => {
    await using client = await start();
    await client.configure({ token: cloud.token, apiEndpoint: cloud.url });
    await client.delete(await client.create(KEY, { name: "k" }));
    await expect(client.create(BUCKET, { name: "no-key" })).rejects.toThrow(
      "Error creating bucket: Spaces credentials not configured",
    );
  });

  test("can be wrong, which a create reports without the secret", async () => {
    await using client = await start();
    await client.configure({ ...settings(), spacesSecretKey: "wrong-secret" });
    const error = await client.create(BUCKET, { name: "wrong-key" }).catch(String);
    expect(error).toContain("Error creating Spaces bucket: SignatureDoesNotMatch: ");
    expect(error).toMatch(/\n\tstatus code: 403, request id: \w+, host id: /);
    expect(error).not.toContain("wrong-secret");
  });

  standInOnly("digitalocean", "the original reaches real Spaces")("cannot lead to real Spaces", async () => {
    await using client = await start({ HTTP_PROXY: "", SPACES_ENDPOINT_URL: "" });
    await client.configure(settings());
    await expect(client.create(BUCKET, { name: "real" })).rejects.toThrow("is not an address of this computer");
  });
});

describe("SpacesKey", () => {
  const grants = [{ bucket: "some-bucket", permission: "readwrite" }];

  test("is created with its secret, changed in place, and keeps the secret", async () => {
    const made = await plugin.create(KEY, { name: "k", grants });
    expect(made.id).toMatch(/^DO[A-Z0-9]{18}$/);
    expect(made.state).toMatchObject({ name: "k", grants, accessKey: made.id });
    const secret = made.state["secretKey"];
    expect(secret).toEqual(new Secret(expect.stringMatching(/^[A-Za-z0-9+/]{43}$/) as string));
    expectSame(await refreshed(made), made);

    const wider = { name: "l", grants: [{ bucket: "", permission: "fullaccess" }] };
    expect(await plugin.diff(made, wider)).toMatchObject({
      replaces: [],
      detailed: { name: "UPDATE", "grants[0].bucket": "UPDATE", "grants[0].permission": "UPDATE" },
    });
    const changed = await plugin.update(made, wider);
    expect(changed.state).toMatchObject({ ...wider, secretKey: secret });
    expectSame(await refreshed(changed), changed);
    await plugin.delete(changed);
    expect(await plugin.read(changed)).toBeUndefined();
  });

  test("has a name by default, and unknown outputs in a preview", async () => {
    expect((await plugin.check(KEY, {}, { name: "backups" }))["name"]).toMatch(/^backups-[0-9a-f]{7}$/);
    const planned = await plugin.create(KEY, { name: "k", grants }, { preview: true });
    expect(planned.state).toMatchObject({ accessKey: UNKNOWN, secretKey: new Secret(UNKNOWN), name: "k" });
  });

  test("may have no grants, and reports the API's refusal of a mixture", async () => {
    await plugin.delete(await plugin.create(KEY, { name: "none" }));
    const mixture = [...grants, { bucket: "", permission: "fullaccess" }];
    await expect(plugin.create(KEY, { name: "k", grants: mixture })).rejects.toThrow(
      /Error creating Spaces key: POST http:.*\/v2\/spaces\/keys: 400 \(request "/,
    );
  });

  test("is gone after it was deleted elsewhere, and then cannot be deleted or updated", async () => {
    const made = await plugin.create(KEY, { name: "k", grants });
    await cloud.call("PATCH", `/v2/spaces/keys/${made.id}`, { name: "renamed" });
    expect((await refreshed(made)).inputs["name"]).toBe("renamed");
    await cloud.call("DELETE", `/v2/spaces/keys/${made.id}`);
    expect(await plugin.read(made)).toBeUndefined();
    await expect(plugin.update(made, { name: "l", grants })).rejects.toThrow(/Error updating Spaces key: .*: 404/);
    await expect(plugin.delete(made)).rejects.toThrow(/Error deleting Spaces key: .*: 404/);
  });
});

describe("SpacesBucket", () => {
  const rule = {
    id: "old-versions",
    enabled: true,
    noncurrentVersionExpiration: { days: 3 },
    expiration: { expiredObjectDeleteMarker: true },
    abortIncompleteMultipartUploadDays: 7,
  };
  let count = 0;
  const inputs = (more: Inputs = {}): Inputs => ({ name: `bucket-${(count += 1)}`, region: "nyc3", ...more });
  const s3 = () => s3Client(cloud, key);

  test("is created with versioning and lifecycle rules, and is the same after a refresh", async () => {
    const given = inputs({ versioning: { enabled: true }, lifecycleRules: [rule] });
    const made = await plugin.create(BUCKET, given);
    const name = String(given["name"]);
    expect(made.id).toBe(name);
    expect(made.state).toMatchObject({
      ...{ name, region: "nyc3", acl: "private", forceDestroy: false, versioning: { enabled: true } },
      ...{ bucketUrn: `do:space:${name}`, endpoint: "nyc3.digitaloceanspaces.com" },
      bucketDomainName: `${name}.nyc3.digitaloceanspaces.com`,
      lifecycleRules: [rule],
    });
    expectSame(await refreshed(made), made);
    expect((await plugin.diff(made, given)).detailed).toEqual({});
    await plugin.delete(made);
    await expect(s3().send(new HeadBucketCommand({ Bucket: name }))).rejects.toThrow();
  });

  test("has a name and nyc3 by default, and shows what a create will make", async () => {
    const checked = await plugin.check(BUCKET, {}, { name: "files" });
    expect(checked).toMatchObject({ acl: "private", region: "nyc3" });
    expect(checked["name"]).toMatch(/^files-[0-9a-f]{7}$/);
    const planned = await plugin.create(BUCKET, inputs(), { preview: true });
    expect(planned.state).toMatchObject({ bucketUrn: UNKNOWN, endpoint: UNKNOWN, bucketDomainName: UNKNOWN });
  });

  test("refuses regions without Spaces, and days that do not count", async () => {
    await expect(plugin.check(BUCKET, inputs({ region: "nyc1" }))).rejects.toThrow(/region/);
    const days = (days: number) => inputs({ lifecycleRules: [{ ...rule, noncurrentVersionExpiration: { days } }] });
    await expect(plugin.check(BUCKET, days(0))).rejects.toThrow(/at least \(1\), got 0/);
  });

  test("changes in place, except for its region", async () => {
    const given = inputs({ versioning: { enabled: true }, lifecycleRules: [rule] });
    const made = await plugin.create(BUCKET, given);
    const later = {
      ...given,
      forceDestroy: true,
      versioning: { enabled: false },
      lifecycleRules: [{ ...rule, id: "later" }],
    };
    expect(await plugin.diff(made, later)).toMatchObject({
      replaces: [],
      detailed: { forceDestroy: "UPDATE", "versioning.enabled": "UPDATE", "lifecycleRules[0].id": "UPDATE" },
    });
    const changed = await plugin.update(made, later);
    expect(changed.state).toMatchObject({ ...later });
    expectSame(await refreshed(changed), changed);
    const bare = { ...given, lifecycleRules: undefined };
    const without = await plugin.update(changed, bare);
    expectSame(await refreshed(without), without);
    expect(await plugin.diff(changed, { ...later, region: "fra1" })).toMatchObject({
      replaces: ["region"],
      deleteBeforeReplace: true,
    });
    await plugin.delete(without);
  });

  test("with objects is deleted only by force, with all their versions", async () => {
    const given = inputs({ versioning: { enabled: true } });
    const made = await plugin.create(BUCKET, given);
    const Bucket = made.id;
    for (const Body of ["one", "two"]) await s3().send(new PutObjectCommand({ Bucket, Key: "a/b", Body }));
    await s3().send(new DeleteObjectCommand({ Bucket, Key: "a/b" }));
    await expect(plugin.delete(made)).rejects.toThrow(
      /Error deleting Spaces Bucket: BucketNotEmpty: .* "bucket-\d+"$/ms,
    );
    await plugin.delete(await plugin.update(made, { ...given, forceDestroy: true }));
    await expect(s3().send(new HeadBucketCommand({ Bucket }))).rejects.toThrow();
  });

  test("is gone after it was deleted elsewhere, and then cannot be deleted", async () => {
    const made = await plugin.create(BUCKET, inputs());
    await s3().send(new DeleteBucketCommand({ Bucket: made.id }));
    expect(await plugin.read(made)).toBeUndefined();
    await expect(plugin.delete(made)).rejects.toThrow("Error deleting Spaces Bucket: NoSuchBucket: ");
  });

  test("shows what was changed elsewhere", async () => {
    const given = inputs({ versioning: { enabled: true }, lifecycleRules: [rule] });
    const made = await plugin.create(BUCKET, given);
    const Bucket = made.id;
    await s3().send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: "Suspended" } }));
    const Rules = [{ ID: "other", Status: "Disabled", Filter: { Prefix: "a/" }, Expiration: { Days: 9 } }] as never;
    await s3().send(new PutBucketLifecycleConfigurationCommand({ Bucket, LifecycleConfiguration: { Rules } }));
    expect((await refreshed(made)).state).toMatchObject({
      versioning: { enabled: false },
      lifecycleRules: [{ id: "other", enabled: false, prefix: "a/", expiration: { days: 9 } }],
    });
    await plugin.delete(made);
  });

  test("reports a name that is taken", async () => {
    const given = inputs();
    await s3Client(cloud, key, { region: "fra1" }).send(new CreateBucketCommand({ Bucket: String(given["name"]) }));
    await expect(plugin.create(BUCKET, given)).rejects.toThrow("Error creating Spaces bucket: BucketAlreadyExists: ");
  });

  test("is created after errors of the server, which are retried three times", async () => {
    waits.restart();
    await fault({ effect: "error", method: "PUT", count: 2 });
    await plugin.delete(await plugin.create(BUCKET, inputs()));
    await fault({ effect: "error", method: "PUT", count: 4 });
    await expect(plugin.create(BUCKET, inputs())).rejects.toThrow("Error creating Spaces bucket: InternalError: ");
  });

  test("stays in the state, incomplete, if its settings fail after it was created", async () => {
    const given = inputs({ versioning: { enabled: true } });
    await fault({ effect: "full", method: "PUT", path: "versioning" });
    await expect(plugin.create(BUCKET, given)).rejects.toThrow("Error putting Spaces versioning: QuotaExceeded: ");
    await s3().send(new HeadBucketCommand({ Bucket: String(given["name"]) }));
  });
});
