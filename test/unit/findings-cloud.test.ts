import { afterEach, expect, it, vi } from "vitest";

import { RESOURCES, TYPES } from "../../contract/names.ts";
import { compareFirewalls } from "../../operations/findings/cloud/firewalls.ts";
import { lostKeys } from "../../operations/findings/cloud/spaces-keys.ts";
import { compareRestoredClusters } from "../../operations/findings/cloud/restored-clusters.ts";
import { compareVolume } from "../../operations/findings/cloud/volume.ts";
import { stateOf } from "./findings.ts";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

const DROPLET = { type: TYPES.droplet, name: RESOURCES.droplet, id: "7", inputs: { tags: ["convex-droplet"] } };
const VOLUME = { type: TYPES.volume, name: RESOURCES.volume, id: "v", inputs: { size: 100 } };
const PROVIDER = { type: "pulumi:providers:digitalocean", name: "default", inputs: { token: "deployed-with" } };
const rule = { protocol: "tcp", ports: "0", sources: { addresses: ["0.0.0.0/0"] } };

it.each([
  [
    "the droplet itself",
    { droplet_ids: [7], tags: [] },
    "take the droplet out of it: doctl compute firewall remove-droplets f --droplet-ids 7",
  ],
  [
    "its own tag",
    { droplet_ids: [], tags: ["convex-droplet", "web"] },
    "take its tag off the droplet: doctl compute droplet untag 7 --tag-name web",
  ],
  [
    "the tag of every stack",
    { droplet_ids: [], tags: ["convex-droplet"] },
    "it holds all droplets with tag convex-droplet",
  ],
])("only the droplet is taken out of another firewall that holds %s", async (_, holds, way) => {
  const firewalls = [{ id: "f", name: "office", inbound_rules: [rule], ...holds }];
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json({ firewalls })));
  const [finding] = await compareFirewalls(stateOf(DROPLET, PROVIDER));
  expect(JSON.stringify(finding?.repair)).toContain(way);
});

it("the cloud is asked with the provider's token, then the shell's, and fails without any", async () => {
  const asked: unknown[] = [];
  vi.stubEnv("DIGITALOCEAN_TOKEN", "anothers");
  vi.stubGlobal("fetch", (_url: URL, { headers }: { headers: { authorization: string } }) => {
    asked.push(headers.authorization);
    return Promise.resolve(Response.json({ volume: { size_gigabytes: 100 } }));
  });
  await compareVolume(stateOf(VOLUME, PROVIDER));
  await compareVolume(stateOf(VOLUME));
  vi.stubEnv("DIGITALOCEAN_TOKEN", undefined);
  vi.stubEnv("DIGITALOCEAN_ACCESS_TOKEN", undefined);
  await expect(compareVolume(stateOf(VOLUME))).rejects.toThrow("there is no token");
  expect(asked).toEqual(["Bearer deployed-with", "Bearer anothers"]);
});

it("a key for Spaces with a name of the stack's that is in no state is found, and no other one", () => {
  const key = (access_key: string, name: string) => ({ access_key, name, created_at: "2026-11-27T03:00:00Z" });
  const own = [
    { id: "DO1", name: "convex-dev-spaces" },
    { id: "DO2", name: "convex-dev-backups" },
  ];
  const found = [key("DO1", "convex-dev-spaces"), key("DO2", "convex-dev-backups"), key("DO3", "convex-dev-backups")];
  expect(lostKeys(own, [...found, key("DO4", "convex-prod-spaces")])).toMatchObject([
    {
      path: "cloud.spaces-keys.DO3",
      severity: "warning",
      repair: { why: expect.stringMatching(/: doctl spaces keys delete DO3$/) as unknown },
    },
  ]);
});

it("a cluster that a killed drill has left is found, and no other one", async () => {
  const own = { type: TYPES.cluster, name: RESOURCES.cluster, id: "c", inputs: { name: "convex-dev" } };
  const made = (id: string, name: string, tag: string) => ({
    id,
    name,
    created_at: "2026-11-27T03:00:00Z",
    tags: [tag],
  });
  const databases = [
    made("r", "convex-dev-restored", "convex-droplet-restored"),
    made("o", "convex-prod-restored", "convex-droplet-restored"),
    made("u", "convex-dev-restored", "somebody-else"),
  ];
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json({ databases })));
  expect(await compareRestoredClusters(stateOf(PROVIDER))).toEqual([]);
  expect(await compareRestoredClusters(stateOf(own, PROVIDER))).toMatchObject([
    {
      path: "cloud.restored-clusters.r",
      severity: "warning",
      repair: {
        why: expect.stringMatching(/ drill -- .*--cluster removes it first, or: doctl databases delete r$/) as unknown,
      },
    },
  ]);
});
