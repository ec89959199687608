import { createHash, randomBytes } from "node:crypto";
import https from "node:https";
import type { LookupFunction } from "node:net";
import { readFile } from "node:fs/promises";
import path from "node:path";

import { S3 } from "@aws-sdk/client-s3";
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from "vitest";

import { SpacesEntrance } from "../../sandbox/droplet/spaces-entrance.ts";
import { ensureImage } from "../../sandbox/images/build.ts";
import { revision } from "../../sandbox/images/recipe.ts";
import type { SpacesKey } from "../../sandbox/spaces/s3-servers.ts";
import { Spaces } from "../../sandbox/spaces/spaces.ts";
import {
  adminKey,
  backendEnvironment,
  type ContainerSettings,
  DATABASE,
  NAME,
  SECRET,
  type TestContainer,
  TestPostgres,
  TestSandbox,
} from "./images-harness.ts";

const HOST = "nyc3.digitaloceanspaces.com";
const USES = ["exports", "files", "modules", "search", "snapshot-imports"];
const key = (name: string, ...grants: SpacesKey["grants"]): SpacesKey => ({
  ...{ access_key: `ID-${name}`, secret_key: `secret-${name}`, grants },
});
const MASTER = key("master", { bucket: "", permission: "fullaccess" });
const OWN = key("own", ...USES.map((use) => ({ bucket: `a-${use}`, permission: "readwrite" as const })));
const READER = key("reader", ...USES.map((use) => ({ bucket: `a-${use}`, permission: "read" as const })));

let sandbox: TestSandbox;
let postgres: TestPostgres;
let spaces: Spaces;
let entrance: SpacesEntrance;
let image: string;
let authority: string;
let master: S3;

beforeAll(async () => {
  sandbox = await TestSandbox.create();
  postgres = await TestPostgres.start(sandbox);
  image = await ensureImage("backend", await revision(), () => undefined);
  spaces = new Spaces(
    sandbox.home,
    () => undefined,
    () => undefined,
  );
  await spaces.open();
  await spaces.setKeys([MASTER, OWN, READER]);
  entrance = new SpacesEntrance(sandbox.home, sandbox.network);
  await entrance.serve(spaces.serve);
  authority = path.join(sandbox.home.root, "spaces", "tls", "ca.crt");
  const lookup: LookupFunction = (_host, _options, done) => {
    done(null, [{ address: sandbox.network.gateway, family: 4 }]);
  };
  master = new S3({
    endpoint: endpoint(),
    region: "us-east-1",
    forcePathStyle: true,
    credentials: { accessKeyId: MASTER.access_key, secretAccessKey: MASTER.secret_key },
    requestHandler: { httpsAgent: new https.Agent({ ca: await readFile(authority), lookup }) },
  });
  for (const use of USES) await master.createBucket({ Bucket: `a-${use}` });
}, 300_000);

afterAll(async () => {
  master.destroy();
  await entrance[Symbol.asyncDispose]();
  await spaces[Symbol.asyncDispose]();
  await postgres[Symbol.asyncDispose]();
  await sandbox[Symbol.asyncDispose]();
});

const endpoint = () => `https://${HOST}:${entrance.port}`;

/** A container of the image that trusts the server. It is removed after the test. */
async function run(env: Record<string, string>, settings: ContainerSettings = {}): Promise<TestContainer> {
  const container = await sandbox.run(image, {
    hosts: [HOST],
    env: { SSL_CERT_FILE: "/authority.crt", ...env },
    ...settings,
    binds: [`${authority}:/authority.crt:ro`, ...(settings.binds ?? [])],
  });
  onTestFinished(() => container[Symbol.asyncDispose]());
  return container;
}

/** The variables of storage in buckets. */
const buckets = (used = OWN): Record<string, string> => ({
  AWS_REGION: "nyc3",
  AWS_ACCESS_KEY_ID: used.access_key,
  AWS_SECRET_ACCESS_KEY: used.secret_key,
  S3_ENDPOINT_URL: endpoint(),
  ...Object.fromEntries(
    USES.map((use) => [`S3_STORAGE_${use.replace("-", "_").toUpperCase()}_BUCKET`, `a-${use}`] as const),
  ),
  AWS_S3_FORCE_PATH_STYLE: "true",
  AWS_S3_DISABLE_CHECKSUMS: "true",
  AWS_S3_DISABLE_SSE: "true",
  AWS_REQUEST_CHECKSUM_CALCULATION: "WHEN_REQUIRED",
});

const backend = (env: Record<string, string> = {}, settings: ContainerSettings = {}) =>
  run({ ...backendEnvironment(postgres), ...buckets(), ...env }, settings);

async function refused(env: Record<string, string>): Promise<string> {
  const container = await backend(env);
  expect(await container.ended()).toBe(1);
  return container.logs();
}

async function upload(api: string, content: Uint8Array): Promise<Response> {
  const answer = await fetch(`${api}/api/mutation`, {
    method: "POST",
    headers: { authorization: `Convex ${adminKey()}` },
    body: JSON.stringify({ path: "sandbox:generateUploadUrl", args: {} }),
  });
  const { value } = (await answer.json()) as { value: string };
  return fetch(`${api}/api/storage/upload${new URL(value).search}`, { method: "POST", body: content });
}

const objects = async (bucket: string) => (await master.listObjectsV2({ Bucket: bucket })).Contents ?? [];

describe("a backend with files in buckets", () => {
  beforeAll(() => postgres.createDatabase(DATABASE));

  it("stores a file of several parts below a prefix of its own, and serves it as it was, also to a second start", async () => {
    const content = randomBytes(11 * 1024 * 1024);
    const api = await (await backend()).answers(3210);
    const stored = await upload(api, content);
    const { storageId } = (await stored.json()) as { storageId: string };
    const [object, ...others] = await objects("a-files");
    expect(others).toEqual([]);
    expect(object?.Key).toMatch(new RegExp(`^${NAME}-[0-9a-f-]{36}/${storageId}$`));
    expect(object?.Size).toBe(content.length);

    const again = await (await backend()).answers(3210);
    const served = new Uint8Array(await (await fetch(`${again}/api/storage/${storageId}`)).arrayBuffer());
    const hash = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");
    expect(hash(served)).toBe(hash(content));
  });

  it("stores an empty file, too, and writes nothing to its folder", async () => {
    const container = await backend();
    const api = await container.answers(3210);
    const { storageId } = (await (await upload(api, new Uint8Array())).json()) as { storageId: string };
    expect(await (await fetch(`${api}/api/storage/${storageId}`)).text()).toBe("");
    expect((await container.exec(["find", "/convex/data/storage", "-type", "f"])).trim()).toBe("");
  });

  it("keeps the kind of storage in the database, and refuses local storage later", async () => {
    const [row] = await postgres.query<{ type: { tag: string; s3Prefix: string } }>(
      DATABASE,
      `SELECT convert_from(json_value, 'UTF8')::json -> 'storageType' AS type FROM documents
       WHERE position('"storageType"'::bytea IN json_value) > 0 ORDER BY ts DESC LIMIT 1`,
    );
    expect(row?.type.tag).toBe("s3");
    const prefix = row?.type.s3Prefix ?? "";
    expect(prefix).toMatch(new RegExp(`^${NAME}-[0-9a-f-]{36}/$`));
    expect(await refused({ S3_STORAGE_SEARCH_BUCKET: "" })).toContain(
      `Error: Database was initialized with Some(S3 { s3_prefix: "${prefix}" }), but backend started up with Local { dir: "/convex/data/storage" }.`,
    );
  });

  it("does not start without a key, but starts with a wrong one or without a network to the buckets", async () => {
    expect(await refused({ AWS_SECRET_ACCESS_KEY: "" })).toContain("No AWS credentials were found");
    const api = await (await backend(buckets(READER))).answers(3210);
    expect((await upload(api, Buffer.from("a"))).status).toBe(500);
    await (await backend({ S3_ENDPOINT_URL: "https://nowhere.invalid" })).answers(3210);
  });

  it("refuses the files of an instance with another name", async () => {
    await postgres.query("postgres", `CREATE DATABASE other_name TEMPLATE "${DATABASE}" OWNER convex`);
    const log = await refused({ INSTANCE_NAME: "other-name", INSTANCE_SECRET: SECRET });
    expect(log).toMatch(/Error: Cannot use s3 storage path convex-self-hosted-\S+ with other-name/);
  });
});

describe("the probe in a container of the image", () => {
  const PROBE = path.resolve("machine/buckets/probe.sh");

  let container: TestContainer;

  beforeAll(async () => {
    const binds = [`${authority}:/authority.crt:ro`, `${PROBE}:/probe.sh:ro`];
    container = await sandbox.run(image, { hosts: [HOST], entrypoint: ["sleep", "infinity"], binds });
  });
  afterAll(() => container[Symbol.asyncDispose]());

  /** Its exit code and its lines. */
  async function probe(used: SpacesKey, urls: string[], trusted = "/authority.crt") {
    const options = `user = "${used.access_key}:${used.secret_key}"\naws-sigv4 = "aws:amz:nyc3:s3"\n`;
    const { code, output } = await container.tryExec(
      ["bash", "-c", 'options=$1; shift; bash /probe.sh "$@" <<< "$options"', "-", options, ...urls],
      { env: { CURL_CA_BUNDLE: trusted, PATIENCE: "0" } },
    );
    return { code, lines: output.trim().split("\n") };
  }
  const all = () => USES.map((use) => `${endpoint()}/a-${use}`);

  it("uses all buckets and leaves no object, the second time too", async () => {
    for (let time = 0; time < 2; time++) expect(await probe(OWN, all())).toEqual({ code: 0, lines: [""] });
    expect(await objects("a-modules")).toEqual([]);
  });

  it.each<[string, () => ReturnType<typeof probe>, unknown[]]>([
    [
      "a key that does not exist",
      () => probe(key("nobody"), all()),
      [expect.stringContaining("/a-exports"), "written", "0", "403", expect.stringContaining("InvalidAccessKeyId")],
    ],
    [
      "a wrong secret",
      () => probe({ ...OWN, secret_key: "wrong" }, all()),
      [expect.stringContaining("/a-exports"), "written", "0", "403", expect.stringContaining("SignatureDoesNotMatch")],
    ],
    [
      "a key that may only read",
      () => probe(READER, all()),
      [expect.stringContaining("/a-exports"), "written", "0", "403", expect.stringContaining("AccessDenied")],
    ],
    [
      "a bucket that is not there",
      () => probe(MASTER, [...all().slice(0, 2), `${endpoint()}/a-lost`]),
      [expect.stringContaining("/a-lost"), "written", "0", "404", expect.stringContaining("NoSuchBucket")],
    ],
    [
      "a name that does not resolve",
      () => probe(OWN, ["https://nowhere.invalid/a-files"]),
      ["https://nowhere.invalid/a-files", "written", "6", "000", expect.stringContaining("Could not resolve host")],
    ],
    [
      "a server that does not answer",
      () => probe(OWN, [`https://${HOST}:1/a-files`]),
      [`https://${HOST}:1/a-files`, "written", "7", "000", expect.stringContaining("Failed to connect")],
    ],
    [
      "a certificate that is not trusted",
      () => probe(OWN, all(), "/etc/ssl/certs/ca-certificates.crt"),
      [expect.stringContaining("/a-exports"), "written", "60", "000", expect.stringContaining("certificate")],
    ],
  ])("names the bucket, the step and the cause: %s", async (_what, attempt, expected) => {
    const { code, lines } = await attempt();
    expect(code).toBe(1);
    const [url, action, exit, status, ...answer] = lines;
    expect([url, action, exit, status, answer.join(" ")]).toEqual(expected);
  });
});
