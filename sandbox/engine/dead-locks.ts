import { readdir, readFile, rm } from "node:fs/promises";
import { hostname } from "node:os";
import path from "node:path";

import type { SandboxHome } from "../home.ts";

/** The contents of a stack's lock file in a `file://` backend (pulumi/pkg/backend/diy/lock.go). */
interface Lock {
  pid: number;
  hostname: string;
}

/**
 * Removes the locks that a killed `pulumi` left on the sandbox's stacks, so that the next run needs no `pulumi cancel`.
 * Locks of a `pulumi` that still runs, here or on another computer, stay.
 */
export async function removeDeadLocks(home: SandboxHome): Promise<void> {
  const folder = path.join(home.root, "state", ".pulumi", "locks");
  const names = await readdir(folder, { recursive: true }).catch(() => []);
  for (const file of names.filter((name) => name.endsWith(".json")).map((name) => path.join(folder, name))) {
    const lock = JSON.parse(await readFile(file, "utf8")) as Lock;
    if (lock.hostname === hostname() && !(await isPulumi(lock.pid))) await rm(file, { force: true });
  }
}

/** Checks the name too, because another program may have the id of a dead process. */
async function isPulumi(pid: number): Promise<boolean> {
  const name = await readFile(`/proc/${pid}/comm`, "utf8").catch(() => "");
  return name.trim() === "pulumi";
}
