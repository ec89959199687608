import { existsSync, globSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";

// An app's package, looked at as Node and the Convex CLI do.

/** What tells of an app in its package.json. */
export interface Manifest {
  dependencies?: object;
  devDependencies?: object;
  peerDependencies?: object;
  packageManager?: string;
}

/** @throws Error where it is there and is not JSON */
export function readManifest(folder: string): Manifest | undefined {
  return readJson(path.join(folder, "package.json")) as Manifest | undefined;
}

export function dependsOn({ dependencies, devDependencies, peerDependencies }: Manifest, name: string): boolean {
  return name in { ...dependencies, ...devDependencies, ...peerDependencies };
}

/** The folder of the functions, from the app's. */
export function functionsFolder(folder: string): string {
  const config = readJson(path.join(folder, "convex.json")) as { functions?: string } | undefined;
  // Create React App lets nothing outside of src be imported; a convex.json has the CLI forget that.
  const usual =
    config === undefined && dependsOn(readManifest(folder) ?? {}, "react-scripts") ? "src/convex" : "convex";
  return path.normalize(config?.functions ?? usual).replace(/\/$/, "");
}

/** The version of a package that code in a folder gets: of this folder, or of the nearest above that has it. */
export function installedVersion(folder: string, name: string): string | undefined {
  const above = createRequire(path.resolve(folder, "package.json")).resolve.paths(name) ?? [];
  const file = above
    // Not those that are everybody's on this computer: the CLI of such a one is not found.
    .filter((modules) => !path.relative(path.dirname(modules), path.resolve(folder)).startsWith(".."))
    .map((modules) => path.join(modules, name, "package.json"))
    .find((candidate) => existsSync(candidate));
  return file === undefined ? undefined : (readJson(file) as { version: string }).version;
}

/** Folders below whose package uses Convex and has functions, as one of a monorepo does. */
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
  /** Installs what the lockfile says. */
  install: string;
  /** Adds one exact version, which comes behind it. */
  add: string;
}

const MANAGERS: [lockfile: string, manager: PackageManager][] = [
  ["pnpm-lock.yaml", { install: "pnpm install", add: "pnpm add --save-exact" }],
  ["yarn.lock", { install: "yarn install", add: "yarn add --exact" }],
  ["bun.lock", { install: "bun install", add: "bun add --exact" }],
  ["bun.lockb", { install: "bun install", add: "bun add --exact" }],
  ["package-lock.json", { install: "npm ci", add: "npm install --save-exact" }],
];

/** The package manager whose lockfile is here or above, as a workspace's is. */
export function packageManager(folder: string): PackageManager {
  for (let here = path.resolve(folder); ; here = path.dirname(here)) {
    const found = MANAGERS.find(([lockfile]) => existsSync(path.join(here, lockfile)));
    if (found !== undefined) return found[1];
    if (here === path.dirname(here)) return { install: "npm install", add: "npm install --save-exact" };
  }
}

/** Whether packages are found by Yarn's own means, without any node_modules. */
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
    throw new Error(`${file}: is not JSON, it should be. Mend it.`);
  }
}
