import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { parseDocument } from "yaml";

import type { SandboxHome } from "./home.ts";

const CHECKOUT = path.resolve(import.meta.dirname, "..");

/** The folder Pulumi runs in: the checkout's project files, with room for what the sandbox has to add to them. */
export function projectFolder(home: SandboxHome): string {
  return path.join(home.root, "project");
}

/**
 * Lays out a Pulumi project that runs the checkout's program with settings of the sandbox's own. Pulumi writes into the
 * files beside Pulumi.yaml, salts for one; in a folder of the sandbox that never shows up as a change of the checkout.
 *
 * @param settings  set in every stack's file, over what it had; whatever else was set there stays
 */
export async function layOutProject(home: SandboxHome, settings: Record<string, string | number>): Promise<void> {
  const folder = projectFolder(home);
  await mkdir(folder, { recursive: true });

  const project = parseDocument(await readFile(path.join(CHECKOUT, "Pulumi.yaml"), "utf8"));
  project.set("main", path.relative(folder, path.join(CHECKOUT, "index.ts")));
  await writeFile(path.join(folder, "Pulumi.yaml"), project.toString());

  for (const stack of ["sandbox", "dev", "prod"]) {
    const name = `Pulumi.${stack}.yaml`;
    const file = path.join(folder, name);
    const document = parseDocument(await readFile(existsSync(file) ? file : path.join(CHECKOUT, name), "utf8"));
    for (const [key, value] of Object.entries(settings)) document.setIn(["config", `convex-droplet:${key}`], value);
    await writeFile(file, document.toString());
  }
}
