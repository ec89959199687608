import { beforeEach, expect, it } from "vitest";

import { mistakesOf, mockEngine } from "./program.ts";

beforeEach(async () => {
  await mockEngine();
});

/** A configuration after all commands that its mistakes propose. */
function mended(configuration: Record<string, unknown>): Record<string, unknown> {
  const result = structuredClone(configuration);
  for (const mistake of mistakesOf(configuration)) {
    const [, path, value = ""] =
      / with: npx pulumi config set --stack test (?:--path )?(\S+) (\S+)$/.exec(mistake) ?? [];
    if (path === undefined) throw new Error(`${mistake} proposes no value`);
    const [key = "", index] = path.replaceAll(/['\]]/g, "").split("[");
    const list = Array.isArray(result[key]) ? (result[key] as unknown[]) : [];
    if (index === undefined) result[key] = value;
    else result[key] = [...list.slice(0, Number(index)), value, ...list.slice(Number(index) + 1)];
  }
  return result;
}

const CLOUD = "https://convex.example.com";
const [API, SITE] = ["https://api.example.com", "https://site.example.com"];

it.each<Record<string, unknown>>([
  { region: "New York", size: "", image: "debian-11-x64", instanceName: "template1", logLevel: "verbose" },
  {
    volumeSizeGb: 80,
    bootTimeoutSeconds: 5000,
    rebootTime: "4am",
    postgresPoolSize: "many",
    documentRetentionSeconds: -1,
    tunnelPort: 80,
  },
  { volumeSnapshots: 25 },
  { database: "cluster", databaseSize: "x", databaseStandbys: 5 },
  { database: "managed", migratePostgres: true, backups: "spaces", image: "ubuntu-24-04-x64" },
  { driftIgnore: ["*", ""] },
  {
    telemetry: "yes",
    protectData: "no",
    authKeys: "",
    redactClientLogs: 1,
    rehearseImages: "maybe",
    migratePostgres: 17,
  },
  { dashboardPort: 5432 },
  { sitePort: 5432, dashboardPort: 5433 },
  { apiPort: 3211, dashboardPort: 3211 },
  { apiPort: 80, sitePort: 80, dashboardPort: 443 },
  { apiPort: "x", sitePort: "x", dashboardPort: 1024 },
  { apiPort: 65535, sitePort: 65535, dashboardPort: 70000 },
  { apiPort: 6781, sitePort: 6781 },
  { cloudOrigin: CLOUD, siteOrigin: `${CLOUD}:443` },
  { cloudOrigin: CLOUD, siteOrigin: `${CLOUD}/` },
  { cloudOrigin: CLOUD, siteOrigin: CLOUD.toUpperCase() },
  { cloudOrigin: `${CLOUD}/`, siteOrigin: CLOUD },
  { cloudOrigin: `${CLOUD}/`, siteOrigin: `${CLOUD}/http` },
  { cloudOrigin: SITE, siteOrigin: "site.example.com" },
  { cloudOrigin: "api.example.com", siteOrigin: API },
  { cloudOrigin: `${SITE}/`, siteOrigin: SITE },
  { cloudOrigin: `${API}/x/`, siteOrigin: `${API}:443/` },
  { cloudOrigin: "https://me:s3cret@*.example.com", siteOrigin: "http://[::1]:0" },
  { adminCidrs: ["203.0.113.77/24", "2001:db8::5678/32", "10.0.0.0", "x"], allowedCidrs: ["::1/64"] },
  { adminCidrs: [] },
  { adminCidrs: "203.0.113.0/24", allowedCidrs: {} },
  { backups: "yes" },
  { backups: "spaces", region: "nyc1" },
  { fileStorage: "spaces", region: "nyc1" },
  { fileStorage: "Spaces", fileEndpoint: "" },
  {
    backupRegion: "New York",
    backupEndpoint: "http://s3.example.com",
    backupBucket: "My",
    backupDays: 0,
  },
])("the proposals for %j pass", (configuration) => {
  const proposed = mended(configuration);
  expect(proposed).not.toEqual(configuration);
  expect(mistakesOf(proposed)).toEqual([]);
});

it("the proposal for equal origins is another origin", () => {
  expect(mistakesOf({ cloudOrigin: CLOUD, siteOrigin: `${CLOUD}:443` })).toEqual([
    `convex-droplet:siteOrigin: ${CLOUD}:443 equals cloudOrigin, it should have another host or port, or HTTP actions and sign-in break. ` +
      "Set it with: npx pulumi config set --stack test siteOrigin https://site.example.com",
  ]);
});

it("a password in an origin is not shown", () => {
  expect(mistakesOf({ cloudOrigin: "https://me:s3cret@api.example.com" })).toEqual([
    "convex-droplet:cloudOrigin: https://…@api.example.com is more than scheme, host and port, it should be https://api.example.com. " +
      "Set it with: npx pulumi config set --stack test cloudOrigin https://api.example.com",
  ]);
});

it("the proposal for a taken port is the next one", () => {
  expect(mistakesOf({ dashboardPort: 5432 })).toEqual([
    "convex-droplet:dashboardPort: 5432 is PostgreSQL's, it should be another port. Set it with: npx pulumi config set --stack test dashboardPort 5433",
  ]);
});
