import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import path from "node:path";
import { DEBIAN_RELEASE } from "../debian.ts";

const CHECKOUT = path.resolve(import.meta.dirname, "../..");

export type ImageName = "backend" | "dashboard";

/** npm packages of each image, without their dependencies. */
export const IMAGE_MODULES: Record<ImageName, string[]> = {
  backend: ["@aws-sdk/client-s3", "@noble/ciphers", "google-protobuf", "pg", "ws"],
  dashboard: [],
};

/** The Node that runs the images' TypeScript. */
export const NODE_BINARY = path.join(CHECKOUT, "node_modules/node/bin/node");

/** Files that the images do not need: 20 MB of 80. */
const EXCLUDED = [
  "/usr/share/doc/*",
  "/usr/share/info/*",
  "/usr/share/man/*",
  "/usr/share/locale/*",
  "/usr/share/zoneinfo/*",
  "/usr/lib/*/gconv/*",
];

/** mmdebstrap's options for the images' common base, Debian with Node. Bash, for the backend's scripts, is essential in Debian. */
export const BASE_OPTIONS = [
  "--variant=essential",
  "--include=ca-certificates,curl,libstdc++6",
  ...EXCLUDED.map((pattern) => `--dpkgopt=path-exclude=${pattern}`),
];

interface Lockfile {
  packages: Record<string, { version?: string; dependencies?: Record<string, string> }>;
}

const { packages } = JSON.parse(readFileSync(path.join(CHECKOUT, "package-lock.json"), "utf8")) as Lockfile;

/** Folders of these npm packages and all their dependencies, relative to the checkout. */
export function moduleFolders(names: string[]): string[] {
  const found = new Set<string>();
  const visit = (name: string): void => {
    const folder = `node_modules/${name}`;
    const locked = packages[folder];
    if (!locked || found.has(folder)) return;
    found.add(folder);
    Object.keys(locked.dependencies ?? {}).forEach(visit);
  };
  names.forEach(visit);
  return [...found].sort();
}

/** Changes if the base must be made again. */
export function baseHash(): string {
  const node = packages["node_modules/node"]?.version;
  return digest([DEBIAN_RELEASE, process.arch, node, ...BASE_OPTIONS]).slice(0, 12);
}

/**
 * Forty hexadecimal digits, like the commit in the tags of official images: the same for both images, and new after any
 * change in either.
 */
export async function revision(): Promise<string> {
  const parts: (string | Buffer)[] = [baseHash()];
  for (const image of ["backend", "dashboard"] satisfies ImageName[]) {
    const folder = path.join(import.meta.dirname, image);
    const files = await readdir(folder);
    for (const file of files.sort()) parts.push(file, await readFile(path.join(folder, file)));
    for (const module of moduleFolders(IMAGE_MODULES[image]))
      parts.push(`${module}@${packages[module]?.version ?? ""}`);
  }
  return digest(parts).slice(0, 40);
}

/** Includes the length of each part, so that different lists never give the same bytes. */
function digest(parts: (string | Buffer | undefined)[]): string {
  const hash = createHash("sha256");
  for (const part of parts) {
    const bytes = Buffer.from(part ?? "");
    hash.update(`${bytes.length}:`).update(bytes);
  }
  return hash.digest("hex");
}
