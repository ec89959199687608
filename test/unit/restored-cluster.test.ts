import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { keptSince, withRestored } from "../../operations/backups/cluster.ts";
import { stateOf } from "./findings.ts";

const STATE = stateOf(
  { type: "pulumi:providers:digitalocean", name: "default", inputs: { token: "a-token" } },
  { type: TYPES.cluster, name: RESOURCES.cluster, id: "own" },
  { type: TYPES.droplet, name: RESOURCES.droplet, id: "7" },
);
const OWN = {
  ...{ id: "own", name: "convex-dev", status: "online", version: "17", region: "nyc3", size: "db-s-2vcpu-4gb" },
  ...{ storage_size_mib: 61_440, private_network_uuid: "network", tags: ["convex-droplet"] },
  private_connection: { host: "private-own", port: 25060, user: "doadmin", password: "own" },
};
const TAG = "convex-droplet-restored";
const OLDEST = "2026-11-20T18:00:00Z";

let clusters: (typeof OWN)[];
/** Calls that change something. */
let calls: [call: string, body?: unknown][];
let refusal: { call: string; status: number } | undefined;

beforeEach(() => {
  [clusters, calls, refusal] = [[OWN], [], undefined];
  vi.spyOn(process.stderr, "write").mockReturnValue(true);
  vi.stubGlobal("fetch", (url: URL, { method, body }: { method: string; body?: string }) => {
    const call = `${method} ${url.pathname}`;
    const sent = body === undefined ? undefined : (JSON.parse(body) as Partial<typeof OWN>);
    if (method !== "GET") calls.push([call, sent]);
    if (refusal?.call === call) return Promise.resolve(new Response("{}", { status: refusal.status }));
    return Promise.resolve(answer(method, url.pathname, sent));
  });
});
afterEach(() => {
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

function answer(method: string, path: string, sent: Partial<typeof OWN> | undefined): Response {
  const [, id = "", what = ""] = /^\/v2\/databases(?:\/([^/]+)(?:\/(.*))?)?$/.exec(path) ?? [];
  if (id === "" && method === "GET") return Response.json({ databases: clusters });
  if (id === "") {
    const made = {
      ...OWN,
      ...sent,
      id: "other",
      private_connection: { ...OWN.private_connection, host: "private-other" },
    };
    clusters.push(made);
    return Response.json({ database: made });
  }
  if (what === "backups")
    return Response.json({ backups: [{ created_at: "2026-11-27T18:00:00Z" }, { created_at: OLDEST }] });
  if (what === "ca") return Response.json({ ca: { certificate: Buffer.from("the\nauthority\n").toString("base64") } });
  const found = clusters.find((cluster) => cluster.id === id);
  if (found === undefined) return new Response("{}", { status: 404 });
  if (method === "GET") return Response.json({ database: found });
  clusters = clusters.filter((cluster) => cluster !== found);
  return new Response(null, { status: 204 });
}

const left = () => clusters.map(({ id }) => id);

it("another cluster of a moment admits only the droplet, is as large as the own one, and is removed at the end", async () => {
  const used = await withRestored(STATE, "2026-11-26T14:05:00Z", (restored) => {
    expect(left()).toEqual(["own", "other"]);
    return Promise.resolve(restored);
  });
  expect(used).toMatchObject({
    moment: "2026-11-26T14:05:00Z",
    server: { host: "private-other", user: "doadmin", authority: ["the", "authority"] },
  });
  expect(calls).toEqual([
    [
      "POST /v2/databases",
      {
        ...{ name: "convex-dev-restored", engine: "pg", version: "17", region: "nyc3", size: "db-s-2vcpu-4gb" },
        ...{ num_nodes: 1, tags: [TAG], storage_size_mib: 61_440, private_network_uuid: "network" },
        backup_restore: { database_name: "convex-dev", backup_created_at: "2026-11-26T14:05:00Z" },
        rules: [{ type: "droplet", value: "7" }],
      },
    ],
    ["DELETE /v2/databases/other", undefined],
  ]);
  expect(left()).toEqual(["own"]);
});

it("another cluster is removed also if its use fails", async () => {
  await expect(withRestored(STATE, "", () => Promise.reject(new Error("no way")))).rejects.toThrow("no way");
  expect(left()).toEqual(["own"]);
});

it("the cluster that a killed run has left is removed first, but no other with its name or its tag", async () => {
  const like = (id: string, name: string, ...tags: string[]) => ({ ...OWN, id, name, tags });
  clusters.push(
    like("left", "convex-dev-restored", TAG),
    like("of-somebody", "convex-dev-restored"),
    like("of-another-stack", "convex-prod-restored", TAG),
  );
  await withRestored(STATE, "", () => {
    expect(left()).toEqual(["own", "of-somebody", "of-another-stack", "other"]);
    return Promise.resolve();
  });
  expect(left()).toEqual(["own", "of-somebody", "of-another-stack"]);
});

it("a cluster that cannot be removed is named, with the command that removes it", async () => {
  refusal = { call: "DELETE /v2/databases/other", status: 500 };
  await expect(withRestored(STATE, "", () => Promise.resolve())).rejects.toThrow(
    "the other cluster: cannot be removed: RefusedError: DigitalOcean: answered 500 to DELETE /v2/databases/other. " +
      "It costs money until it is removed. Remove it with: doctl databases delete other",
  );
});

it.each(["2026-11-20T17:00:00Z", "2120-01-01T00:00:00Z", "yesterday"])(
  "a moment that is not kept is refused before anything is made: %s",
  async (to) => {
    await expect(withRestored(STATE, to, () => Promise.resolve())).rejects.toThrow(
      `--to: is "${to}", it should be a moment from ${OLDEST} to now`,
    );
    expect(calls).toEqual([]);
  },
);

it("every moment is kept since the oldest backup, as far as DigitalOcean can be asked", async () => {
  expect(await keptSince(STATE)).toBe(OLDEST);
  expect(await keptSince(stateOf())).toBeUndefined();
  refusal = { call: "GET /v2/databases/own/backups", status: 500 };
  expect(await keptSince(STATE)).toBeUndefined();
});
