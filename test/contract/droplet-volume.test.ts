import { readFile } from "node:fs/promises";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { DropletSpec } from "../../sandbox/droplet/hypervisor.ts";
import { type Lab, openLab } from "./droplet-harness.ts";

const DATA = "/dev/disk/by-id/scsi-0DO_Volume_data";
const LOGS = "/dev/disk/by-id/scsi-0DO_Volume_logs";

let lab: Lab;
let one: DropletSpec;
let two: DropletSpec;

beforeAll(async () => {
  lab = await openLab();
  await lab.room.createVolume({ id: "11111111", name: "data", sizeGigabytes: 100 });
  await lab.room.createVolume({
    id: "22222222",
    name: "logs",
    sizeGigabytes: 1,
    filesystem: { type: "ext4", label: "born" },
  });
  one = { ...lab.spec(1), volumeIds: ["11111111"] };
  two = lab.spec(2);
  await lab.room.createDroplet(one);
  await lab.room.createDroplet(two);
  await lab.booted(one);
  await lab.booted(two);
});
afterAll(() => lab[Symbol.asyncDispose]());

test("a volume of the create call exists at the first boot, is empty, and takes little space here", async () => {
  expect(await lab.ssh(one, `readlink -f ${DATA}; blockdev --getsize64 ${DATA}`)).toBe(`/dev/sda\n${100 * 1024 ** 3}`);
  expect(await lab.ssh(one, `blkid --probe ${DATA} || echo $?`)).toBe("2");
  await lab.ssh(
    one,
    `mkfs.ext4 -q ${DATA} && mkdir -p /mnt/data && mount ${DATA} /mnt/data && echo kept > /mnt/data/file`,
  );
  expect(await lab.ssh(one, "findmnt -no SOURCE,FSTYPE /mnt/data")).toBe("/dev/sda ext4");
  expect(await disksOf("11111111")).toHaveLength(1);
  const { stdout } = await execa("du", ["--block-size=1M", `${lab.home.root}/volumes/11111111`]);
  expect(parseInt(stdout)).toBeLessThan(5_000);
});

test("a second volume is attached while the droplet runs, with its file system", async () => {
  await lab.room.attachVolume("22222222", 1);
  await lab.room.attachVolume("22222222", 1);
  expect(await lab.ssh(one, `readlink -f ${LOGS}; blkid --probe -o value -s TYPE -s LABEL ${LOGS}`)).toBe(
    "/dev/sdb\nborn\next4",
  );
  expect(await lab.ssh(one, "ls /dev/disk/by-id")).toBe("scsi-0DO_Volume_data\nscsi-0DO_Volume_logs");
});

test("a volume is attached to one droplet only, and not deleted while it is attached", async () => {
  await expect(lab.room.attachVolume("22222222", 2)).rejects.toThrow("volume 22222222: it is attached to droplet 1");
  await expect(lab.room.deleteVolume("22222222")).rejects.toThrow("volume 22222222: it is attached to droplet 1");
  expect(await lab.ssh(two, "ls /dev/disk/by-id")).toBe("");
});

test("devices exist before mounts of /etc/fstab, at every boot", { timeout: 180_000 }, async () => {
  await lab.ssh(one, `echo '${DATA} /mnt/data ext4 defaults 0 2' >> /etc/fstab`);
  await lab.room.rebootDroplet(1);
  await lab.booted(one);
  expect(
    await lab.ssh(one, "systemctl is-system-running --wait; findmnt -no SOURCE /mnt/data; cat /mnt/data/file"),
  ).toBe("running\n/dev/sda\nkept");
  expect(await lab.ssh(one, `readlink -f ${LOGS}`)).toBe("/dev/sdb");
});

test("a snapshot of a volume in use is one moment of it, and becomes a volume", { timeout: 60_000 }, async () => {
  await lab.room.createVolume({ id: "33333333", name: "busy", sizeGigabytes: 1, filesystem: { type: "ext4" } });
  await lab.room.attachVolume("33333333", 1);
  const busy = "/dev/disk/by-id/scsi-0DO_Volume_busy";
  // A file with the same number at both ends; each is on the disk before the other one is written.
  const length = 300 * 1024 ** 2;
  const writer = `import os
f = os.open("numbers", os.O_RDWR | os.O_CREAT)
os.write(f, b"x" * ${length})
for number in range(1, 10**8):
    for place in (0, ${length - 8}):
        os.pwrite(f, b"%08d" % number, place)
        os.fsync(f)
`;
  await lab.ssh(one, `mkdir /mnt/busy && mount ${busy} /mnt/busy && cat > /root/writer.py <<'END'\n${writer}END`);
  await lab.ssh(one, "systemd-run --quiet --unit writer --working-directory /mnt/busy python3 /root/writer.py");
  const last = "tail -c 8 /mnt/busy/numbers";
  // The first numbers wait until the disk has the rest of the file.
  await lab.ssh(one, `until ${last} | grep -q '^00000[1-9]'; do sleep 0.1; done`);
  expect(await lab.room.snapshotVolume("33333333", "copy")).toBeGreaterThan(0);
  const before = await lab.ssh(one, last);
  await lab.ssh(one, `while [ "$(${last})" = ${before} ]; do sleep 0.1; done`);

  await lab.room.createVolume({ id: "44444444", name: "restored", sizeGigabytes: 2, snapshotId: "copy" });
  await lab.room.deleteSnapshot("copy");
  await lab.room.attachVolume("44444444", 2);
  const restored = "/dev/disk/by-id/scsi-0DO_Volume_restored";
  const numbers = "head -c 8 /mnt/old/numbers; echo; tail -c 8 /mnt/old/numbers";
  const look = `e2fsck -p ${restored} > /dev/null; mkdir /mnt/old && mount ${restored} /mnt/old && (${numbers})`;
  const [first = 0, second = 0] = (await lab.ssh(two, look)).split("\n").map(Number);
  expect(second).toBeGreaterThan(0);
  expect([second, second + 1]).toContain(first);
  expect(await lab.ssh(two, `blockdev --getsize64 ${restored}`)).toBe(String(2 * 1024 ** 3));
  await lab.ssh(one, "systemctl stop writer; umount /mnt/busy");
  for (const id of ["33333333", "44444444"]) await lab.room.detachVolume(id);
});

test("a volume that grows is immediately larger inside, without data loss", async () => {
  await lab.room.growVolume("11111111", 120);
  expect(await lab.ssh(one, `blockdev --getsize64 ${DATA}`)).toBe(String(120 * 1024 ** 3));
  // Unmounted, because not every computer has the capability to grow a mounted file system.
  await lab.ssh(one, `umount /mnt/data && e2fsck -pf ${DATA} && resize2fs ${DATA} 2>&1 && mount /mnt/data`);
  expect(await lab.ssh(one, "df --output=size -BG /mnt/data | tail -1 | xargs; cat /mnt/data/file")).toBe("118G\nkept");
});

test("a volume that is detached while in use is immediately free for another droplet, with its data", async () => {
  // A service that writes to it, one that sees it in its own mount namespace, and one that hides its view.
  await lab.ssh(one, "systemd-run -q --unit writer sh -c 'exec tail -f /dev/null >>/mnt/data/held'");
  await lab.ssh(one, "systemd-run -q --unit viewer -p PrivateTmp=yes tail -f /mnt/data/file");
  await lab.ssh(one, "systemd-run -q --unit hidden unshare --mount --propagation private tail -f /dev/null");
  await lab.ssh(one, "until [ -e /mnt/data/held ]; do :; done; sync");
  await lab.room.detachVolume("11111111");
  await lab.room.detachVolume("11111111");
  expect(await disksOf("11111111")).toEqual([]);
  expect(await lab.ssh(one, "ls /dev/disk/by-id; ls -d /dev/sd*; findmnt /mnt/data || echo unmounted")).toBe(
    "scsi-0DO_Volume_logs\n/dev/sdb\nunmounted",
  );

  await lab.room.attachVolume("11111111", 2);
  await lab.ssh(two, `fsck.ext4 -pf ${DATA} >/dev/null; mkdir -p /mnt/data && mount ${DATA} /mnt/data`);
  expect(await lab.ssh(two, "cat /mnt/data/file; ls /mnt/data/held")).toBe("kept\n/mnt/data/held");
});

test("a volume outlives its droplet", async () => {
  await lab.ssh(two, "echo more >> /mnt/data/file; sync");
  await lab.room.destroyDroplet(2);
  await lab.room.destroyDroplet(2);
  expect(await lab.room.dropletStatus(2)).toBe("absent");
  expect(await disksOf("11111111")).toEqual([]);
  await lab.room.attachVolume("11111111", 1);
  expect(await lab.ssh(one, `readlink -f ${DATA}; mount ${DATA} /mnt/data; cat /mnt/data/file`)).toBe(
    "/dev/sda\nkept\nmore",
  );
});

test("a deleted volume is gone from this computer", async () => {
  await lab.room.detachVolume("22222222");
  await lab.room.deleteVolume("22222222");
  await lab.room.deleteVolume("22222222");
  await expect(readFile(`${lab.home.root}/volumes/22222222`)).rejects.toThrow("ENOENT");
  expect(await disksOf("22222222")).toEqual([]);
});

test("a droplet takes fifteen volumes, but not one more", async () => {
  const ids = Array.from({ length: 15 }, (_, index) => String(90 + index));
  for (const id of ids) await lab.room.createVolume({ id, name: `many-${id}`, sizeGigabytes: 1 });
  // It has one already.
  for (const id of ids.slice(0, 14)) await lab.room.attachVolume(id, 1);
  expect(await lab.ssh(one, "ls /dev/disk/by-id | wc -l")).toBe("15");
  await expect(lab.room.attachVolume(ids.at(-1) ?? "", 1)).rejects.toThrow("droplet 1: it has 15 volumes");
});

/** The loop devices of a volume. */
async function disksOf(volumeId: string): Promise<string[]> {
  const file = `${lab.home.root}/volumes/${volumeId}`;
  const { stdout } = await execa("losetup", ["--list", "--noheadings", "--output", "NAME", "--associated", file]);
  return stdout.split("\n").filter(Boolean);
}
