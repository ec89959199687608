import { describe, expect, it } from "vitest";

import { findSize } from "../../digitalocean/catalogue.ts";
import { mockEngine } from "./program.ts";

function offering(...sizes: object[]) {
  return mockEngine(undefined, () => ({ sizes }));
}

describe("a droplet size", () => {
  it("is found with its memory, its processors and the region's sizes, the cheapest first", async () => {
    await offering(
      { slug: "s-2vcpu-4gb", memory: 4096, vcpus: 2, disk: 80, priceMonthly: 24, regions: ["nyc3"] },
      { slug: "s-1vcpu-2gb", memory: 2048, disk: 50, priceMonthly: 12, regions: ["nyc3"] },
      { slug: "s-1vcpu-1gb", memory: 1024, disk: 25, priceMonthly: 6, regions: ["fra1"] },
    );
    expect(await findSize("s-2vcpu-4gb", "nyc3")).toEqual({
      memoryMb: 4096,
      vcpus: 2,
      offers: [
        { slug: "s-1vcpu-2gb", diskGb: 50, memoryMb: 2048, monthlyUsd: 12 },
        { slug: "s-2vcpu-4gb", diskGb: 80, memoryMb: 4096, monthlyUsd: 24 },
      ],
    });
  });

  it("is refused if DigitalOcean does not have it", async () => {
    await offering();
    await expect(findSize("s-9vcpu", "nyc3")).rejects.toThrow(
      "convex-droplet:size: s-9vcpu is not a droplet size of DigitalOcean",
    );
  });

  it("is refused if the region does not offer it", async () => {
    await offering({ slug: "s-2vcpu-4gb", memory: 4096, regions: ["nyc3", "fra1"] });
    await expect(findSize("s-2vcpu-4gb", "lon1")).rejects.toThrow(
      "convex-droplet:region: lon1 does not offer droplets of size s-2vcpu-4gb, it should be one of fra1, nyc3",
    );
  });

  it("is not found if DigitalOcean refuses the token, and the error names the token", async () => {
    await mockEngine(undefined, () => {
      const details = "GET /v2/sizes: 401 Unable to authenticate you.";
      throw Object.assign(new Error(details), { details });
    });
    await expect(findSize("s-2vcpu-4gb", "nyc3")).rejects.toThrow("digitalocean:token: is refused by DigitalOcean");
  });
});
