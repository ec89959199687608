import { existsSync, globSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

// Reads an app's package as Node and the Convex CLI do.

/** The parts of a package.json that this program reads. */
export interface Manifest {
  dependencies?: object;
  devDependencies?: object;
  peerDependencies?: object;
  packageManager?: string;
}

/** @returns undefined if there is no package.json. @throws Error if it is not JSON */
export function readManifest(folder: string): Manifest | undefined {
  return readJson(path.join(folder, "package.json")) as Manifest | undefined;
}

export function dependsOn({ dependencies, devDependencies, peerDependencies }: Manifest, name: string): boolean {
  return name in { ...dependencies, ...devDependencies, ...peerDependencies };
}

/** The functions' folder, relative to the app's. */
export function functionsFolder(folder: string): string {
  const config = readJson(path.join(folder, "convex.json")) as { functions?: string } | undefined;
  // Create React App allows imports only from src. If there is a convex.json, the CLI does not use this rule.
  const usual =
    config === undefined && dependsOn(readManifest(folder) ?? {}, "react-scripts") ? "src/convex" : "convex";
  return path.normalize(config?.functions ?? usual).replace(/\/$/, "");
}

/** The package that code in a folder gets: from this folder, or from the nearest folder above that has it. */
export function installed(folder: string, name: string): { folder: string; version: string } | undefined {
  const above = createRequire(path.resolve(folder, "package.json")).resolve.paths(name) ?? [];
  const found = above
    // Not the computer's global folders, because a CLI there is not found.
    .filter((modules) => !path.relative(path.dirname(modules), path.resolve(folder)).startsWith(".."))
    .map((modules) => path.join(modules, name))
    .find((candidate) => existsSync(path.join(candidate, "package.json")));
  if (found === undefined) return undefined;
  return { folder: found, version: (readJson(path.join(found, "package.json")) as { version: string }).version };
}

/** Folders below with a package that uses Convex and has functions, as in a monorepo. */
export function functionsBelow(folder: string): string[] {
  return globSync(["*/package.json", "*/*/package.json", "*/*/*/package.json"], {
    cwd: folder,
    exclude: (name) => path.basename(name) === "node_modules",
  })
    .map((file) => path.join(folder, path.dirname(file)))
    .filter((below) => dependsOn(readManifest(below) ?? {}, "convex"))
    .filter((below) => existsSync(path.join(below, functionsFolder(below))))
    .toSorted();
}

interface PackageManager {
  /** Installs the lockfile's packages. */
  install: string;
  /** Adds one exact version, which follows this text. */
  add: string;
  /** The folder of the lockfile, which pins the packages of all folders below; undefined without one. */
  workspace?: string;
}

const MANAGERS: [lockfile: string, manager: PackageManager][] = [
  ["pnpm-lock.yaml", { install: "pnpm install", add: "pnpm add --save-exact" }],
  ["yarn.lock", { install: "yarn install", add: "yarn add --exact" }],
  ["bun.lock", { install: "bun install", add: "bun add --exact" }],
  ["bun.lockb", { install: "bun install", add: "bun add --exact" }],
  ["package-lock.json", { install: "npm ci", add: "npm install --save-exact" }],
];

/** The package manager whose lockfile is in this folder or above, as in a workspace. */
export function packageManager(folder: string): PackageManager {
  for (let here = path.resolve(folder); ; here = path.dirname(here)) {
    const found = MANAGERS.find(([lockfile]) => existsSync(path.join(here, lockfile)));
    if (found !== undefined) return { ...found[1], workspace: here };
    if (here === path.dirname(here)) return { install: "npm install", add: "npm install --save-exact" };
  }
}

/** Whether Yarn's Plug'n'Play finds the packages, without node_modules. */
export function isPlugAndPlay(folder: string): boolean {
  const here = path.resolve(folder);
  if (existsSync(path.join(here, ".pnp.cjs"))) return true;
  return here !== path.dirname(here) && isPlugAndPlay(path.dirname(here));
}

function readJson(file: string): unknown {
  if (!existsSync(file)) return undefined;
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    throw new Error(`${file}: is not JSON, it should be. Fix it.`);
  }
}
