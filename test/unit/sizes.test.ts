import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { refuseDropletSize, refuseShrinking, refuseVolumeSize } from "../../digitalocean/sizes.ts";
import { configure, mockEngine } from "./program.ts";

const OFFERS = [
  { slug: "s-1vcpu-2gb", diskGb: 50, memoryMb: 2048 },
  { slug: "s-2vcpu-4gb", diskGb: 80, memoryMb: 4096 },
  { slug: "s-2vcpu-8gb-amd", diskGb: 100, memoryMb: 8192 },
  { slug: "s-4vcpu-8gb", diskGb: 160, memoryMb: 8192 },
].map((offer) => ({ ...offer, monthlyUsd: 0 }));
const TELL = "PULUMI_ENABLE_LEGACY_REFRESH_DIFF=true npx pulumi refresh --stack test --yes --target '**convex-volume'";

const VOLUMES = "/v2/volumes?region=nyc3&per_page=200";
const volume = (suffix: string, size: number, droplets = [1]) => ({
  ...{ name: `convex-dev-data${suffix}`, size_gigabytes: size, droplet_ids: droplets },
});

let account: Record<string, unknown>;

beforeEach(async () => {
  configure();
  await mockEngine();
  vi.stubEnv("DIGITALOCEAN_API_URL", undefined);
  vi.stubGlobal("fetch", (url: URL) => Promise.resolve(Response.json(account[`${url.pathname}${url.search}`])));
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

/** The error of a hook before an update; undefined if it accepts the update. */
async function saidOf(
  hook: ReturnType<typeof refuseVolumeSize>,
  from: unknown,
  to: unknown,
): Promise<string | undefined> {
  expect(hook.opts).toEqual({ onDryRun: true });
  const args = { urn: "urn", id: "7", name: "x", type: "x", oldOutputs: { size: from }, newInputs: { size: to } };
  return await Promise.resolve(hook.callback(args)).then(
    () => undefined,
    (error: unknown) => (error as Error).message,
  );
}

describe("a volume", () => {
  it("is accepted if the API does not answer, because the provider reports that or asks again", async () => {
    vi.stubGlobal("fetch", () => Promise.resolve(new Response("{}", { status: 503 })));
    await expect(refuseShrinking("convex-dev", "nyc3", 150)).resolves.toBeUndefined();
    expect(await saidOf(refuseVolumeSize("convex"), 100, 150)).toBeUndefined();
  });

  it.each([
    ["does not exist", []],
    ["has its size", [volume("", 150)]],
    ["should grow", [volume("", 120)]],
    ["is another stack's", [volume("-2", 200), { ...volume("", 200), name: "convex-dev-2-data" }]],
    ["took the place of a larger one", [volume("", 200, []), volume("-506f78a4", 150)]],
  ])("that %s is accepted", async (_, volumes) => {
    account = { [VOLUMES]: { volumes } };
    await expect(refuseShrinking("convex-dev", "nyc3", 150)).resolves.toBeUndefined();
  });

  it("that is larger than declared is refused, with the commands that take it over", async () => {
    account = { [VOLUMES]: { volumes: [volume("", 100, []), volume("-506f78a4", 150)] } };
    await expect(refuseShrinking("convex-dev", "nyc3", 100)).rejects.toThrow(
      "the size of volume convex-dev-data-506f78a4",
    );
    account = { [VOLUMES]: { volumes: [volume("", 150, [])] } };
    await expect(refuseShrinking("convex-dev", "nyc3", 100)).rejects.toThrow(
      "convex-droplet:volumeSizeGb: 100 is below 150, the size of volume convex-dev-data in DigitalOcean, and a volume cannot shrink. " +
        `Set it with: npx pulumi config set --stack test volumeSizeGb 150; if somebody grew it by hand, also record that in the stack's state with: ${TELL}`,
    );
  });

  it("that already has its new size is refused, any other can grow", async () => {
    account = { "/v2/volumes/7": { volume: { size_gigabytes: 150 } } };
    expect(await saidOf(refuseVolumeSize("convex"), 100, 150)).toBe(
      "convex-droplet:volumeSizeGb: the volume already has 150 GB, the stack's state should say so. " +
        `Record it with: ${TELL}`,
    );
    expect(await saidOf(refuseVolumeSize("convex"), 100, 200)).toBeUndefined();
    expect(await saidOf(refuseVolumeSize("convex"), 150, 150)).toBeUndefined();
  });
});

describe("a droplet", () => {
  const droplet = (more: object = {}) => {
    account = {
      "/v2/droplets/7": { droplet: { id: 7, size_slug: "s-2vcpu-4gb", disk: 80, status: "active", ...more } },
    };
  };
  const said = (from: string, to: string) => saidOf(refuseDropletSize("convex", OFFERS), from, to);

  it("can get a size whose disk is not smaller", async () => {
    droplet();
    expect(await said("s-2vcpu-4gb", "s-4vcpu-8gb")).toBeUndefined();
    droplet({ size_slug: "s-4vcpu-8gb" });
    expect(await said("s-4vcpu-8gb", "s-2vcpu-4gb")).toBeUndefined();
  });

  it("cannot get a size with a smaller disk", async () => {
    droplet();
    expect(await said("s-2vcpu-4gb", "s-1vcpu-2gb")).toBe(
      "convex-droplet:size: s-1vcpu-2gb has a disk of 50 GB, it should have at least the 80 GB that the droplet has, because a disk cannot shrink. " +
        "Set it with: npx pulumi config set --stack test size s-2vcpu-4gb (the cheapest others: s-2vcpu-8gb-amd, s-4vcpu-8gb), " +
        "or recreate the droplet, which keeps the data: npx pulumi up --stack test --replace '**convex-droplet'",
    );
  });

  it("cannot get the size that it already has, and if it is off, the error says how to switch it on", async () => {
    droplet();
    const look =
      "convex-droplet:size: the droplet already is s-2vcpu-4gb, the stack's state should say so. Record it with: npx pulumi up --stack test --refresh --run-program";
    expect(await said("s-4vcpu-8gb", "s-2vcpu-4gb")).toBe(look);
    droplet({ status: "off" });
    expect(await said("s-4vcpu-8gb", "s-2vcpu-4gb")).toBe(
      `${look}, and switch the droplet on with: doctl compute droplet-action power-on 7`,
    );
  });

  it("is not looked up if its size does not change", async () => {
    account = {};
    expect(await said("s-2vcpu-4gb", "s-2vcpu-4gb")).toBeUndefined();
  });
});
