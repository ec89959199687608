import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync, lstatSync, readFileSync } from "node:fs";
import path from "node:path";

import { quote } from "../contract/scripts.ts";
import { packageMistakes } from "../examples/app-repo/scripts/target/checks.ts";
import { installed, isPlugAndPlay, packageManager } from "../examples/app-repo/scripts/target/package.ts";
import { onThisStack } from "../settings/on-this-stack.ts";
import { type Backend, pushFunctions } from "./push.ts";

const CHECKOUT = path.join(import.meta.dirname, "..");

/** Files that code can be in, and the files that pin packages. */
const SOURCE = /\.(?:[cm]?[jt]sx?|json|txt|wasm)$|(?:^|\/)(?:pnpm-lock\.yaml|yarn\.lock|bun\.lockb?)$/;
/** Packages, generated code, and folders of tools. */
const NO_SOURCE = /(?:^|\/)(?:node_modules|_generated|\.[^/]*)(?:\/|$)/;

/** The package with an app's functions, on this computer. */
export class AppPackage {
  /** Absolute, because the folder that Pulumi runs the program in may be another. */
  readonly folder: string;

  /** @param setting  the value of functionPackage */
  constructor(setting: string) {
    this.folder = path.resolve(CHECKOUT, setting);
  }

  /**
   * Identifies what a deploy would push. Functions may import code from anywhere in their workspace, so it is all of its code: a deploy
   * too many changes nothing, but one that is missing leaves old functions.
   *
   * If the package is not there, it is `missing`, which differs from every other. So `up` fails, but `refresh` and `destroy` do not.
   */
  fingerprint(): string {
    if (!existsSync(this.folder)) return "missing";
    const root = packageManager(this.folder).workspace ?? this.folder;
    const hash = createHash("sha256").update(`${path.relative(root, this.folder)}\0`);
    for (const file of sourcesIn(root)) {
      const content = createHash("sha256").update(readFileSync(path.join(root, file)));
      hash.update(`${file}\0${content.digest("hex")}\0`);
    }
    return hash.digest("hex").slice(0, 16);
  }

  /**
   * Refuses a package that cannot be deployed, with all its mistakes.
   *
   * @throws Error with what is wrong and how to fix it
   */
  refuse(): void {
    const mistakes = this.#mistakes();
    if (mistakes.length > 0) {
      throw new Error(mistakes.map((mistake) => `convex-droplet:functionPackage: ${mistake}`).join("\n"));
    }
  }

  /** Deploys its functions, with the Convex CLI of the package itself, whose release its lockfile pins; see {@link pushFunctions}. */
  push(backend: Backend): Promise<void> {
    const cli = path.join(installed(this.folder, "convex")?.folder ?? "", "bin/main.js");
    return pushFunctions({ folder: this.folder, cli }, backend);
  }

  #mistakes(): string[] {
    const set = (folder: string) => onThisStack("config set", `functionPackage ${quote(folder)}`);
    if (!existsSync(this.folder)) {
      return [
        `${this.folder}: is missing, it should be the folder of the package with the app's functions. Clone the app there, or set its folder with: ${set("FOLDER")}; or leave the functions as they are in this run, with: ${onThisStack("up", "--exclude '**convex-functions'")}`,
      ];
    }
    const { mistakes, isElsewhere } = packageMistakes(this.folder, {
      lookAt: (folders) =>
        folders.map((other) => `Set it with: ${set(path.relative(CHECKOUT, other))}`).join(", or with: "),
    });
    const there = (command: string) => `Run: cd ${quote(this.folder)} && ${command}`;
    const { install, workspace } = packageManager(this.folder);
    return [
      ...mistakes.map(({ what, fix }) => `${what}. ${fix.startsWith("Run: ") ? there(fix.slice(5)) : fix}`),
      ...(workspace === undefined && !isElsewhere
        ? [`${this.folder}: has no lockfile, here or above, it should have one, which pins the CLI. ${there(install)}`]
        : []),
      ...(isPlugAndPlay(this.folder) && !isElsewhere
        ? [
            `${this.folder}: has its packages in Yarn's Plug'n'Play, they should be in node_modules. ${there("yarn config set nodeLinker node-modules && yarn install")}`,
          ]
        : []),
    ];
  }
}

/** The workspace's code, sorted, without what git ignores, so that it is the same on every computer. */
function sourcesIn(root: string): string[] {
  const tracked = inGit(root);
  const all = tracked.length > 0 ? tracked : globSync("**", { cwd: root, exclude: (name) => NO_SOURCE.test(name) });
  return (
    all
      .filter((file) => SOURCE.test(file) && !NO_SOURCE.test(file))
      // Git also lists files that were deleted, and submodules.
      .filter((file) => lstatSync(path.join(root, file), { throwIfNoEntry: false })?.isFile() === true)
      .toSorted()
  );
}

/** Empty without git, or if it ignores the folder. */
function inGit(root: string): string[] {
  try {
    const args = ["-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"];
    const listed = execFileSync("git", args, { maxBuffer: 256 * 1024 * 1024, stdio: ["ignore", "pipe", "ignore"] });
    return listed
      .toString()
      .split("\0")
      .filter((file) => file !== "");
  } catch {
    return [];
  }
}
