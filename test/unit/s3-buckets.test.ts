import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import https from "node:https";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import * as pulumi from "@pulumi/pulumi";

import { askFor } from "../../s3/ask.ts";
import { judge, type Place, refuseBuckets } from "../../s3/refuse-buckets.ts";
import { makeCertificates } from "../../sandbox/server-certificate.ts";
import { mockEngine } from "./program.ts";

const ENDPOINT = "https://s3.us-east-1.example.com";
const PLACE: Place = {
  ...{ endpoint: ENDPOINT, region: "us-east-1", accessKey: "AKIA123", secretKey: "the-secret", authority: "" },
  buckets: ["mine-files", "mine-search"],
  settings: {
    ...{ endpoint: "fileEndpoint", region: "fileRegion", bucket: "fileBucketPrefix" },
    ...{ accessKey: "fileAccessKey", secretKey: "fileSecretKey" },
  },
  named: { is: "mine", should: "what the names of five buckets there begin with" },
};

const CONFIG = "npx pulumi config set --stack test";

beforeEach(async () => {
  await mockEngine();
});

/** What is said if all buckets get the same answer. */
function said(status: number, code: string, region = "", place = PLACE) {
  const answer = { status, code, region, isList: false };
  return judge(
    place.buckets.map((bucket) => ({ bucket, answer })),
    place,
  );
}

describe("buckets on another server", () => {
  it("are accepted if each can be listed, whatever region the server names", () => {
    const answer = { status: 200, code: "", isList: true, region: "elsewhere" };
    expect(judge([{ bucket: "mine-files", answer }], PLACE)).toEqual({ faults: [], doubts: [] });
  });

  it.each([
    [
      [404, "NoSuchBucket"],
      `fileBucketPrefix: is mine, but ${ENDPOINT} has no buckets mine-files, mine-search, it should be what the names of five buckets there begin with. ` +
        `Set it with: ${CONFIG} fileBucketPrefix NAME, or make them there`,
    ],
    [
      [403, "AccessDenied"],
      `fileBucketPrefix: is mine, but the key may not list buckets mine-files, mine-search at ${ENDPOINT} (403 AccessDenied), it should be what the names of five buckets there begin with. ` +
        `Let the key read, write, delete and list there, or, if the name is somebody else's, use another one: ${CONFIG} fileBucketPrefix NAME. ` +
        "If the server admits the droplet, but not this computer: npx pulumi up --stack test --skip-preview",
    ],
    [
      [403, "InvalidAccessKeyId"],
      `fileAccessKey: is refused by ${ENDPOINT} (403 InvalidAccessKeyId), it should be the id of a key there. Set it with: ${CONFIG} --secret fileAccessKey`,
    ],
    [
      [401, "Unauthorized"],
      `fileAccessKey: is refused by ${ENDPOINT} (401 Unauthorized), it should be the id of a key there. Set it with: ${CONFIG} --secret fileAccessKey`,
    ],
    [
      [403, "SignatureDoesNotMatch"],
      `fileSecretKey: does not fit fileAccessKey, says ${ENDPOINT} (403 SignatureDoesNotMatch), it should be that key. Set it with: ${CONFIG} --secret fileSecretKey`,
    ],
    [
      [301, "PermanentRedirect", "eu-west-1"],
      `fileRegion: is us-east-1, but eu-west-1 is the region of buckets mine-files, mine-search at ${ENDPOINT}, it should be that. ` +
        `Set it with: ${CONFIG} fileRegion eu-west-1 && ${CONFIG} fileEndpoint https://s3.eu-west-1.example.com`,
    ],
    [
      [301, "PermanentRedirect"],
      `fileEndpoint: ${ENDPOINT} is not where buckets mine-files, mine-search can be used (301 PermanentRedirect), it should be the endpoint of their region, and fileRegion that region. ` +
        `Set it with: ${CONFIG} fileEndpoint URL && ${CONFIG} fileRegion REGION`,
    ],
    [
      [404, ""],
      `fileEndpoint: ${ENDPOINT} does not answer as S3 does (404), it should be the URL of an S3 server, without a bucket's name. Set it with: ${CONFIG} fileEndpoint URL`,
    ],
    [[404, "NoSuchKey"], `fileEndpoint: ${ENDPOINT} does not answer as S3 does (404 NoSuchKey), it should be`],
    [[200, ""], `fileEndpoint: ${ENDPOINT} does not answer as S3 does (200), it should be`],
  ] as [[number, string, string?], string][])("are refused after %j", (answer, fault) => {
    const { faults, doubts } = said(...answer);
    expect([faults.length, doubts]).toEqual([1, []]);
    expect(faults[0]).toContain(`convex-droplet:${fault}`);
  });

  it("are in a region that the endpoint does not name, so only the region is wrong", () => {
    const { faults } = said(400, "AuthorizationHeaderMalformed", "eu-west-1", {
      ...PLACE,
      endpoint: "https://s3.eu-west-1.example.com",
    });
    expect(faults[0]).toMatch(/^convex-droplet:fileRegion: .*fileRegion eu-west-1$/);
  });

  it.each([
    [503, "SlowDown", "answers 503 SlowDown, so"],
    [403, "", "answers 403, so"],
    [403, "RequestTimeTooSkewed", "answers 403 RequestTimeTooSkewed: this computer's clock is wrong, so"],
  ])("are left to the droplet after %i %s", (status, code, doubt) => {
    expect(said(status, code)).toEqual({
      faults: [],
      doubts: [
        expect.stringContaining(
          `convex-droplet:fileEndpoint: ${ENDPOINT} ${doubt} this preview does not know whether the buckets can be used.`,
        ),
      ],
    });
  });

  it("are each refused for their own reason", () => {
    const answer = (code: string, status: number) => ({ status, code, isList: false, region: "" });
    const { faults } = judge(
      [
        { bucket: "mine-files", answer: answer("NoSuchBucket", 404) },
        { bucket: "mine-search", answer: answer("AccessDenied", 403) },
      ],
      PLACE,
    );
    expect(faults).toEqual([
      expect.stringMatching(/has no bucket mine-files, .* or make it there$/),
      expect.stringContaining("may not list bucket mine-search at"),
    ]);
  });

  it("are refused if the server's name does not exist, and left to the droplet if this computer cannot reach it", () => {
    const failed = (failure: string) =>
      judge(
        PLACE.buckets.map((bucket) => ({ bucket, answer: { failure } })),
        PLACE,
      );
    expect(failed("ENOTFOUND")).toEqual({
      faults: [
        `convex-droplet:fileEndpoint: ${ENDPOINT} has a name that does not exist, it should be the URL of an S3 server, without a bucket's name. Set it with: ${CONFIG} fileEndpoint URL`,
      ],
      doubts: [],
    });
    expect(failed("ECONNREFUSED").faults).toEqual([]);
    expect(failed("ECONNREFUSED").doubts).toEqual([expect.stringContaining("cannot be asked (ECONNREFUSED), so")]);
  });
});

describe("this computer", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "convex-droplet-s3-"));
  const requests: string[] = [];
  let answer = { status: 200, headers: {}, body: "<ListBucketResult/>" };
  let server: https.Server;
  let place: Place;

  beforeAll(async () => {
    await makeCertificates(folder, "S3", ["IP:127.0.0.1"]);
    const [key, cert, authority] = ["server.key", "server.crt", "ca.crt"].map((file) =>
      readFileSync(path.join(folder, file), "utf8"),
    );
    server = https
      .createServer({ key: key ?? "", cert: cert ?? "" }, ({ url, headers: { authorization } }, response) => {
        requests.push(`${url ?? ""} ${authorization ?? ""}`);
        response.writeHead(answer.status, answer.headers).end(answer.body);
      })
      .listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    place = { ...PLACE, endpoint: `https://127.0.0.1:${port}`, authority: authority ?? "" };
  });
  afterEach(() => {
    requests.length = 0;
    vi.restoreAllMocks();
  });
  afterAll(() => {
    server.close();
    rmSync(folder, { recursive: true });
  });

  it("asks with a signature for the region, and shows neither the key nor what the server repeats of it", async () => {
    answer = {
      status: 403,
      headers: { "x-amz-bucket-region": "eu-west-1" },
      body: "<Error><Code>InvalidAccessKeyId</Code><AWSAccessKeyId>AKIA123</AWSAccessKeyId></Error>",
    };
    expect(await askFor("mine-files", place)).toEqual({
      ...{ status: 403, code: "InvalidAccessKeyId", isList: false, region: "eu-west-1" },
    });
    expect(requests).toEqual([
      expect.stringMatching(
        /^\/mine-files\?list-type=2&max-keys=1 AWS4-HMAC-SHA256 Credential=AKIA123\/\d{8}\/us-east-1\/s3\/aws4_request, /,
      ),
    ]);
  });

  it("does not trust any other authority, and says so", async () => {
    expect(await askFor("mine-files", { ...place, authority: "" })).toEqual({
      failure: "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
    });
    expect(requests).toEqual([]);
  });

  it("asks in a preview, and leaves it to the droplet in a run", async () => {
    answer = { status: 404, headers: {}, body: "<Error><Code>NoSuchBucket</Code></Error>" };
    const hook = refuseBuckets("asked", place);
    expect(hook.opts).toEqual({ onDryRun: true });
    const run = async () => hook.callback({ urn: "urn", id: "", name: "x", type: "x" });
    await run();
    expect(requests).toEqual([]);
    vi.spyOn(pulumi.runtime, "isDryRun").mockReturnValue(true);
    await expect(run()).rejects.toThrow("has no buckets mine-files, mine-search, it should be");
    expect(requests).toHaveLength(2);
  });
});
