import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { findDatabaseSize, refuseSmallerDatabase } from "../../digitalocean/database-sizes.ts";
import { refuseManagedConnections } from "../../settings/connections.ts";
import { loadSettings } from "../../settings/load.ts";
import { configure, mistakesOf, mockEngine } from "./program.ts";

const SHARED = ["db-s-1vcpu-2gb", "db-s-2vcpu-4gb", "db-s-4vcpu-8gb"];
const OPTIONS = {
  regions: ["nyc3", "fra1"],
  versions: ["16", "17"],
  layouts: [
    { num_nodes: 1, sizes: ["db-s-1vcpu-1gb", ...SHARED, "gd-2vcpu-8gb"] },
    { num_nodes: 2, sizes: ["gd-2vcpu-8gb", ...SHARED] },
    { num_nodes: 3, sizes: SHARED },
  ],
};

let options: typeof OPTIONS;

beforeEach(async () => {
  configure();
  await mockEngine();
  options = OPTIONS;
  vi.stubEnv("DIGITALOCEAN_API_URL", undefined);
  vi.stubGlobal("fetch", (url: URL) => {
    expect(url.pathname).toBe("/v2/databases/options");
    return Promise.resolve(Response.json({ options: { pg: options } }));
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

const SET = "Set it with: npx pulumi config set --stack test";
const MANAGED = { database: "managed" };

describe("a managed database", () => {
  it("is one without standby nodes, unless it has some", () => {
    configure(MANAGED);
    expect(loadSettings().postgres).toMatchObject({
      database: "managed",
      databaseSize: "db-s-2vcpu-4gb",
      databaseStandbys: 0,
    });
  });

  it.each([
    [
      { database: "cluster" },
      `database: "cluster" is not valid, it should be one of droplet, managed. ${SET} database droplet`,
    ],
    [
      { ...MANAGED, databaseSize: "large" },
      `databaseSize: "large" is not valid, it should be a size of a managed database such as db-s-2vcpu-4gb. ${SET} databaseSize db-s-2vcpu-4gb`,
    ],
    [
      { ...MANAGED, databaseStandbys: 3 },
      `databaseStandbys: 3 is above 2, it should be from 0 to 2. ${SET} databaseStandbys 2`,
    ],
    [
      { ...MANAGED, migratePostgres: true },
      `migratePostgres: is true, it should be false, because DigitalOcean migrates a managed database. ${SET} migratePostgres false`,
    ],
    [
      { ...MANAGED, backups: "spaces", image: "ubuntu-24-04-x64" },
      `backups: is spaces, it should be off with database: managed and image ubuntu-24-04-x64, whose PostgreSQL client is too old for dumps of the cluster. ${SET} backups off`,
    ],
    [
      { ...MANAGED, databases: { chat: { replication: true } } },
      `databases.chat.replication: is true, it should be false with database: managed, whose failover does not keep replication slots. ${SET} --path databases.chat.replication false`,
    ],
    [
      { ...MANAGED, volumeSnapshot: "before" },
      "volumeSnapshot: is before, it should not be set with database: managed: the volume would have the files of another time than the database. " +
        "Remove it with: npx pulumi config rm --stack test volumeSnapshot",
    ],
    [
      { ...MANAGED, adoptVolume: "old" },
      "adoptVolume: is old, it should not be set with database: managed: the volume would have the files of another time than the database. " +
        "Remove it with: npx pulumi config rm --stack test adoptVolume",
    ],
  ])("refuses %j", (overrides, mistake) => {
    expect(mistakesOf(overrides)).toEqual([`convex-droplet:${mistake}`]);
  });

  it("can have sizes with so many standby nodes, the smallest first, with what DigitalOcean admits", async () => {
    expect(await findDatabaseSize("gd-2vcpu-8gb", "fra1", 1)).toEqual([
      { slug: "db-s-1vcpu-2gb", memoryGb: 2, connections: 47 },
      { slug: "db-s-2vcpu-4gb", memoryGb: 4, connections: 97 },
      { slug: "db-s-4vcpu-8gb", memoryGb: 8, connections: 197 },
      { slug: "gd-2vcpu-8gb", memoryGb: 8, connections: 197 },
    ]);
    expect((await findDatabaseSize("db-s-1vcpu-1gb", "fra1", 0))[0]).toMatchObject({ connections: 22 });
  });

  it.each([
    [
      ["db-s-3vcpu-4gb", "nyc3", 0],
      `databaseSize: db-s-3vcpu-4gb is not a size of DigitalOcean's managed PostgreSQL, it should be one of db-s-1vcpu-1gb, db-s-1vcpu-2gb, db-s-2vcpu-4gb, db-s-4vcpu-8gb, gd-2vcpu-8gb. ${SET} databaseSize db-s-2vcpu-4gb`,
    ],
    [["s-4vcpu-8gb", "nyc3", 0], `gd-2vcpu-8gb. ${SET} databaseSize db-s-4vcpu-8gb`],
    [
      ["db-s-1vcpu-1gb", "nyc3", 1],
      `databaseStandbys: 1 is more than size db-s-1vcpu-1gb can have, it should be at most 0. ${SET} databaseStandbys 0, ` +
        "or use the smallest size that can: npx pulumi config set --stack test databaseSize db-s-1vcpu-2gb",
    ],
    [
      ["gd-2vcpu-8gb", "nyc3", 2],
      `databaseStandbys: 2 is more than size gd-2vcpu-8gb can have, it should be at most 1. ${SET} databaseStandbys 1, ` +
        "or use the smallest size that can: npx pulumi config set --stack test databaseSize db-s-4vcpu-8gb",
    ],
    [
      ["db-s-2vcpu-4gb", "sfo1", 0],
      "region: sfo1 has no managed databases, and the database should be in the droplet's network, so it should be one of fra1, nyc3. " +
        "Use the droplet's own server: npx pulumi config set --stack test database droplet",
    ],
  ] as [[string, string, number], string][])("is refused before a run: %j", async (wanted, mistake) => {
    await expect(findDatabaseSize(...wanted)).rejects.toThrow(mistake);
  });

  it("is refused if DigitalOcean does not offer its version", async () => {
    options = { ...OPTIONS, versions: ["15", "16"] };
    await expect(findDatabaseSize("db-s-2vcpu-4gb", "nyc3", 0)).rejects.toThrow(
      "database: managed cannot be deployed, because DigitalOcean offers PostgreSQL 15, 16, it should be 17",
    );
  });

  it("admits the pool, the shares and a reserve, or the preview names the size that does", async () => {
    const offers = await findDatabaseSize("db-s-1vcpu-1gb", "nyc3", 0);
    const shop = { name: "shop", shadow: undefined, replication: false, connections: 20 };
    const check = (postgresPoolSize: number, databases = [shop]) => {
      refuseManagedConnections({ postgresPoolSize, databases }, "db-s-2vcpu-4gb", offers);
    };
    check(67);
    check(87, []);
    const use = "Use the smallest size that does: npx pulumi config set --stack test databaseSize db-s-4vcpu-8gb";
    expect(() => {
      check(68);
    }).toThrow(
      "convex-droplet:databaseSize: db-s-2vcpu-4gb admits 97 connections, it should admit 98 (68 of postgresPoolSize, 20 of shop, 10 in reserve). " +
        `${use}, or lower the pool: npx pulumi config set --stack test postgresPoolSize 67`,
    );
    expect(() => {
      check(200);
    }).toThrow(
      "(200 of postgresPoolSize, 20 of shop, 10 in reserve). Lower postgresPoolSize or the shares, or lower the pool",
    );
  });

  it("is never made smaller", async () => {
    const hook = refuseSmallerDatabase("convex");
    expect(hook.opts).toEqual({ onDryRun: true });
    const resize = async (from: string, to: string) =>
      hook.callback({ urn: "urn", id: "7", name: "x", type: "x", oldOutputs: { size: from }, newInputs: { size: to } });
    await resize("db-s-2vcpu-4gb", "gd-2vcpu-8gb");
    await expect(resize("db-s-4vcpu-8gb", "db-s-2vcpu-4gb")).rejects.toThrow(
      `convex-droplet:databaseSize: db-s-2vcpu-4gb is smaller than db-s-4vcpu-8gb, which the database has, and it cannot shrink. ${SET} databaseSize db-s-4vcpu-8gb`,
    );
  });
});
