import { afterEach, expect, it, vi } from "vitest";

import { compareFirewalls } from "../../operations/findings/cloud/firewalls.ts";
import { compareRoutes } from "../../operations/findings/network/routes.ts";
import { compareVolume } from "../../operations/findings/cloud/volume.ts";
import { State } from "../../operations/state.ts";

afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

const resource = (type: string, name: string, id: string, inputs: Record<string, unknown>) => ({
  ...{ type, name, id, inputs },
  outputs: {},
});
const DROPLET = resource("digitalocean:index/droplet:Droplet", "convex-droplet", "7", { tags: ["convex-droplet"] });
const VOLUME = resource("digitalocean:index/volume:Volume", "convex-volume", "v", { size: 100 });
const PROVIDER = resource("pulumi:providers:digitalocean", "default", "p", { token: "deployed-with" });
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
])("another firewall that holds %s is left by that droplet alone", async (_, holds, way) => {
  const firewalls = [{ id: "f", name: "office", inbound_rules: [rule], ...holds }];
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json({ firewalls })));
  const [finding] = await compareFirewalls(new State("dev", [DROPLET, PROVIDER]));
  expect(JSON.stringify(finding?.repair)).toContain(way);
});

it("the cloud is asked with the provider's own token, whatever the shell has, and its lack is told", async () => {
  const asked: unknown[] = [];
  vi.stubEnv("DIGITALOCEAN_TOKEN", "anothers");
  vi.stubGlobal("fetch", (_url: URL, { headers }: { headers: { authorization: string } }) => {
    asked.push(headers.authorization);
    return Promise.resolve(Response.json({ volume: { size_gigabytes: 100 } }));
  });
  await compareVolume(new State("dev", [VOLUME, PROVIDER]));
  await compareVolume(new State("dev", [VOLUME]));
  vi.stubEnv("DIGITALOCEAN_TOKEN", undefined);
  vi.stubEnv("DIGITALOCEAN_ACCESS_TOKEN", undefined);
  await expect(compareVolume(new State("dev", [VOLUME]))).rejects.toThrow("there is no token");
  expect(asked).toEqual(["Bearer deployed-with", "Bearer anothers"]);
});

it("a rule of routes is deleted by all that it says, not by a priority that the system's own may have", () => {
  const main = { priority: 32766, src: "all", table: "main" };
  const rules = [
    { priority: 0, src: "all", table: "local" },
    main,
    { ...main, src: "10.0.0.0", srclen: 8, table: "100" },
  ];
  const told = JSON.stringify([...rules, { priority: 32767, src: "all", table: "default" }]);
  const facts = new Map([["routes.rules", { exitCode: 0, text: told }]]);
  expect(compareRoutes(new State("dev", []), { differences: [], facts }).map(({ repair }) => repair)).toMatchObject([
    { command: "ip rule del from 10.0.0.0/8 priority 32766 lookup 100" },
  ]);
});
