import * as pulumi from "@pulumi/pulumi";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { recentSnapshot, type Snapshot, surplusSnapshots } from "../../digitalocean/snapshots.ts";
import { Safeguard, snapshotFault } from "../../digitalocean/volume-snapshots.ts";
import { configure, mockEngine } from "./program.ts";

const OWN = "convex-droplet:convex-dev";
const NOW = Date.parse("2026-11-26T14:30:00Z");

/** A snapshot that `up` of stack dev made some minutes ago. */
function snapshot(name: string, minutes: number, more: Partial<Snapshot> = {}): Snapshot {
  return {
    ...{ id: `${name}-id`, name, created_at: new Date(NOW - minutes * 60_000).toISOString().replace(".000", "") },
    ...{ regions: ["nyc3"], resource_id: "V", resource_type: "volume", min_disk_size: 100, size_gigabytes: 1 },
    tags: [OWN, "before-change"],
    ...more,
  };
}

const OTHERS = [
  snapshot("by-command", 1, { tags: [OWN] }),
  snapshot("by-hand", 1, { tags: null }),
  snapshot("of-another-stack", 1, { tags: ["convex-droplet:convex-dev-2", "before-change"] }),
  snapshot("of-a-droplet", 1, { resource_type: "droplet" }),
];

describe("of the snapshots that up made", () => {
  it("the oldest are too many, of all volumes of the stack, and never another snapshot", () => {
    const own = [snapshot("a", 2), snapshot("b", 3, { resource_id: "W" }), snapshot("c", 4), snapshot("d", 5)];
    const names = (keep: number) => surplusSnapshots([...OTHERS, ...own], "convex-dev", keep).map(({ name }) => name);
    expect(names(2)).toEqual(["c", "d"]);
    expect(names(4)).toEqual([]);
  });
});

describe("a snapshot of the last ten minutes", () => {
  it.each<[string, Snapshot[], string | undefined]>([
    ["is used", [snapshot("a", 9)], "a"],
    ["is used also if the command made it", OTHERS, "by-command"],
    ["is not used if it is older", [snapshot("a", 10)], undefined],
    ["is not used if it is of another volume", [snapshot("a", 1, { resource_id: "W" })], undefined],
    ["is not used if the stack did not make it", OTHERS.slice(1), undefined],
  ])("%s", (_, snapshots, name) => {
    expect(recentSnapshot(snapshots, "convex-dev", "V", NOW)?.name).toBe(name);
  });
});

describe("a snapshot for a volume", () => {
  const set = "Set it with: npx pulumi config set --stack test";
  const all = [
    ...[snapshot("good", 1), snapshot("large", 1, { min_disk_size: 200 }), snapshot("far", 1, { regions: ["ams3"] })],
    ...[snapshot("twice", 1, { id: "1" }), snapshot("twice", 2, { id: "2" }), ...OTHERS],
  ];

  it.each([
    [
      "none",
      `volumeSnapshot: "none" is no snapshot of this account, it should be one of a volume in nyc3, such as good. ${set} volumeSnapshot good. If the volume was made from it before, remove the setting: npx pulumi config rm --stack test volumeSnapshot`,
    ],
    [
      "far",
      `volumeSnapshot: "far" is in ams3, and cannot be moved, it should be one of a volume in nyc3, such as good. ${set} volumeSnapshot good.`,
    ],
    ["large", `volumeSizeGb: 150 is below 200, the size of the volume of snapshot large. ${set} volumeSizeGb 200`],
    [
      "of-a-droplet",
      `volumeSnapshot: "of-a-droplet" is a snapshot of a droplet, it should be one of a volume in nyc3, such as good. ${set} volumeSnapshot good.`,
    ],
    [
      "twice",
      `volumeSnapshot: "twice" is the name of 2 snapshots, it should be the id of one: 1 (2026-11-26T14:29:00Z), 2 (2026-11-26T14:28:00Z). ${set} volumeSnapshot 1`,
    ],
  ])("is refused: %s", (wanted, fault) => {
    expect(snapshotFault(all, wanted, "nyc3", 150)).toBe(fault);
  });

  it.each(["good", "good-id", "2", "by-hand"])("is accepted by name or id: %s", (wanted) => {
    expect(snapshotFault(all, wanted, "nyc3", 150)).toBeUndefined();
  });

  it("is refused without a proposal if the region has none", () => {
    expect(snapshotFault([], "x", "nyc3", 150)).toContain("it should be one of a volume in nyc3, but there is none.");
  });
});

describe("before a change of the data", () => {
  let asked: string[];
  let existing: Snapshot[];
  let refused: { method: string; status: number } | undefined;

  beforeEach(async () => {
    configure();
    await mockEngine();
    vi.stubEnv("DIGITALOCEAN_API_URL", undefined);
    [asked, existing, refused] = [[], [], undefined];
    vi.stubGlobal("fetch", (url: URL, { method, body }: { method: string; body?: string }) => {
      asked.push(`${method} ${url.pathname}`);
      if (method === "GET") return Promise.resolve(Response.json({ snapshots: existing }));
      if (refused?.method === method) return Promise.resolve(new Response("{}", { status: refused.status }));
      if (method === "DELETE") return Promise.resolve(new Response(null, { status: 204 }));
      const made = { ...snapshot("new", 0), ...(JSON.parse(body ?? "") as object) };
      return Promise.resolve(Response.json({ snapshot: made }));
    });
  });

  afterEach(() => {
    vi.unstubAllGlobals();
    vi.unstubAllEnvs();
  });

  const run = async ([hook]: pulumi.ResourceHook[], id = "V") => {
    await hook?.callback({ urn: "urn", id, name: "x", type: "x" });
  };

  it("makes one snapshot for all changes of a run, and then removes what is too much", async () => {
    existing = [snapshot("a", 1e6), snapshot("b", 2e6), ...OTHERS.slice(1)];
    const safeguard = new Safeguard("convex-dev", 2, "");
    await Promise.all(["one", "two"].map((name) => run(safeguard.beforeChange(name, () => pulumi.output("V")))));
    expect(asked).toEqual(["GET /v2/snapshots", "POST /v2/volumes/V/snapshots", "DELETE /v2/snapshots/b-id"]);
  });

  it("makes none if the change is no risk, if the run made the volume, or if none should be kept", async () => {
    const safeguard = new Safeguard("convex-dev", 1, "");
    await run(safeguard.beforeChange("none", () => undefined));
    await run(safeguard.afterNewVolume("convex"), "NEW");
    await run(safeguard.beforeChange("new", () => "NEW"));
    expect(asked).toEqual([]);
    expect(new Safeguard("convex-dev", 0, "").beforeChange("off", () => "V")).toEqual([]);
  });

  it("keeps the snapshot that the volume is made from, of which a run that failed has made no volume yet", async () => {
    existing = [snapshot("a", 1e6), snapshot("b", 2e6)];
    await run(new Safeguard("convex-dev", 1, "b-id").beforeChange("one", () => "V"));
    expect(asked.slice(2)).toEqual(["DELETE /v2/snapshots/a-id"]);
  });

  it("lets the change happen if only an older one cannot be removed", async () => {
    existing = [snapshot("a", 1e6), snapshot("b", 2e6)];
    refused = { method: "DELETE", status: 500 };
    await run(new Safeguard("convex-dev", 1, "").beforeChange("one", () => "V"));
    expect(asked.slice(2)).toEqual(["DELETE /v2/snapshots/a-id", "DELETE /v2/snapshots/b-id"]);
  });

  it("fails the change if none can be made, and removes nothing", async () => {
    existing = [snapshot("a", 1e6), snapshot("b", 2e6)];
    refused = { method: "POST", status: 429 };
    await expect(run(new Safeguard("convex-dev", 1, "").beforeChange("one", () => "V"))).rejects.toThrow(
      "convex-droplet:volumeSnapshots: the volume has no snapshot from before this change, so the change was not made. " +
        "DigitalOcean: answered 429 to POST /v2/volumes/V/snapshots. DigitalOcean makes only one snapshot of a volume in 10 minutes, so wait. " +
        "Run npx pulumi up --stack test again, or go on without a snapshot: npx pulumi config set --stack test volumeSnapshots 0",
    );
    expect(asked).toEqual(["GET /v2/snapshots", "POST /v2/volumes/V/snapshots"]);
  });
});
