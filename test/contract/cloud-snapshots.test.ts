import { afterAll, beforeAll, describe, expect, it } from "vitest";

import { serveTestCloud, temporaryHome, textOf } from "./cloud-harness.ts";
import type { TestCloud } from "./cloud-harness.ts";

const VOLUME = { name: "data", region: "fra1", size_gigabytes: 10, filesystem_type: "ext4", filesystem_label: "files" };

let home: Awaited<ReturnType<typeof temporaryHome>>;
let cloud: TestCloud;
let volume: string;

beforeAll(async () => {
  home = await temporaryHome();
  cloud = await serveTestCloud(home);
  volume = textOf((await cloud.call("POST", "/v2/volumes", VOLUME)).body.volume?.id);
});
afterAll(async () => {
  await cloud[Symbol.asyncDispose]();
  await home[Symbol.asyncDispose]();
});

describe("a volume's snapshot", () => {
  let snapshot: string;

  it("is a copy with the volume's size, region and tags of its own", async () => {
    const { status, body } = await cloud.call("POST", `/v2/volumes/${volume}/snapshots`, {
      name: "before",
      tags: ["t"],
    });
    expect([status, body.snapshot]).toEqual([
      201,
      {
        ...{ id: expect.any(String) as string, name: "before", resource_id: volume, resource_type: "volume" },
        ...{ regions: ["fra1"], min_disk_size: 10, size_gigabytes: 0.26, tags: ["t"] },
        created_at: expect.stringMatching(/^20\d\d-.*Z$/) as string,
      },
    ]);
    snapshot = textOf(body.snapshot?.id);
    expect(cloud.hypervisor.snapshots).toEqual(new Set([snapshot]));
    expect((await cloud.call("GET", `/v2/volumes/${volume}/snapshots`)).body.meta).toEqual({ total: 1 });
    expect((await cloud.call("GET", "/v2/snapshots?resource_type=droplet")).body.meta).toEqual({ total: 0 });
    expect((await cloud.call("GET", "/v2/tags/t")).body.tag?.resources?.volume_snapshots).toEqual({
      ...{ count: 1, last_tagged_uri: `${cloud.url}/v2/snapshots/${snapshot}` },
    });
  });

  it("is the only one in ten minutes", async () => {
    const { status, body } = await cloud.call("POST", `/v2/volumes/${volume}/snapshots`, { name: "x" });
    const message = "failed to create snapshot: this operation is rate-limited - one request per 10m0s";
    expect([status, body.message]).toEqual([429, message]);
    await expect(cloud.call("GET", "/v2/snapshots")).resolves.toMatchObject({ body: { meta: { total: 1 } } });
  });

  it("is not recorded if the copy fails", async () => {
    const { body } = await cloud.call("POST", "/v2/volumes", { ...VOLUME, name: "other" });
    cloud.hypervisor.failing.add("snapshotVolume");
    const route = `/v2/volumes/${textOf(body.volume?.id)}/snapshots`;
    expect((await cloud.call("POST", route, { name: "x" })).status).toBe(500);
    expect((await cloud.call("GET", "/v2/snapshots")).body.meta).toEqual({ total: 1 });
  });

  it("is put into a new volume of its region that is large enough", async () => {
    const restored = { name: "restored", region: "fra1", size_gigabytes: 20, snapshot_id: snapshot };
    const { body } = await cloud.call("POST", "/v2/volumes", restored);
    expect(body.volume).toMatchObject({ filesystem_type: "ext4", filesystem_label: "files", size_gigabytes: 20 });
    expect(cloud.hypervisor.disks.get(textOf(body.volume?.id))?.spec.snapshotId).toBe(snapshot);
    for (const change of [{ size_gigabytes: 9 }, { region: "nyc3" }, { snapshot_id: volume }]) {
      expect((await cloud.call("POST", "/v2/volumes", { ...restored, name: "no", ...change })).status).toBe(422);
    }
  });

  it("stays if its volume is deleted, and is deleted once", async () => {
    await cloud.call("DELETE", `/v2/volumes/${volume}`);
    expect((await cloud.call("GET", `/v2/snapshots/${snapshot}`)).status).toBe(200);
    expect((await cloud.call("DELETE", `/v2/snapshots/${snapshot}`)).status).toBe(204);
    expect((await cloud.call("DELETE", `/v2/snapshots/${snapshot}`)).status).toBe(404);
    expect(cloud.hypervisor.snapshots).toEqual(new Set());
  });
});
