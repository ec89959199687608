import { existsSync } from "node:fs";
import { mkdir, realpath, rename, rm, stat, truncate, writeFile } from "node:fs/promises";
import path from "node:path";
import { execa } from "execa";
import type { VolumeSpec } from "./hypervisor.ts";
import type { SandboxHome } from "../home.ts";
import { waitFor } from "../wait-for.ts";
import { killUsers, unmountInside, whileFrozen } from "./device-users.ts";

/** The block device of a disk file. */
export interface LoopDevice {
  /** `/dev/loop0`, `/dev/loop1`, … on this computer. */
  path: string;
  major: number;
  minor: number;
}

/** The folder of the disks below the sandbox's root; each is named by its volume's id. */
const VOLUMES = "volumes";
const SNAPSHOTS = "snapshots";
const BYTES_PER_GIGABYTE = 1024 ** 3;
const UNPLUG_SECONDS = 20;

/** Makes a volume's disk, unless it exists. It takes space on this computer only for what is written to it. */
export async function createDisk(
  home: SandboxHome,
  { id, sizeGigabytes, filesystem, snapshotId }: VolumeSpec,
): Promise<void> {
  const file = diskFile(home, id);
  if (existsSync(file)) return;
  const unfinished = `${file}.new`;
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  if (snapshotId === undefined) await writeFile(unfinished, "", { mode: 0o600 });
  else await copySparsely(snapshotFile(home, snapshotId), unfinished);
  await truncate(unfinished, sizeGigabytes * BYTES_PER_GIGABYTE);
  if (filesystem && snapshotId === undefined) {
    const { type, label } = filesystem;
    // Without -F and -f, the tools ask or refuse before they format a file.
    const options = ["-q", type === "ext4" ? "-F" : "-f", ...(label === undefined ? [] : ["-L", label])];
    await execa(`mkfs.${type}`, [...options, unfinished]);
  }
  await rename(unfinished, file);
}

/** Makes a disk larger; its users see the new size immediately. */
export async function growDisk(home: SandboxHome, volumeId: string, sizeGigabytes: number): Promise<void> {
  const file = diskFile(home, volumeId);
  const { size } = await stat(file);
  await truncate(file, Math.max(size, sizeGigabytes * BYTES_PER_GIGABYTE));
  const loop = await findLoop(file);
  if (loop) await execa("losetup", ["--set-capacity", loop.path]);
}

/**
 * Copies a volume's disk as it is at this moment, unless the copy exists.
 *
 * @param init the first process of the droplet that uses the disk, if it runs
 * @returns the gigabytes of data in the copy
 */
export async function snapshotDisk(
  home: SandboxHome,
  volumeId: string,
  snapshotId: string,
  init?: number,
): Promise<number> {
  const file = snapshotFile(home, snapshotId);
  if (!existsSync(file)) {
    await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
    const copy = () => copySparsely(diskFile(home, volumeId), `${file}.new`);
    const loop = await findLoop(diskFile(home, volumeId));
    await (init === undefined || !loop ? copy() : whileFrozen(init, loop, copy));
    await rename(`${file}.new`, file);
  }
  return ((await stat(file)).blocks * 512) / BYTES_PER_GIGABYTE;
}

/** Removes a snapshot; volumes that were made from it stay. */
export async function deleteSnapshotFile(home: SandboxHome, snapshotId: string): Promise<void> {
  await rm(snapshotFile(home, snapshotId), { force: true });
}

/** Removes a disk that no droplet uses. */
export async function deleteDisk(home: SandboxHome, volumeId: string): Promise<void> {
  await unplugDisk(home, volumeId);
  await rm(diskFile(home, volumeId), { force: true });
}

/** Finds a disk's device on this computer, or makes it. */
export async function plugDisk(home: SandboxHome, volumeId: string): Promise<LoopDevice> {
  const file = diskFile(home, volumeId);
  const found = await findLoop(file);
  if (found) return found;
  await execa("losetup", ["--find", file]);
  const loop = await findLoop(file);
  if (!loop) throw new Error(`${file}: it has no loop device, but just got one. Look at: losetup --list`);
  return loop;
}

/**
 * Removes a disk's device, even if it is mounted. Resolves when the disk is free for another machine, with everything
 * that was written to its file system. Processes that still use it are killed; in the cloud they get I/O errors.
 *
 * @param init the first process of the droplet that uses the disk, if it runs
 */
export async function unplugDisk(home: SandboxHome, volumeId: string, init?: number): Promise<void> {
  const file = diskFile(home, volumeId);
  const loop = await findLoop(file);
  if (!loop) return;
  if (init !== undefined) await unmountInside(init, loop);
  // If the device is in use, this only marks it: the kernel frees it when its last user ends.
  await execa("losetup", ["--detach", loop.path]);
  await waitFor(`${loop.path} to be free; unmount ${file}`, UNPLUG_SECONDS, async () => {
    if (!(await findLoop(file))) return;
    await killUsers(loop);
    return false;
  });
}

/** Removes all disks of a sandbox, and the devices of disks whose files no longer exist. No droplet may run. */
export async function removeDisks(home: SandboxHome): Promise<void> {
  const root = await realpath(home.root).catch(() => home.root);
  const { stdout } = await execa("losetup", ["--list", "--json", "--output", "NAME,BACK-FILE"]);
  const { loopdevices } = JSON.parse(stdout || '{ "loopdevices": [] }') as {
    loopdevices: { name: string; "back-file": string }[];
  };
  for (const { name, "back-file": file } of loopdevices) {
    if (file.startsWith(path.join(root, VOLUMES, "/"))) await execa("losetup", ["--detach", name]);
  }
  for (const folder of [VOLUMES, SNAPSHOTS]) await rm(path.join(home.root, folder), { recursive: true, force: true });
}

async function copySparsely(source: string, target: string): Promise<void> {
  await execa("cp", ["--sparse=always", "--reflink=auto", source, target]);
}

function snapshotFile(home: SandboxHome, snapshotId: string): string {
  return path.join(home.root, SNAPSHOTS, snapshotId);
}

function diskFile(home: SandboxHome, volumeId: string): string {
  return path.join(home.root, VOLUMES, volumeId);
}

async function findLoop(file: string): Promise<LoopDevice | undefined> {
  const { stdout } = await execa("losetup", [
    "--associated",
    file,
    "--list",
    "--noheadings",
    "--output",
    "NAME,MAJ:MIN",
  ]);
  const match = /^(\S+)\s+(\d+):(\d+)/.exec(stdout);
  return match?.[1] === undefined ? undefined : { path: match[1], major: Number(match[2]), minor: Number(match[3]) };
}
