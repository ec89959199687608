import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import {
  findVolume,
  type Holder,
  type ListedVolume,
  refuseHeldVolume,
  volumeFault,
} from "../../digitalocean/adopted-volume.ts";
import { configure, mockEngine } from "./program.ts";

const volume = (name: string, more: Partial<ListedVolume> = {}): ListedVolume => ({
  ...{ id: `${name}-id`, name, size_gigabytes: 100, region: { slug: "nyc3" }, droplet_ids: [] },
  ...more,
});

const VOLUMES = [
  volume("used", { droplet_ids: [7] }),
  volume("far", { region: { slug: "ams3" } }),
  ...[volume("good"), volume("large", { size_gigabytes: 200 })],
  volume("both", { id: "far-id", region: { slug: "ams3" } }),
  volume("both"),
];
const OTHER: Holder = { id: 7, name: "other" };
const OWN: Holder = { id: 7, name: "convex-dev" };
const SHOULD = "it should be one in nyc3 that is attached to no droplet, such as good.";
const SET = "Set it with: npx pulumi config set --stack test";

describe("a volume for a new stack", () => {
  it.each([
    ["none", undefined, `adoptVolume: "none" is no volume of this account, ${SHOULD} ${SET} adoptVolume good`],
    [
      ...(["far", undefined] as const),
      `adoptVolume: "far" is in ams3, and cannot be moved, ${SHOULD} ${SET} adoptVolume good; or use its region: npx pulumi config set --stack test region ams3`,
    ],
    [
      ...(["used", OTHER] as const),
      "adoptVolume: used is attached to droplet other (7), which is not in this stack's state, it should be attached to none. " +
        "If nobody needs that droplet, shut it down, and delete it, which keeps the volume: doctl compute droplet-action shutdown 7 --wait && doctl compute droplet delete 7; " +
        "or only detach the volume: doctl compute volume-action detach used-id 7 --wait",
    ],
    [
      ...(["large", undefined] as const),
      `volumeSizeGb: 150 is below 200, the size of volume large, and a volume cannot shrink. ${SET} volumeSizeGb 200`,
    ],
  ])("%s is refused", (wanted, holder, fault) => {
    expect(volumeFault(VOLUMES, wanted, "convex-dev", "nyc3", 150, holder)).toBe(fault);
  });

  it.each([
    ["good", undefined],
    ["good-id", undefined],
    ["both", undefined],
    // The stack has already adopted it, or its state is lost.
    ["used", OWN],
  ])("%s is accepted", (wanted, holder) => {
    expect(volumeFault(VOLUMES, wanted, "convex-dev", "nyc3", 150, holder)).toBeUndefined();
  });

  it.each([[[8]], [[]]])("is refused if the stack has another one, on droplets %j", (droplet_ids) => {
    const own = volume("convex-dev-data", { droplet_ids });
    expect(volumeFault([...VOLUMES, own], "good", "convex-dev", "nyc3", 150, undefined)).toBe(
      "adoptVolume: the stack already has volume convex-dev-data, it should be a new stack. Keep that one: npx pulumi config rm --stack test adoptVolume; " +
        "or if nobody needs that one, delete it: doctl compute volume delete convex-dev-data-id",
    );
    expect(volumeFault([...VOLUMES, own], "good", "convex-dev-2", "nyc3", 150, undefined)).toBeUndefined();
  });

  it("is accepted beside one that the stack has kept", () => {
    const kept = [volume("convex-dev-data"), volume("convex-dev-data-12345678")];
    expect(volumeFault(kept, "convex-dev-data-12345678", "convex-dev", "nyc3", 150, undefined)).toBeUndefined();
  });

  it("is not proposed if there is none", () => {
    expect(volumeFault([], "x", "convex-dev", "nyc3", 150, undefined)).toContain(
      "but there is none. Start with a blank one: npx pulumi config rm --stack test adoptVolume",
    );
  });
});

describe("an adopted volume in the account", () => {
  let volumes: ListedVolume[];

  beforeEach(async () => {
    configure();
    await mockEngine();
    vi.stubEnv("DIGITALOCEAN_API_URL", undefined);
    vi.stubGlobal("fetch", ({ pathname }: URL) => {
      if (pathname === "/v2/volumes") return Promise.resolve(Response.json({ volumes }));
      const held = volumes.find(({ id }) => pathname === `/v2/volumes/${id}`);
      return Promise.resolve(Response.json(held === undefined ? { droplet: OWN } : { volume: held }));
    });
  });

  afterEach(() => {
    vi.unstubAllGlobals();
    vi.unstubAllEnvs();
  });

  it("is found by its name in the region", async () => {
    volumes = VOLUMES;
    expect(await findVolume("", "convex-dev", "nyc3", 150)).toBeUndefined();
    expect(await findVolume("both", "convex-dev", "nyc3", 150)).toEqual({ id: "both-id", name: "both" });
    await expect(findVolume("none", "convex-dev", "nyc3", 150)).rejects.toThrow(/^convex-droplet:adoptVolume: "none"/);
  });

  it("stops the program if the API does not answer", async () => {
    vi.stubGlobal("fetch", () => Promise.resolve(new Response("{}", { status: 503 })));
    await expect(findVolume("good", "convex-dev", "nyc3", 150)).rejects.toThrow(
      "convex-droplet:adoptVolume: cannot be looked up. RefusedError: DigitalOcean: answered 503 to GET /v2/volumes",
    );
  });

  it("is refused by a stack without a state while a droplet has it, also one with the stack's name", async () => {
    const args = { urn: "urn", id: "", name: "x", type: "x" };
    const refusal = () => {
      const [hook] = refuseHeldVolume("convex", { id: "used-id", name: "used" });
      expect(hook?.opts).toEqual({ onDryRun: true });
      return Promise.resolve(hook?.callback(args)).then(
        () => undefined,
        (error: unknown) => (error as Error).message,
      );
    };
    volumes = VOLUMES;
    expect(await refusal()).toContain("convex-droplet:adoptVolume: used is attached to droplet convex-dev (7)");
    volumes = [volume("used")];
    expect(await refusal()).toBeUndefined();
    expect(refuseHeldVolume("convex", undefined)).toEqual([]);
  });
});
