import { mkdtemp, rm, symlink, utimes } from "node:fs/promises";
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

  /** @param packages those of the checkout, or those alone that a person installs who deploys for real */
  static async make(packages: "all" | "production" = "all"): Promise<Clone> {
    // One folder down, so that others can be beside it.
    const folder = path.join(await mkdtemp(path.join(tmpdir(), "convex-droplet-clone-")), "convex-droplet");
    await execa("git", ["clone", "--quiet", CHECKOUT, folder]);
    if (packages === "production") {
      await execa("npm", ["ci", "--omit=dev", "--no-audit", "--no-fund"], { cwd: folder });
      return new Clone(folder);
    }
    // What `npm ci` would install is what the checkout has: the lock file is the same.
    await symlink(path.join(CHECKOUT, "node_modules"), path.join(folder, "node_modules"));
    // Older than that, so that no `npm run` installs them anew: it would do so in the checkout.
    await utimes(path.join(folder, "package-lock.json"), 0, 0);
    return new Clone(folder);
  }

  /** Runs `pulumi` in the clone; the environment says with which CLI, against which cloud and which states. */
  pulumi(env: Record<string, string | undefined>, args: string[]): Promise<Run> {
    return run("pulumi", [...args, "--non-interactive"], this.folder, { env });
  }

  /** Runs one of the repository's commands in the clone. */
  npm(env: Record<string, string | undefined>, name: string, args: string[]): Promise<Run> {
    return run("npm", ["run", "--silent", name, "--", ...args], this.folder, { env });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(path.dirname(this.folder), { recursive: true, force: true });
  }
}
