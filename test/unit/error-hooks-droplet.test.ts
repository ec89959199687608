import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { deleteLostDroplet, switchOffDeafDroplet } from "../../error-hooks/droplet.ts";
import { configure, mockEngine } from "./program.ts";

const REFUSED = "Error creating droplet: POST …/v2/droplets: 422 Invalid volume allocations";

let holder: { id: number; name: string; status: string; locked: boolean } | undefined;
let calls: string[];

beforeEach(async () => {
  configure();
  await mockEngine();
  holder = { id: 7, name: "convex-dev", status: "active", locked: false };
  calls = [];
  vi.stubEnv("DIGITALOCEAN_API_URL", undefined);
  vi.stubGlobal("fetch", (url: URL, { method }: RequestInit) => {
    calls.push(`${method ?? ""} ${url.href}`);
    if (method === "DELETE") {
      holder = undefined;
      return Promise.resolve(new Response(null, { status: 204 }));
    }
    const volume = { droplet_ids: holder === undefined ? [] : [holder.id] };
    return Promise.resolve(Response.json(url.pathname.startsWith("/v2/volumes/") ? { volume } : { droplet: holder }));
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.unstubAllEnvs();
});

/** @returns whether the engine tries again */
async function afterFailure(failedOperation: string, error: string): Promise<boolean> {
  return await deleteLostDroplet("convex").callback({
    urn: "urn:pulumi:dev::convex-droplet::digitalocean:index/droplet:Droplet::convex-droplet",
    id: "",
    name: "convex-droplet",
    type: "digitalocean:index/droplet:Droplet",
    newInputs: { name: "convex-dev", volumeIds: ["v1"] },
    failedOperation,
    errors: [error],
  });
}

function deletions(): string[] {
  return calls.filter((call) => call.startsWith("DELETE"));
}

describe("a droplet that cannot be deleted", () => {
  const afterDeletion = async (error: string, failedOperation = "delete", earlier: string[] = []) =>
    await switchOffDeafDroplet("convex").callback({
      urn: "urn:pulumi:dev::convex-droplet::digitalocean:index/droplet:Droplet::convex-droplet",
      id: "7",
      name: "convex-droplet",
      type: "digitalocean:index/droplet:Droplet",
      failedOperation,
      errors: [error, ...earlier],
    });
  const DEAF = "Error waiting for droplet (7) to become off: context deadline exceeded";

  it("is switched off and tried again if it does not shut down", async () => {
    holder = { id: 7, name: "convex-dev", status: "off", locked: false };
    expect(await afterDeletion(DEAF)).toBe(true);
    expect(calls).toEqual([
      "POST https://api.digitalocean.com/v2/droplets/7/actions",
      "GET https://api.digitalocean.com/v2/droplets/7",
    ]);
  });

  it("is not switched off twice", async () => {
    expect(await afterDeletion(DEAF, "delete", [DEAF])).toBe(false);
    expect(calls).toEqual([]);
  });

  it.each([
    ["delete", "Error deleting droplet: 500"],
    ["create", DEAF],
  ])("is not touched after another failure: %s, %s", async (operation, error) => {
    expect(await afterDeletion(error, operation)).toBe(false);
    expect(calls).toEqual([]);
  });
});

describe("a droplet that cannot be created", () => {
  it("is tried again after the droplet with its volume, in no state, was deleted", async () => {
    expect(await afterFailure("create", REFUSED)).toBe(true);
    expect(deletions()).toEqual(["DELETE https://api.digitalocean.com/v2/droplets/7"]);
    expect(calls.at(-1)).toBe("GET https://api.digitalocean.com/v2/volumes/v1");
  });

  it("is not tried again if the droplet with its volume has another name", async () => {
    holder = { id: 7, name: "somebody-elses", status: "active", locked: false };
    expect(await afterFailure("create", REFUSED)).toBe(false);
    expect(deletions()).toEqual([]);
  });

  it("is not tried again if no droplet has its volume", async () => {
    holder = undefined;
    expect(await afterFailure("create", REFUSED)).toBe(false);
    expect(deletions()).toEqual([]);
  });

  it.each([
    ["create", "Error waiting for droplet (7) to become active: timeout"],
    ["update", REFUSED],
  ])("is not touched if it exists: %s, %s", async (operation, error) => {
    expect(await afterFailure(operation, error)).toBe(false);
    expect(calls).toEqual([]);
  });
});
