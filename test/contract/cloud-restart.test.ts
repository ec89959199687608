import { describe, expect, it } from "vitest";

import type { SandboxHome } from "../../sandbox/home.ts";
import { waitFor } from "../../sandbox/wait-for.ts";
import type { Json, TestCloud } from "./cloud-harness.ts";
import { RememberingHypervisor, serveTestCloud, temporaryHome, textOf } from "./cloud-harness.ts";

const DROPLET = { name: "web", region: "fra1", size: "s-1vcpu-1gb", image: "debian-13-x64" };
const VOLUME = { name: "data", region: "fra1", size_gigabytes: 10 };

async function idle({ call }: TestCloud): Promise<void> {
  await waitFor("all actions to end", 10, async () => {
    const { body } = await call("GET", "/v2/actions?per_page=200");
    return (body.actions as unknown as Json[]).every((action) => (action.status as unknown) !== "in-progress");
  });
  await waitFor("all firewalls to be applied", 10, async () => {
    const { body } = await call("GET", "/v2/firewalls");
    return (body.firewalls as unknown as Json[]).every((firewall) => (firewall.status as unknown) !== "waiting");
  });
}

/** Leaves a droplet with a volume and a firewall, and returns what clients see of all. */
async function furnish(home: SandboxHome, hypervisor: RememberingHypervisor) {
  await using cloud = await serveTestCloud(home, hypervisor);
  const volume = (await cloud.call("POST", "/v2/volumes", VOLUME)).body.volume?.id;
  const created = await cloud.call("POST", "/v2/droplets", { ...DROPLET, volumes: [volume] });
  const droplet = Number(created.body.droplet?.id);
  await cloud.call("POST", "/v2/firewalls", {
    name: "edge",
    inbound_rules: [{ protocol: "tcp", ports: "22", sources: { addresses: ["0.0.0.0/0"] } }],
    droplet_ids: [droplet],
  });
  await idle(cloud);
  return { droplet, volume: textOf(volume), seen: await everything(cloud) };
}

async function everything({ call, url }: TestCloud) {
  const lists = ["droplets", "volumes", "firewalls", "tags", "projects", "actions"];
  const bodies = await Promise.all(lists.map(async (list) => (await call("GET", `/v2/${list}`)).body));
  return JSON.stringify(bodies).replaceAll(url, "");
}

describe("a cloud opened again", () => {
  it("shows what it showed before", async () => {
    await using home = await temporaryHome();
    const hypervisor = new RememberingHypervisor();
    const { seen } = await furnish(home, hypervisor);
    await using cloud = await serveTestCloud(home, hypervisor);
    expect(await everything(cloud)).toBe(seen);
  });

  it("makes what the machine room lost again", async () => {
    await using home = await temporaryHome();
    const { droplet, volume } = await furnish(home, new RememberingHypervisor());
    await using cloud = await serveTestCloud(home);
    const { hypervisor } = cloud;
    expect(hypervisor.machines.get(droplet)).toMatchObject({ running: true, spec: { volumeIds: [volume] } });
    expect(hypervisor.disks.get(volume)?.dropletId).toBe(droplet);
    expect(hypervisor.firewalls).toMatchObject([{ dropletIds: [droplet] }]);
  });

  it("starts the droplets that were on, and only those", async () => {
    await using home = await temporaryHome();
    const hypervisor = new RememberingHypervisor();
    const { droplet } = await furnish(home, hypervisor);
    let off: number;
    {
      await using cloud = await serveTestCloud(home, hypervisor);
      off = Number((await cloud.call("POST", "/v2/droplets", DROPLET)).body.droplet?.id);
      await idle(cloud);
      await cloud.call("POST", `/v2/droplets/${off}/actions`, { type: "power_off" });
      await idle(cloud);
    }
    for (const machine of hypervisor.machines.values()) machine.running = false;
    await using cloud = await serveTestCloud(home, hypervisor);
    expect((await cloud.call("GET", `/v2/droplets/${droplet}`)).body.droplet).toMatchObject({ status: "active" });
    expect((await cloud.call("GET", `/v2/droplets/${off}`)).body.droplet).toMatchObject({ status: "off" });
  });

  it("repeats the actions that were in progress", async () => {
    await using home = await temporaryHome();
    const hypervisor = new RememberingHypervisor();
    let droplet: number;
    {
      await using cloud = await serveTestCloud(home, hypervisor);
      await cloud.call("POST", "/_control/faults", { kind: "boot", boot: "never" });
      droplet = Number((await cloud.call("POST", "/v2/droplets", DROPLET)).body.droplet?.id);
    }
    expect(hypervisor.machines.size).toBe(0);
    await using cloud = await serveTestCloud(home, hypervisor);
    await idle(cloud);
    expect((await cloud.call("GET", `/v2/droplets/${droplet}`)).body.droplet).toMatchObject({
      status: "active",
      locked: false,
    });
  });

  it("finishes the creation and the deletion of volumes", async () => {
    await using home = await temporaryHome();
    const hypervisor = new RememberingHypervisor();
    {
      await using cloud = await serveTestCloud(home, hypervisor);
      for (const name of ["making", "deleting"]) await cloud.call("POST", "/v2/volumes", { ...VOLUME, name });
      await cloud.cloud.store.change((draft) => {
        for (const volume of draft.volumes) volume.phase = volume.name === "making" ? "creating" : "deleting";
      });
    }
    await using cloud = await serveTestCloud(home, hypervisor);
    expect((await cloud.call("GET", "/v2/volumes")).body.volumes).toMatchObject([{ name: "making" }]);
    expect([...hypervisor.disks.values()]).toMatchObject([{ spec: { name: "making" } }]);
  });
});
