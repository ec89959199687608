import { mkdtemp, rm, symlink, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";

import { type Run, run } from "./harness.ts";

const CHECKOUT = path.resolve(import.meta.dirname, "../..");

/** A fresh clone of the committed files, as a new user has it, without a sandbox's files. */
export class Clone implements AsyncDisposable {
  readonly folder: string;

  private constructor(folder: string) {
    this.folder = folder;
  }

  /** @param packages all of the checkout's packages, or only those that a real deployment needs */
  static async make(packages: "all" | "production" = "all"): Promise<Clone> {
    // In a subfolder, so that other folders can be next to it.
    const folder = path.join(await mkdtemp(path.join(tmpdir(), "convex-droplet-clone-")), "convex-droplet");
    await execa("git", ["clone", "--quiet", CHECKOUT, folder]);
    if (packages === "production") {
      await execa("npm", ["ci", "--omit=dev", "--no-audit", "--no-fund"], { cwd: folder });
      return new Clone(folder);
    }
    // The lock file is the same, so the checkout has the packages that `npm ci` would install.
    await symlink(path.join(CHECKOUT, "node_modules"), path.join(folder, "node_modules"));
    // Make the lock file older than the packages, so that no `npm run` installs them again, into the checkout.
    await utimes(path.join(folder, "package-lock.json"), 0, 0);
    return new Clone(folder);
  }

  /** Runs `pulumi` in the clone; the environment selects the CLI, the cloud and the state. */
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
