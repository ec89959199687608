import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { refuseMissingDroplet } from "../../digitalocean/missing-droplet.ts";
import { configure, mockEngine } from "./program.ts";

beforeEach(async () => {
  configure();
  await mockEngine();
  vi.stubEnv("DIGITALOCEAN_API_URL", undefined);
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

/** Runs the hook before the first connection to droplet 7, of which the account says this. */
async function connected(status: number): Promise<void> {
  const fetched = vi.fn(() => Promise.resolve(Response.json({}, { status })));
  vi.stubGlobal("fetch", fetched);
  const args = { urn: "urn", id: "", name: "x", type: "x", newInputs: { triggers: ["7"] } };
  await refuseMissingDroplet("convex").callback(args);
  expect(fetched).toHaveBeenCalledWith(new URL("https://api.digitalocean.com/v2/droplets/7"), expect.anything());
}

describe("a droplet of the stack's state", () => {
  it("that the account does not have is refused, with the run that makes another", async () => {
    await expect(connected(404)).rejects.toThrow(
      "droplet 7 is in the stack's state, but not in the account: somebody has deleted it, or a run that was killed. " +
        "Let a run check what really exists: npx pulumi up --stack test --refresh --run-program --skip-preview",
    );
  });

  it.each([200, 500])("is connected to if the account answers %i", async (status) => {
    await expect(connected(status)).resolves.toBeUndefined();
  });
});
