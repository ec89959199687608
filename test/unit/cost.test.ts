import * as pulumi from "@pulumi/pulumi";
import { beforeEach, describe, expect, it, vi } from "vitest";

import { tellCost } from "../../components/tell-cost.ts";
import { type Charged, costReport, monthlyCost, totalOf } from "../../digitalocean/cost.ts";
import { mockEngine, valueOf } from "./program.ts";

const OFFERS = [
  { slug: "s-2vcpu-4gb", diskGb: 80, memoryMb: 4096, monthlyUsd: 24 },
  { slug: "s-4vcpu-8gb", diskGb: 160, memoryMb: 8192, monthlyUsd: 48 },
];
const DEV: Charged = { size: "s-2vcpu-4gb", volumeSizeGb: 100, cluster: undefined, usesSpaces: false };
const costOf = (changes: Partial<Charged> = {}) => monthlyCost({ ...DEV, ...changes }, OFFERS);
const DEPLOYED = costOf();

describe("the monthly cost", () => {
  it.each<[string, Partial<Charged>, object]>([
    ["the droplet and the volume", { volumeSizeGb: 333 }, { "droplet s-2vcpu-4gb": 24, "volume 333 GB": 33.3 }],
    ["each node", { cluster: { size: "db-s-1vcpu-2gb", count: 3 } }, { "database 3 x db-s-1vcpu-2gb": 90 }],
    ["all buckets together", { usesSpaces: true }, { Spaces: 5 }],
    ["a size that DigitalOcean does not list", { size: "s-9vcpu" }, { "droplet s-9vcpu": "unknown" }],
    ["another size of nodes", { cluster: { size: "gd-x-8gb", count: 1 } }, { "database 1 x gd-x-8gb": "unknown" }],
  ])("counts %s", (_what, changes, expected) => {
    expect(costOf(changes)).toMatchObject(expected);
  });

  it("has nothing else", () => {
    expect(DEPLOYED).toEqual({ "droplet s-2vcpu-4gb": 24, "volume 100 GB": 10 });
  });

  it("is a least sum if a price is unknown", () => {
    expect(totalOf(costOf({ size: "s-9vcpu" }))).toBe("at least 10.00 USD a month at list prices");
  });
});

describe("the report of costs", () => {
  const first = (...args: Parameters<typeof costReport>) => costReport(...args).split("\n")[0];

  it.each([
    ["before the first up", {}],
    ["without a difference", DEPLOYED],
  ])("has the sum and each part %s", (_when, former) => {
    expect(costReport(DEPLOYED, former, 0).split("\n")).toEqual([
      "cost: 34.00 USD a month at list prices",
      "    droplet s-2vcpu-4gb  24.00",
      "    volume 100 GB        10.00",
    ]);
  });

  it("shows what differs from what is deployed", () => {
    const wanted = costOf({ size: "s-4vcpu-8gb", usesSpaces: true });
    expect(costReport(wanted, DEPLOYED, 3).split("\n")).toEqual([
      "cost: 63.00 USD a month at list prices, 29.00 more than deployed",
      "  + droplet s-4vcpu-8gb  48.00",
      "    volume 100 GB        10.00",
      "  + Spaces                5.00",
      "  - droplet s-2vcpu-4gb  24.00",
      "    and up to 3 snapshots of the volume: 0.06 for each GiB of data in each",
    ]);
  });

  it("says what is saved, and if it is not known", () => {
    expect(first(DEPLOYED, costOf({ usesSpaces: true }), 0)).toContain(", 5.00 less than deployed");
    expect(first(costOf({ size: "s-9vcpu" }), DEPLOYED, 0)).toContain(
      ", and an unknown difference to what is deployed",
    );
  });
});

describe("a run", () => {
  const told = vi.spyOn(pulumi.log, "info").mockResolvedValue();
  const tell = () => valueOf(tellCost({ ...DEV, size: pulumi.output("s-4vcpu-8gb") }, OFFERS, 0));
  const line = () => told.mock.lastCall?.[0].split("\n")[0];

  beforeEach(() => {
    told.mockClear();
  });

  it("tells once what is more than the last one has recorded, and records the new cost", async () => {
    await mockEngine(undefined, ({ token, inputs }) => {
      expect([token, inputs]).toEqual(["pulumi:pulumi:readStackOutputs", { name: "organization/convex-droplet/test" }]);
      return { outputs: { monthlyCost: DEPLOYED } };
    });
    expect(await tell()).toEqual({ "droplet s-4vcpu-8gb": 48, "volume 100 GB": 10 });
    expect(line()).toBe("cost: 58.00 USD a month at list prices, 24.00 more than deployed");
    expect(told).toHaveBeenCalledOnce();
  });

  it.each([
    ["the state is of an earlier release", () => ({ outputs: {} })],
    [
      "the state cannot be read",
      () => {
        throw new Error("no backend client is available");
      },
    ],
  ])("tells the sum if %s", async (_why, answer) => {
    await mockEngine(undefined, answer);
    await tell();
    expect(line()).toBe("cost: 58.00 USD a month at list prices");
  });
});
