import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";

import { type Run, run } from "./harness.ts";

const CHECKOUT = path.resolve(import.meta.dirname, "../..");

/** A fresh clone of what is committed, as a person has it who begins: the project's own files, with nothing of a sandbox's. */
export class Clone implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  static async make(): Promise<Clone> {
    const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-clone-"));
    await execa("git", ["clone", "--quiet", CHECKOUT, folder]);
    // What `npm ci` would install is what the checkout has: the lock file is the same.
    await symlink(path.join(CHECKOUT, "node_modules"), path.join(folder, "node_modules"));
    return new Clone(folder);
  }

  /** Runs `pulumi` in the clone; the environment says with which CLI, against which cloud and which states. */
  pulumi(env: Record<string, string | undefined>, args: string[]): Promise<Run> {
    return run("pulumi", [...args, "--non-interactive"], this.folder, { env });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.folder, { recursive: true, force: true });
  }
}
