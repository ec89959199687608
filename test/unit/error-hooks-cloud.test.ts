import * as pulumi from "@pulumi/pulumi";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { deleteLostFromCloud } from "../../error-hooks/cloud.ts";
import { configure, mockEngine } from "./program.ts";

const TAKEN = 'Error creating: POST https://api.digitalocean.com/v2/…: 409 (request "1") duplicate name';
const OWN = { name: "convex-dev", dropletIds: [7], publicKey: "ssh-ed25519 AAAA", resources: ["do:droplet:7"] };

let account: Record<string, unknown>;
let changes: string[];

beforeEach(async () => {
  configure();
  await mockEngine();
  changes = [];
  account = {
    "/v2/account/keys": { ssh_keys: [{ id: 3, name: "convex-dev", public_key: "ssh-ed25519 AAAA\n" }] },
    "/v2/firewalls": { firewalls: [{ id: "f", name: "convex-dev", droplet_ids: [7] }] },
    "/v2/projects": { projects: [{ id: "p", name: "convex-dev", is_default: false }] },
    "/v2/projects/p/resources": { resources: [] },
    "/v2/databases": { databases: [{ id: "d", name: "convex-dev", tags: ["convex-droplet"] }] },
    "/v2/databases/d/firewall": { rules: [] },
    "/v2/databases/d/dbs": { dbs: [{ name: "defaultdb" }] },
    "/v2/volumes": { volumes: [{ id: "v", droplet_ids: [] }] },
  };
  vi.stubEnv("DIGITALOCEAN_API_URL", undefined);
  vi.stubGlobal("fetch", (url: URL, { method = "", body }: RequestInit) => {
    if (method === "GET") return Promise.resolve(Response.json(account[url.pathname]));
    changes.push(`${method} ${url.pathname}${typeof body === "string" ? ` ${body}` : ""}`);
    return Promise.resolve(method === "DELETE" ? new Response(null, { status: 204 }) : Response.json({}));
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

/** @returns whether the engine tries again */
async function afterFailure(type: string, failedOperation = "create", error = TAKEN): Promise<boolean> {
  return await deleteLostFromCloud("convex").callback({
    urn: `urn:pulumi:dev::convex-droplet::${type}::x`,
    id: "",
    name: "x",
    type,
    newInputs: OWN,
    failedOperation,
    errors: [error],
  });
}

const KEY = "digitalocean:index/sshKey:SshKey";
const FIREWALL = "digitalocean:index/firewall:Firewall";
const PROJECT = "digitalocean:index/project:Project";
const CLUSTER = "digitalocean:index/databaseCluster:DatabaseCluster";
const VOLUME = "digitalocean:index/volume:Volume";

describe("a resource that is already in the account", () => {
  it.each([
    ["the stack's own key", KEY, ["DELETE /v2/account/keys/3"]],
    ["a firewall of the stack's droplet", FIREWALL, ["DELETE /v2/firewalls/f"]],
    ["an empty project", PROJECT, ["DELETE /v2/projects/p"]],
    ["a database cluster that was never used", CLUSTER, ["DELETE /v2/databases/d"]],
  ])("is deleted and created again: %s", async (_, type, expected) => {
    expect(await afterFailure(type)).toBe(true);
    expect(changes).toEqual(expected);
  });

  it.each([
    [
      "another key",
      KEY,
      "/v2/account/keys",
      { ssh_keys: [{ id: 3, name: "convex-dev", public_key: "ssh-ed25519 B" }] },
    ],
    [
      "a firewall of others",
      FIREWALL,
      "/v2/firewalls",
      { firewalls: [{ id: "f", name: "convex-dev", droplet_ids: [7, 8] }] },
    ],
    ["a project with something in it", PROJECT, "/v2/projects/p/resources", { resources: [{ urn: "do:space:x" }] }],
    ["a database cluster that admits somebody", CLUSTER, "/v2/databases/d/firewall", { rules: [{ type: "droplet" }] }],
    ["a database cluster with databases", CLUSTER, "/v2/databases/d/dbs", { dbs: [{ name: "a" }, { name: "b" }] }],
    [
      "a database cluster of others",
      CLUSTER,
      "/v2/databases",
      { databases: [{ id: "d", name: "convex-dev", tags: null }] },
    ],
    ["the default project", PROJECT, "/v2/projects", { projects: [{ id: "p", name: "convex-dev", is_default: true }] }],
  ])("is not touched: %s", async (_, type, route, found) => {
    account[route] = found;
    expect(await afterFailure(type)).toBe(false);
    expect(changes).toEqual([]);
  });

  it("is not touched if it may contain data, and is only called empty if no droplet uses it", async () => {
    const warn = vi.spyOn(pulumi.log, "warn");
    expect(await afterFailure(VOLUME)).toBe(false);
    account["/v2/volumes"] = { volumes: [{ id: "v", droplet_ids: [7] }] };
    expect(await afterFailure(VOLUME)).toBe(false);
    expect(changes).toEqual([]);
    const [free = "", used = ""] = warn.mock.calls.map(([text]) => text);
    expect(free).toContain("use it: npx pulumi config set --stack test adoptVolume convex-dev, ");
    expect(free).toContain("it is empty: delete it with doctl compute volume delete v, then");
    expect(used).toContain("use it: npx pulumi config set --stack test adoptVolume convex-dev, ");
    expect(used).not.toContain("delete");
  });

  it.each([
    ["update", TAKEN],
    ["create", "Error creating: POST https://api.digitalocean.com/v2/…: 500 server error"],
  ])("is not touched after another failure: %s, %s", async (operation, error) => {
    for (const type of [KEY, FIREWALL, PROJECT]) expect(await afterFailure(type, operation, error)).toBe(false);
    expect(changes).toEqual([]);
  });
});
