import { once } from "node:events";
import http from "node:http";
import type { IncomingMessage } from "node:http";
import type { S3Client } from "@aws-sdk/client-s3";

import {
  CreateBucketCommand,
  DeleteBucketCommand,
  DeleteBucketLifecycleCommand,
  DeleteObjectCommand,
  GetBucketLifecycleConfigurationCommand,
  GetBucketLocationCommand,
  GetObjectCommand,
  HeadBucketCommand,
  ListBucketsCommand,
  ListObjectVersionsCommand,
  PutBucketAclCommand,
  PutBucketLifecycleConfigurationCommand,
  PutBucketVersioningCommand,
  PutObjectCommand,
  CopyObjectCommand,
} from "@aws-sdk/client-s3";
import { execa } from "execa";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";

import { serveTestCloud, temporaryHome } from "./cloud-harness.ts";
import type { TestCloud } from "./cloud-harness.ts";
import { type ClientOptions, type Key, newKey, s3Client } from "./spaces-client.ts";

let home: Awaited<ReturnType<typeof temporaryHome>>;
let cloud: TestCloud;
let full: Key;

beforeAll(async () => {
  home = await temporaryHome();
  cloud = await serveTestCloud(home);
  full = await newKey(cloud);
});
afterAll(async () => {
  await cloud[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
});
beforeEach(() => cloud.call("DELETE", "/_control/faults"));

const client = (key: Key, options?: ClientOptions) => s3Client(cloud, key, options);

/** The code of the error with which a request ends. */
async function refusal(request: Promise<unknown>): Promise<string> {
  return request.then(
    () => "no error",
    (error: unknown) => {
      const { name, code, $metadata } = error as Error & { code?: string; $metadata?: { httpStatusCode?: number } };
      return code ?? `${String($metadata?.httpStatusCode)} ${name}`;
    },
  );
}

let count = 0;
/** A new bucket in nyc3. */
async function bucket(s3 = client(full)): Promise<string> {
  const Bucket = `bucket-${(count += 1)}`;
  await s3.send(new CreateBucketCommand({ Bucket, ACL: "private" }));
  return Bucket;
}

async function text(s3: S3Client, Bucket: string, Key: string): Promise<string | undefined> {
  const { Body } = await s3.send(new GetObjectCommand({ Bucket, Key }));
  return Body?.transformToString();
}

const fault = (settings: object) => cloud.call("POST", "/_control/faults", { kind: "spaces", ...settings });
const control = (action: string) => cloud.call("POST", "/_control/spaces", { action });

describe("buckets", () => {
  test("keep objects and their versions, at the names of path and host style, with a signature for any region", async () => {
    const s3 = client(full);
    const Bucket = await bucket();
    await s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: "Enabled" } }));
    await s3.send(new PutObjectCommand({ Bucket, Key: "files/ä b", Body: "one" }));
    const hostStyle = client(full, { forcePathStyle: false, signedRegion: "nyc3" });
    await hostStyle.send(new PutObjectCommand({ Bucket, Key: "files/ä b", Body: "two" }));
    expect(await text(s3, Bucket, "files/ä b")).toBe("two");
    await s3.send(new DeleteObjectCommand({ Bucket, Key: "files/ä b" }));
    const { Versions, DeleteMarkers } = await s3.send(new ListObjectVersionsCommand({ Bucket }));
    expect([Versions?.length, DeleteMarkers?.length]).toEqual([2, 1]);
    expect(await refusal(s3.send(new DeleteBucketCommand({ Bucket })))).toBe("409 BucketNotEmpty");
  });

  test("belong to one region, and their names to one bucket", async () => {
    const Bucket = await bucket();
    const frankfurt = client(full, { region: "fra1" });
    expect(await refusal(frankfurt.send(new HeadBucketCommand({ Bucket })))).toBe("404 NotFound");
    expect(await refusal(frankfurt.send(new CreateBucketCommand({ Bucket })))).toBe("409 BucketAlreadyExists");
    await frankfurt.send(new CreateBucketCommand({ Bucket: "of-frankfurt" }));
    const { LocationConstraint } = await frankfurt.send(new GetBucketLocationCommand({ Bucket: "of-frankfurt" }));
    expect(LocationConstraint).toBe("fra1");
    const names = ((await frankfurt.send(new ListBucketsCommand({}))).Buckets ?? []).map(({ Name }) => Name);
    expect(names).toEqual(["of-frankfurt"]);
    await expect(client(full, { region: "mars1" }).send(new HeadBucketCommand({ Bucket }))).rejects.toThrow();
  });

  test("are private, and cannot be made public", async () => {
    const Bucket = await bucket();
    await client(full).send(new PutBucketAclCommand({ Bucket, ACL: "private" }));
    const open = (s3: S3Client) => refusal(s3.send(new PutBucketAclCommand({ Bucket, ACL: "public-read" })));
    expect(await open(client(full))).toBe("501 NotImplemented");
    const born = client(full).send(new CreateBucketCommand({ Bucket: "born-public", ACL: "public-read" }));
    expect(await refusal(born)).toBe("501 NotImplemented");
    const object = { Bucket, Key: "a", Body: "x", ACL: "public-read" } as const;
    expect(await refusal(client(full).send(new PutObjectCommand(object)))).toBe("501 NotImplemented");
    expect(await open(client({ ...full, secretAccessKey: "wrong" }))).toBe("403 SignatureDoesNotMatch");
    const headers = { host: "nyc3.digitaloceanspaces.com" };
    const [anonymous] = (await once(http.get(`${cloud.url}/${Bucket}`, { headers }), "response")) as [IncomingMessage];
    expect(anonymous.statusCode).toBe(403);
  });

  test("keep lifecycle rules, until they or the bucket are deleted", async () => {
    const s3 = client(full);
    const Bucket = await bucket();
    const read = () => s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket }));
    const rule = {
      ID: "old",
      Status: "Enabled",
      Filter: { Prefix: "" },
      NoncurrentVersionExpiration: { NoncurrentDays: 3 },
    } as const;
    const put = (...Rules: object[]) =>
      s3.send(
        new PutBucketLifecycleConfigurationCommand({ Bucket, LifecycleConfiguration: { Rules: Rules as never } }),
      );
    expect(await refusal(read())).toBe("404 NoSuchLifecycleConfiguration");
    await put(rule);
    expect((await read()).Rules).toEqual([rule]);
    expect(await refusal(put({ ...rule, NoncurrentVersionExpiration: { NoncurrentDays: 0 } }))).toBe(
      "400 MalformedXML",
    );
    expect(await refusal(put({ ID: "nothing", Status: "Enabled" }))).toBe("400 MalformedXML");
    await s3.send(new DeleteBucketLifecycleCommand({ Bucket }));
    expect(await refusal(read())).toBe("404 NoSuchLifecycleConfiguration");

    await put(rule);
    const forger = client({ ...full, secretAccessKey: "wrong" });
    const forged = forger.send(new DeleteBucketLifecycleCommand({ Bucket }));
    expect(await refusal(forged)).toBe("403 SignatureDoesNotMatch");
    await s3.send(new DeleteBucketCommand({ Bucket }));
    expect(await refusal(read())).toBe("404 NoSuchBucket");
    await s3.send(new CreateBucketCommand({ Bucket }));
    expect(await refusal(read())).toBe("404 NoSuchLifecycleConfiguration");
  });
});

test("Spaces keep everything if their process ends or is killed, and leave no server behind", async () => {
  const Bucket = await bucket();
  await client(full).send(new PutObjectCommand({ Bucket, Key: "a", Body: "x" }));
  const servers = () => execa("pgrep", ["-f", `iam-dir ${home.root}/`], { reject: false });
  expect((await servers()).stdout).not.toBe("");
  // As a killed process leaves them.
  const orphan = (await servers()).stdout.split("\n")[0];
  cloud = await serveTestCloud(home);
  expect((await servers()).stdout.split("\n")).not.toContain(orphan);
  expect(await text(client(full), Bucket, "a")).toBe("x");
  await cloud[Symbol.asyncDispose]();
  expect((await servers()).stdout).toBe("");
  cloud = await serveTestCloud(home);
  expect(await text(client(full), Bucket, "a")).toBe("x");
});

describe("keys", () => {
  test("are valid until they are deleted", async () => {
    const key = await newKey(cloud);
    const Bucket = await bucket(client(key));
    expect((await cloud.call("DELETE", `/v2/spaces/keys/${key.accessKeyId}`)).status).toBe(204);
    expect(await refusal(client(key).send(new ListObjectVersionsCommand({ Bucket })))).toBe("403 InvalidAccessKeyId");
    const forger = client({ ...full, secretAccessKey: "wrong" });
    expect(await refusal(forger.send(new ListObjectVersionsCommand({ Bucket })))).toBe("403 SignatureDoesNotMatch");
  });

  test("with limits can only use the objects of their buckets", async () => {
    const [Bucket, other] = [await bucket(), await bucket()];
    const writer = client(await newKey(cloud, { bucket: Bucket, permission: "readwrite" }));
    const reader = client(
      await newKey(cloud, { bucket: Bucket, permission: "read" }, { bucket: other, permission: "read" }),
    );
    await client(full).send(new PutObjectCommand({ Bucket: other, Key: "a", Body: "secret" }));
    await writer.send(new PutObjectCommand({ Bucket, Key: "a", Body: "x" }));
    await writer.send(new HeadBucketCommand({ Bucket }));
    expect(await text(reader, Bucket, "a")).toBe("x");
    await reader.send(new ListObjectVersionsCommand({ Bucket }));

    const denied = [
      () => reader.send(new PutObjectCommand({ Bucket, Key: "a", Body: "y" })),
      () => reader.send(new DeleteObjectCommand({ Bucket, Key: "a" })),
      ...[writer, reader].flatMap((s3) => [
        () => s3.send(new ListBucketsCommand({})),
        () => s3.send(new CreateBucketCommand({ Bucket: "another" })),
        () => s3.send(new DeleteBucketCommand({ Bucket })),
        () => s3.send(new PutBucketVersioningCommand({ Bucket, VersioningConfiguration: { Status: "Suspended" } })),
        () => s3.send(new PutBucketAclCommand({ Bucket, ACL: "public-read" })),
        () => s3.send(new DeleteBucketLifecycleCommand({ Bucket })),
        () => s3.send(new GetBucketLifecycleConfigurationCommand({ Bucket })),
      ]),
      () => writer.send(new GetObjectCommand({ Bucket: other, Key: "a" })),
      () => writer.send(new CopyObjectCommand({ Bucket, Key: "b", CopySource: `${other}/a` })),
      () => writer.send(new CopyObjectCommand({ Bucket, Key: "b", CopySource: `${Bucket}/../${other}/a` })),
      () => writer.send(new GetObjectCommand({ Bucket, Key: `../${other}/a` })),
    ];
    for (const request of denied) expect(await refusal(request())).toBe("403 AccessDenied");
    await writer.send(new CopyObjectCommand({ Bucket, Key: "b", CopySource: `${Bucket}/a` }));
  });

  test("change their limits at once", async () => {
    const Bucket = await bucket();
    const key = await newKey(cloud, { bucket: Bucket, permission: "read" });
    const put = () => refusal(client(key).send(new PutObjectCommand({ Bucket, Key: "a", Body: "x" })));
    expect(await put()).toBe("403 AccessDenied");
    const grants = [{ bucket: Bucket, permission: "readwrite" }];
    await cloud.call("PATCH", `/v2/spaces/keys/${key.accessKeyId}`, { grants });
    expect(await put()).toBe("no error");
  });
});

describe("failures on demand", () => {
  test("are answers, for as many requests as told, of a method, path or key", async () => {
    const s3 = client(full);
    const Bucket = await bucket();
    const put = (Key: string) => refusal(s3.send(new PutObjectCommand({ Bucket, Key, Body: "x" })));
    await fault({ effect: "error", count: 2, method: "PUT", path: `^/${Bucket}/a$` });
    expect([await put("b"), await put("a"), await put("a"), await put("a")]).toEqual([
      ...["no error", "500 InternalError", "500 InternalError", "no error"],
    ]);
    await fault({ effect: "refused", access_key: full.accessKeyId });
    expect([await put("a"), await put("a")]).toEqual(["403 InvalidAccessKeyId", "no error"]);
    await fault({ effect: "expired" });
    expect([await put("a"), await put("a")]).toEqual(["400 ExpiredToken", "no error"]);
    await fault({ effect: "full", method: "PUT" });
    expect([await put("a"), await put("a")]).toEqual(["403 QuotaExceeded", "no error"]);
  });

  test("delay a request", async () => {
    const Bucket = await bucket();
    await fault({ effect: "none", delay_ms: 700 });
    const started = Date.now();
    await client(full).send(new HeadBucketCommand({ Bucket }));
    expect(Date.now() - started).toBeGreaterThan(690);
  });

  test("cut an upload, which leaves no object, and a download", async () => {
    const s3 = client(full);
    const Bucket = await bucket();
    const Body = Buffer.alloc(4 * 1024 * 1024, "x");
    const put = () => refusal(s3.send(new PutObjectCommand({ Bucket, Key: "a", Body })));
    await fault({ effect: "cut", method: "PUT" });
    expect(await put()).toMatch(/ECONNRESET|EPIPE/);
    expect((await s3.send(new ListObjectVersionsCommand({ Bucket }))).Versions ?? []).toEqual([]);
    expect(await put()).toBe("no error");
    await fault({ effect: "cut", method: "GET" });
    await expect(text(s3, Bucket, "a")).rejects.toThrow(/aborted/);
  });

  test("kill the S3 servers, which start again, and close all connections until told otherwise", async () => {
    const s3 = client(full);
    const Bucket = await bucket();
    await s3.send(new PutObjectCommand({ Bucket, Key: "a", Body: "x" }));
    await control("kill");
    await expect.poll(() => refusal(text(s3, Bucket, "a"))).toBe("no error");
    await control("down");
    expect(await refusal(s3.send(new HeadBucketCommand({ Bucket })))).toBe("ECONNRESET");
    await control("up");
    await expect.poll(() => refusal(text(s3, Bucket, "a"))).toBe("no error");
  });
});
