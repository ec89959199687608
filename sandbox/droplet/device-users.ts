import { readdir, readFile, readlink, stat } from "node:fs/promises";
import { runInside } from "./inside.ts";

export interface DeviceNumber {
  major: number;
  minor: number;
}

/** Unmounts a device wherever a droplet has mounted it, even if its files are in use. */
export async function unmountInside(init: number, device: DeviceNumber): Promise<void> {
  const places = await mountPoints(init, device);
  // A failure may mean that the mount went with the previous one. If a mount stays, its device stays in use.
  for (const place of places.reverse()) await runInside(init, ["umount", "--lazy", place]).catch(() => undefined);
}

/** Runs `work` while no file system of the device changes, so that a copy of it is one that a power failure could leave. */
export async function whileFrozen<T>(init: number, device: DeviceNumber, work: () => Promise<T>): Promise<T> {
  const [place] = await mountPoints(init, device);
  if (place === undefined) return work();
  await runInside(init, ["fsfreeze", "--freeze", place]);
  try {
    return await work();
  } finally {
    await runInside(init, ["fsfreeze", "--unfreeze", place]);
  }
}

/**
 * Kills every process of a droplet that has a file of the device open, or still sees it mounted, for example in a
 * container. Does not kill processes of this computer, such as its udev.
 */
export async function killUsers(device: DeviceNumber): Promise<void> {
  const own = await mountNamespace("self");
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  for (const pid of pids) {
    if ((await mountNamespace(pid)) === own) continue;
    if ((await mountPoints(pid, device)).length > 0 || (await hasOpenFile(pid, device))) killIfAlive(Number(pid));
  }
}

async function mountNamespace(pid: string): Promise<string | undefined> {
  return readlink(`/proc/${pid}/ns/mnt`).catch(() => undefined);
}

/** The mount points at which a process sees the device; none if the process has ended. */
async function mountPoints(pid: number | string, { major, minor }: DeviceNumber): Promise<string[]> {
  const table = await readFile(`/proc/${pid}/mountinfo`, "utf8").catch(() => "");
  return table
    .split("\n")
    .map((line) => line.split(" "))
    .filter(([, , device]) => device === `${major}:${minor}`)
    .map(([, , , , place = ""]) =>
      place.replace(/\\(\d{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8))),
    );
}

async function hasOpenFile(pid: string, { major, minor }: DeviceNumber): Promise<boolean> {
  const number = (major << 8) | (minor & 0xff) | ((minor & ~0xff) << 12); // makedev(3)
  const open = await readdir(`/proc/${pid}/fd`).catch(() => []);
  const links = ["cwd", "root", "exe", ...open.map((descriptor) => `fd/${descriptor}`)];
  for (const link of links) {
    const file = await stat(`/proc/${pid}/${link}`).catch(() => undefined);
    if (file?.dev === number || (file?.isBlockDevice() && file.rdev === number)) return true;
  }
  return false;
}

function killIfAlive(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "ESRCH")) throw error;
  }
}
