import { once } from "node:events";
import { rm } from "node:fs/promises";
import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import Docker from "dockerode";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { DropletSpec } from "../../sandbox/droplet/hypervisor.ts";
import { containerName } from "../../sandbox/droplet/container.ts";
import { removeEverything } from "../../sandbox/droplet/remove.ts";
import { stateFile } from "../../sandbox/droplet/state.ts";
import { SANDBOX_LABEL } from "../../sandbox/home.ts";
import { waitFor } from "../../sandbox/wait-for.ts";
import { knock, type Lab, openLab } from "./droplet-harness.ts";

const docker = new Docker();
let lab: Lab;
let droplet: DropletSpec;

beforeAll(async () => {
  lab = await openLab();
  await lab.room.createVolume({ id: "11111111", name: "data", sizeGigabytes: 10, filesystem: { type: "ext4" } });
  droplet = { ...lab.spec(1), volumeIds: ["11111111"] };
  await lab.room.createDroplet(droplet);
  await lab.booted(droplet);
  await lab.ssh(droplet, "echo kept > /root/file; mkdir /var/lib/docker/layer");
});
afterAll(() => lab[Symbol.asyncDispose]());

const bootId = () => lab.ssh(droplet, "cat /proc/1/stat | cut -d' ' -f22");

/** Runs `end`, which ends the boot, and waits for the next one. */
async function nextBoot(end: () => Promise<unknown>) {
  const before = await bootId();
  await end();
  await waitFor("the next boot", 60, async () => (await bootId()) !== before);
  await lab.booted(droplet);
  expect(await lab.ssh(droplet, "cat /root/file; ls /var/lib/docker /dev/disk/by-id")).toBe(
    "kept\n/dev/disk/by-id:\nscsi-0DO_Volume_data\n\n/var/lib/docker:\nlayer",
  );
}

const status = () => lab.room.dropletStatus(1);

test("a droplet that reboots itself comes back, and counts as running all the time", async () => {
  const seen = new Set<string>();
  let looks = 0;
  await nextBoot(async () => {
    await lab.ssh(droplet, "systemctl reboot").catch(() => undefined);
    const end = Date.now() + 2000;
    for (; Date.now() < end; looks++) seen.add(await status());
  });
  expect([...seen]).toEqual(["running"]);
  expect(looks).toBeGreaterThan(3);
});

test("the cloud can reboot a droplet", async () => {
  await nextBoot(() => lab.room.rebootDroplet(1));
});

test("a droplet that powers itself off stays off until it is started", async () => {
  await nextBoot(async () => {
    await lab.ssh(droplet, "systemctl poweroff").catch(() => undefined);
    await expect.poll(status, { timeout: 30_000 }).toBe("stopped");
    expect(await knock(droplet.publicAddress, 22)).toBe("silent");
    await lab.room.startDroplet(1);
    expect(await status()).toBe("running");
    await lab.room.startDroplet(1);
  });
});

test("a graceful stop ends the services first; a power cut does not", async () => {
  const unit = "systemd-run -q -p ExecStop='touch /root/ended' sleep infinity";
  await nextBoot(async () => {
    await lab.ssh(droplet, unit);
    await lab.room.stopDroplet(1, "graceful");
    await lab.room.stopDroplet(1, "graceful");
    expect(await status()).toBe("stopped");
    await lab.room.startDroplet(1);
  });
  await lab.ssh(droplet, `rm /root/ended; ${unit}`);
  await nextBoot(async () => {
    await lab.room.stopDroplet(1, "power-cut");
    await lab.room.stopDroplet(1, "power-cut");
    expect(await status()).toBe("stopped");
    await lab.room.startDroplet(1);
  });
  expect(await lab.ssh(droplet, "ls /root/ended 2>/dev/null || echo cut")).toBe("cut");
});

test("a power cut closes no connection; the next boot does, as soon as it is asked", async () => {
  const socket = connect({ host: droplet.publicAddress, port: 22 });
  await once(socket, "data");
  // It rejects if the connection is reset.
  const ended = once(socket, "end");
  ended.catch(() => undefined);
  await nextBoot(async () => {
    await lab.room.stopDroplet(1, "power-cut");
    expect(await Promise.race([ended.then(() => "closed"), sleep(1000, "open")])).toBe("open");
    await lab.room.startDroplet(1);
  });
  socket.write("is anybody there?\r\n");
  await expect(ended).rejects.toThrow("ECONNRESET");
});

test("a droplet that has just begun to boot is stopped without a wait", async () => {
  await lab.room.stopDroplet(1, "power-cut");
  await lab.room.startDroplet(1);
  const start = Date.now();
  await lab.room.stopDroplet(1, "graceful");
  expect(Date.now() - start).toBeLessThan(30_000);
  expect(await status()).toBe("stopped");
  await lab.room.startDroplet(1);
  await lab.booted(droplet);
});

test("a stopped droplet can be resized, a running one cannot", async () => {
  await expect(lab.room.resizeDroplet(1, { memoryMegabytes: 2048, vcpus: 2 })).rejects.toThrow(
    "droplet 1: it runs, it should be off to be resized",
  );
  await nextBoot(async () => {
    await lab.room.stopDroplet(1, "graceful");
    await lab.room.resizeDroplet(1, { memoryMegabytes: 2048, vcpus: 2 });
    await lab.room.startDroplet(1);
  });
  const { HostConfig } = await docker.getContainer(containerName(lab.home, 1)).inspect();
  expect(HostConfig.Memory).toBe(2048 * 1024 ** 2);
  expect(HostConfig.NanoCpus).toBe(2e9);
});

test("the next machine room handles what happened while none was open", async () => {
  await lab.room.applyFirewalls([
    { id: "f", dropletIds: [1], inbound: [{ protocol: "tcp", ports: "22", addresses: ["0.0.0.0/0"] }], outbound: [] },
  ]);
  const container = docker.getContainer(containerName(lab.home, 1));
  await nextBoot(() =>
    lab.reopen(async () => {
      await lab.ssh(droplet, "systemctl reboot").catch(() => undefined);
      await container.wait();
      await execa("nft", ["delete", "table", "ip", `sandbox_${lab.home.id}`]);
    }),
  );
  expect(await lab.ssh(droplet, "curl -s http://169.254.169.254/metadata/v1/id")).toBe("1");
  expect(await knock(droplet.publicAddress, 4444)).toBe("silent");
  await lab.room.applyFirewalls([]);
});

test("a droplet starts again after a restart of the computer, without any devices and rules", async () => {
  await nextBoot(() =>
    lab
      .reopen(async () => {
        await docker.getContainer(containerName(lab.home, 1)).kill();
        await execa("nft", ["delete", "table", "ip", `sandbox_${lab.home.id}`]);
        await execa("losetup", ["--detach", ...(await loops())]);
      })
      .then(async () => {
        expect(await status()).toBe("stopped");
        await lab.room.startDroplet(1);
      }),
  );
});

test("a removal leaves nothing on this computer, even if the sandbox lost its state", async () => {
  await rm(stateFile(lab.home));
  await removeEverything(lab.home);
  await removeEverything(lab.home);
  expect(await leftovers()).toEqual({ containers: [], volumes: [], networks: [], loops: [], tables: [] });
});

async function loops(): Promise<string[]> {
  const { stdout } = await execa("losetup", ["--list", "--noheadings", "--output", "NAME,BACK-FILE"]);
  return stdout
    .split("\n")
    .filter((line) => line.includes(lab.home.root))
    .map((line) => line.split(" ")[0] ?? "");
}

async function leftovers() {
  const filters = { label: [`${SANDBOX_LABEL}=${lab.home.id}`] };
  const tables = await execa("nft", ["list", "tables"]);
  return {
    containers: await docker.listContainers({ all: true, filters }),
    volumes: (await docker.listVolumes({ filters })).Volumes,
    networks: await docker.listNetworks({ filters }),
    loops: await loops(),
    tables: tables.stdout.split("\n").filter((line) => line.includes(lab.home.id)),
  };
}
