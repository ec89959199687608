import * as pulumi from "@pulumi/pulumi";
import { beforeEach, describe, expect, it, vi } from "vitest";

import { databaseName, label } from "../../contract/names.ts";
import { loadSettings } from "../../settings/load.ts";
import { configure, mistakesOf, mockEngine, valueOf } from "./program.ts";

const BACKEND = `ghcr.io/get-convex/convex-backend@sha256:${"a".repeat(64)}`;

beforeEach(async () => {
  vi.stubEnv("DIGITALOCEAN_TOKEN", undefined);
  vi.stubEnv("DIGITALOCEAN_ACCESS_TOKEN", undefined);
  await mockEngine();
});

describe("the configuration", () => {
  it("is complete with only a token", () => {
    configure();
    expect(loadSettings()).toMatchObject({
      host: { region: "nyc3", volumeSizeGb: 100, protectData: true },
      exposure: { ports: { api: 3210, site: 3211, dashboard: 6791 }, openings: [] },
    });
  });

  it("accepts the token from the environment", () => {
    vi.stubEnv("DIGITALOCEAN_TOKEN", "dop_v1_env");
    expect(mistakesOf({ "digitalocean:token": undefined })).toEqual([]);
  });

  it("reports all mistakes at once", () => {
    expect(mistakesOf({ volumeSizeGb: 80, logLevel: "LOUD", "digitalocean:token": undefined })).toEqual([
      "convex-droplet:volumeSizeGb: 80 is below 100, it should be from 100 to 16384. Set it with: npx pulumi config set --stack test volumeSizeGb 100",
      expect.stringContaining('convex-droplet:logLevel: "LOUD" is not valid'),
      expect.stringContaining("digitalocean:token: is not set"),
    ]);
  });

  it("does not accept a volume to adopt beside a snapshot", () => {
    expect(mistakesOf({ adoptVolume: "a", volumeSnapshot: "b" })).toEqual([
      "convex-droplet:adoptVolume: is set beside volumeSnapshot, it should be alone: a volume is either adopted or made from a snapshot. " +
        "Remove one of them with: npx pulumi config rm --stack test volumeSnapshot, or: npx pulumi config rm --stack test adoptVolume",
    ]);
  });

  it.each([
    ["volumeSizeGb", "many", '"many" is not a whole number'],
    ["volumeSizeGb", 20000, "20000 is above 16384"],
    ["postgresPoolSize", 4, "4 is below 8"],
    ["telemetry", "0", '"0" is not a boolean, it should be true or false'],
    ["region", "New York", '"New York" is not valid, it should be a region slug'],
    ["size", "", '"" is not valid'],
    ["image", "fedora-42", '"fedora-42" is not valid'],
    ["instanceName", "my|app", '"my|app" is not valid'],
    ["instanceName", "prod:app", '"prod:app" is not valid'],
    ["instanceName", "a".repeat(64), "is not valid"],
    ["instanceName", "Template1", "is not valid"],
    ["instanceName", "template1", "names one of PostgreSQL's own databases"],
    ["cloudOrigin", "https://api.example.com/", "ends with a slash"],
    ["cloudOrigin", "api.example.com", "is not a URL"],
    ["siteOrigin", "https://example.com/http", "is more than scheme, host and port"],
    ["backendImage", "ghcr.io/get-convex/convex-backend:latest", "may be another image tomorrow"],
    ["backendImage", "ghcr.io/get-convex/convex-backend", "may be another image tomorrow"],
    ["dashboardImage", "ghcr.io/x@sha256:abc", "is not an image reference"],
    ["adminCidrs", [], "is empty"],
    ["allowedCidrs", ["10.0.0.0"], '"10.0.0.0" is not valid'],
    ["allowedCidrs", ["10.0.0.0/33"], '"10.0.0.0/33" is not valid'],
    ["allowedCidrs", "10.0.0.0/8", "is not a list"],
    ["operatorKeys", ["AAAA"], '"AAAA" is not valid'],
    ["driftIgnore", ["*"], '"*" is not valid, it should be the path of a finding'],
    ["driftIgnore", "containers.shop", "is not a list"],
    ["sitePort", 3210, "3210 is also apiPort"],
    ["apiPort", 5432, "5432 is PostgreSQL's"],
    ["backendEnvironment", [], "is not a map"],
    ["functionEnvironment", "A=1", "is not a map"],
    ["authKeys", "yes", '"yes" is not a boolean'],
  ])("refuses %s = %j", (key, value, sentence) => {
    const found = mistakesOf({ [key]: value });
    expect(found).toHaveLength(1);
    expect(found[0]).toMatch(new RegExp(`^convex-droplet:${key}(\\[0\\])?: `));
    expect(found[0]).toContain(sentence);
  });

  it.each(["a1".repeat(31), "a1".repeat(33), `${"a1".repeat(31)}xy`])(
    "refuses the instance secret %s without showing it",
    (value) => {
      expect(mistakesOf({ instanceSecret: value })).toEqual([
        "convex-droplet:instanceSecret: is not valid, it should be the INSTANCE_SECRET of an instance that you move in: 64 hexadecimal digits. " +
          "Set it with: npx pulumi config set --stack test --secret instanceSecret, or let it be generated with: npx pulumi config rm --stack test instanceSecret",
      ]);
    },
  );

  it("refuses equal origins", () => {
    const origin = "https://convex.example.com";
    expect(mistakesOf({ cloudOrigin: origin, siteOrigin: origin })).toEqual([
      expect.stringContaining("convex-droplet:siteOrigin: https://convex.example.com equals cloudOrigin"),
    ]);
  });

  it("refuses images of two revisions", () => {
    const image = (name: string, revision: string) => `ghcr.io/${name}:${revision.repeat(40)}@sha256:${"0".repeat(64)}`;
    expect(mistakesOf({ backendImage: image("b", "1"), dashboardImage: image("d", "2") })).toEqual([
      expect.stringContaining(`dashboardImage: is of revision ${"2".repeat(40)}`),
    ]);
    expect(mistakesOf({ backendImage: image("b", "1"), dashboardImage: image("d", "1") })).toEqual([]);
    expect(mistakesOf({ backendImage: BACKEND })).toEqual([]);
  });

  it.each([
    ["POSTGRES_URL", "postgresql://u:p@h:5432/app", "cluster url already contains db name"],
    ["POSTGRES_URL", "postgresql://u:p@h:5432", "is built by this program. Remove it."],
    ["DATABASE_URL", "postgresql://u:p@h/app", "is built by this program and names a database (app)"],
    ["REDACT_LOGS_TO_CLIENT", "false", "any text switches it on"],
    ["S3_STORAGE_FILES_BUCKET", "files", "is set by this program from fileStorage"],
    ["RUST_LOG", "trace", "is set by this program from logLevel"],
    ["NOT A NAME", "1", "is not a variable's name"],
  ])("refuses %s in backendEnvironment", (name, value, sentence) => {
    const found = mistakesOf({ backendEnvironment: { [name]: value, UDF_CACHE_MAX_SIZE: "100" } });
    expect(found).toEqual([expect.stringContaining(`convex-droplet:backendEnvironment.${name}: `)]);
    expect(found[0]).toContain(sentence);
    expect(found[0]).not.toContain("u:p@");
  });
});

describe("the environment of functions", () => {
  it("is secret text, also if it was not set as a secret", async () => {
    configure({ functionEnvironment: { A: "1", FLAG: "True", PHONE: "+15550100199", PEM: "two\nlines" } });
    const { functionEnvironment } = loadSettings().functions;
    const values = await Promise.all(Object.values(functionEnvironment).map(valueOf));
    expect(values).toEqual(["1", "True", "+15550100199", "two\nlines"]);
    expect(await Promise.all(Object.values(functionEnvironment).map(pulumi.isSecret))).toEqual([
      true,
      true,
      true,
      true,
    ]);
  });

  it.each([
    ["NOT A NAME", "s3cret", "is not a variable's name. Rename it."],
    ["N".repeat(257), "s3cret", "has a name of more than 256 letters. Rename it."],
    ["CONVEX_CLOUD_URL", "s3cret", "is built in: functions can read it although it is not set. Remove it."],
    ["BIG", "s3cret".padEnd(8193), "is 8193 bytes, it should be at most 8192. Keep it in a table or a file instead."],
  ])("refuses %s without showing it", (name, value, reason) => {
    expect(mistakesOf({ functionEnvironment: { [name]: value, A: "1" } })).toEqual([
      `convex-droplet:functionEnvironment.${name}: ${reason}`,
    ]);
  });

  it("refuses more than a deployment accepts", () => {
    const many = (count: number, size: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`V${1000 + index}`, "x".repeat(size)]));
    expect(mistakesOf({ functionEnvironment: many(512, 1019) })).toEqual([]);
    expect(mistakesOf({ functionEnvironment: many(513, 1) })).toEqual([
      "convex-droplet:functionEnvironment: has 513 variables, it should have at most 512. Keep the rest in a table.",
    ]);
    expect(mistakesOf({ functionEnvironment: many(512, 1020) })).toEqual([
      "convex-droplet:functionEnvironment: is 524800 bytes of names and values, it should be at most 524288. Keep the rest in a table.",
    ]);
  });

  it.each(["JWT_PRIVATE_KEY", "JWKS"])("refuses a %s if one is generated", (name) => {
    expect(mistakesOf({ functionEnvironment: { [name]: "mine" }, authKeys: false })).toEqual([]);
    expect(mistakesOf({ functionEnvironment: { [name]: "mine" }, authKeys: true })).toEqual([
      `convex-droplet:functionEnvironment.${name}: is generated by authKeys. Remove it, or keep your own with: npx pulumi config set --stack test authKeys false`,
    ]);
  });
});

describe("the values derived from the settings", () => {
  it("name the database as the backend does", () => {
    expect(databaseName("convex-self-hosted")).toBe("convex_self_hosted");
    expect(databaseName("my_app-2-x")).toBe("my_app_2_x");
  });

  it("name the resources in the account as DigitalOcean accepts", () => {
    expect(label("dev")).toBe("convex-dev");
    expect(label("Team.Feature_1")).toBe("convex-team-feature-1");
    expect(label("x".repeat(100)).length).toBeLessThanOrEqual(50);
  });

  it.each([
    [{}, "127.0.0.1", "http://127.0.0.1:3210", "http://127.0.0.1:3211"],
    [{ allowedCidrs: ["0.0.0.0/0"] }, "0.0.0.0", "http://192.0.2.1:3210", "http://192.0.2.1:3211"],
    [{ cloudOrigin: "https://api.example.com" }, "127.0.0.1", "https://api.example.com", "http://127.0.0.1:3211"],
  ])("have URLs that can be reached with %j", async (overrides, bind, cloud, site) => {
    configure(overrides);
    const { bindAddress, openings, originsAt } = loadSettings().exposure;
    const origins = originsAt(pulumi.output("192.0.2.1"));
    const networks = ["0.0.0.0/0"];
    expect(openings).toEqual(bind === "0.0.0.0" ? [3210, 3211].map((port) => ({ port, networks })) : []);
    expect(bindAddress).toBe(bind);
    expect(await valueOf(origins.cloud)).toBe(cloud);
    expect(await valueOf(origins.site)).toBe(site);
  });
});
