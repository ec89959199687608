import * as pulumi from "@pulumi/pulumi";
import { readFileSync } from "node:fs";
import { beforeEach, describe, expect, it } from "vitest";

import { connectionsOf, refuseConnections } from "../../settings/connections.ts";
import { loadSettings } from "../../settings/load.ts";
import { configure, mistakesOf, mockEngine } from "./program.ts";

beforeEach(async () => {
  await mockEngine();
});

describe("further databases", () => {
  it("are none by default", () => {
    configure();
    expect(loadSettings().postgres.databases).toEqual([]);
  });

  it("are sorted, and have defaults for what is not set", () => {
    configure({ databases: { other: null, app: { shadow: true, replication: "true", connections: 30 }, more: {} } });
    expect(loadSettings().postgres.databases).toEqual([
      { name: "app", shadow: "app_shadow", replication: true, connections: 30 },
      { name: "more", shadow: undefined, replication: false, connections: 20 },
      { name: "other", shadow: undefined, replication: false, connections: 20 },
    ]);
  });

  it.each([
    ["postgres", "is one of PostgreSQL's own databases."],
    ["template1", "is one of PostgreSQL's own databases."],
    ["defaultdb", "is a name that a managed cluster has for its own, and the database may be moved to one."],
    ["doadmin", "is a name that a managed cluster has for its own, and the database may be moved to one."],
    ["_dodb", "is not valid, it should have only lower-case letters, digits and _, a letter first."],
    ["convex_self_hosted", "is the backend's own database, of instanceName."],
    ["convex", "is a role of this stack, and its owner has the same name."],
    ["convex_admin", "is a role of this stack, and its owner has the same name."],
    ["convex_self_hosted_moving", "is a name that a move-in uses for the copy of the backend's database."],
    ["pg_app", "is a name that PostgreSQL reserves, and its owner has the same name."],
    ["public", "is a name that PostgreSQL reserves, and its owner has the same name."],
    ["My-App", "is not valid, it should have only lower-case letters, digits and _, a letter first."],
    ["1app", "is not valid, it should have only lower-case letters, digits and _, a letter first."],
    ["a".repeat(64), "has 64 letters, it should have at most 63: PostgreSQL would cut the rest."],
  ])("are refused under the name %s", (name, reason) => {
    expect(mistakesOf({ databases: { [name]: {}, app: {} } })).toEqual([
      `convex-droplet:databases.${name}: ${reason} Rename it.`,
    ]);
  });

  it.each([
    [{ databases: { ["a".repeat(57)]: { shadow: true } } }, "has 57 letters, with a shadow it should have at most 56"],
    [
      { databases: { app: { shadow: true }, app_shadow: {} } },
      "has a shadow with the name of another database, app_shadow.",
    ],
    [
      { instanceName: "app-shadow", databases: { app: { shadow: true } } },
      "has a shadow with the name of the backend's own database, app_shadow.",
    ],
  ])("are refused if a shadow clashes: %j", (configuration, reason) => {
    const mistakes = mistakesOf(configuration);
    expect(mistakes).toHaveLength(1);
    expect(mistakes[0]).toContain(reason);
    expect(mistakes[0]).toMatch(/ Rename it, or do without its shadow\.$/);
  });

  it("are refused with everything that is wrong with their options, all at once", () => {
    expect(
      mistakesOf({
        databases: {
          app: { shadow: "yes", connections: "many", replicaton: true },
          other: true,
          more: { connections: 1 },
        },
      }),
    ).toEqual([
      "convex-droplet:databases.app.replicaton: is not an option of a database, it should be one; the nearest is replication. " +
        "Rename it, or remove it with: npx pulumi config rm --stack test --path databases.app.replicaton",
      'convex-droplet:databases.app.shadow: "yes" is not a boolean, it should be true or false. ' +
        "Set it with: npx pulumi config set --stack test --path databases.app.shadow false",
      'convex-droplet:databases.app.connections: "many" is not a whole number, it should be one from 2 to 500. ' +
        "Set it with: npx pulumi config set --stack test --path databases.app.connections 2",
      "convex-droplet:databases.more.connections: 1 is below 2, it should be from 2 to 500. " +
        "Set it with: npx pulumi config set --stack test --path databases.more.connections 2",
      "convex-droplet:databases.other: is not a map, it should map the options of a database to their values. " +
        "Remove it with: npx pulumi config rm --stack test --path databases.other, and set each with: npx pulumi config set --stack test --path databases.other.OPTION VALUE",
    ]);
  });

  it("are refused if they are a list, or a key of their own", () => {
    expect(mistakesOf({ databases: ["app"] })).toEqual([
      "convex-droplet:databases: is not a map, it should map names of databases to their options. " +
        "Remove it with: npx pulumi config rm --stack test databases, and set each option with: npx pulumi config set --stack test --path databases.NAME.connections 20",
    ]);
    expect(mistakesOf({ "databases.app.shadow": true })).toEqual([
      "convex-droplet:databases.app.shadow: is a separate key, it should be part of databases. " +
        "Remove it with: npx pulumi config rm --stack test databases.app.shadow, and set it with: npx pulumi config set --stack test --path databases.app.shadow VALUE",
    ]);
  });

  it("are refused if more have replication than the server has slots", () => {
    const many = (count: number) => Array.from({ length: count }, (_, index) => [`app${index}`, { replication: true }]);
    const [, slots = ""] = /SLOTS=(\d+)/.exec(readFileSync("machine/postgres/further.sh", "utf8")) ?? [];
    expect(mistakesOf({ databases: Object.fromEntries(many(Number(slots))) })).toEqual([]);
    expect(mistakesOf({ databases: Object.fromEntries(many(Number(slots) + 1)) })).toEqual([
      expect.stringContaining("convex-droplet:databases: have 17 with replication, it should be at most 16"),
    ]);
  });
});

describe("the connections of a server", () => {
  const database = (name: string, connections: number) => ({
    name,
    connections,
    shadow: undefined,
    replication: false,
  });

  const onSmall = (budget: Parameters<typeof refuseConnections>[0]) => () => {
    refuseConnections(budget, "s-1vcpu-1gb", 1024, [
      { slug: "s-1vcpu-1gb", memoryMb: 1024 },
      { slug: "s-1vcpu-2gb", memoryMb: 2048 },
      { slug: "s-2vcpu-4gb", memoryMb: 4096 },
    ]);
  };

  it("are the pool, all shares and a reserve", () => {
    expect(connectionsOf({ postgresPoolSize: 64, databases: [] })).toBe(84);
    expect(connectionsOf({ postgresPoolSize: 64, databases: [database("app", 10), database("other", 5)] })).toBe(99);
  });

  it("may be as many as the droplet's memory is for, and are refused beyond that, with the share that would fit", () => {
    const budget = { postgresPoolSize: 64, databases: [database("app", 24), database("other", 20)] };
    expect(onSmall(budget)).not.toThrow();
    const more = { ...budget, databases: [database("app", 30), database("other", 20)] };
    const refused = onSmall(more);
    expect(refused).toThrow(pulumi.RunError);
    expect(refused).toThrow(
      "convex-droplet:databases: need 134 connections (64 of postgresPoolSize, 30 of app, 20 of other, 20 in reserve), they should be at most 128 " +
        "on a droplet of size s-1vcpu-1gb, 8 MB of memory for each. Set it with: npx pulumi config set --stack test --path databases.app.connections 24, " +
        "or use the cheapest size that can: npx pulumi config set --stack test size s-1vcpu-2gb",
    );
    expect(onSmall({ ...more, postgresPoolSize: 420 })).toThrow(
      "Lower the shares and postgresPoolSize, or use the cheapest size that can: npx pulumi config set --stack test size s-2vcpu-4gb",
    );
  });

  it("are not limited by the memory without further databases, as before there were any", () => {
    expect(onSmall({ postgresPoolSize: 500, databases: [] })).not.toThrow();
  });
});
