import { createHash } from "node:crypto";
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
 * Lays out a Pulumi project that runs the checkout's program. Pulumi writes into the files beside Pulumi.yaml, salts for
 * one; in a folder of the sandbox that never shows up as a change of the checkout.
 *
 * @param defaults  settings whose default is another one in this sandbox
 */
export async function layOutProject(home: SandboxHome, defaults: Record<string, string>): Promise<void> {
  const folder = projectFolder(home);
  await mkdir(folder, { recursive: true });
  const project = parseDocument(await readFile(path.join(CHECKOUT, "Pulumi.yaml"), "utf8"));
  project.set("main", path.relative(folder, path.join(CHECKOUT, "index.ts")));
  for (const [key, value] of Object.entries(defaults)) project.setIn(["config", key, "default"], value);
  await writeFile(path.join(folder, "Pulumi.yaml"), project.toString());
}

/**
 * Gives a stack its file: the checkout's, where that has one, and a tunnel port of its own. The port that the program
 * would derive from the stack's name alone would be the same in every sandbox of this computer. It lies below the ports
 * that Linux gives to outgoing connections, of which one could otherwise hold it, and beside those of the program.
 */
export async function layOutStack(home: SandboxHome, stack: string): Promise<void> {
  const name = `Pulumi.${stack}.yaml`;
  const file = path.join(projectFolder(home), name);
  const source = [file, path.join(CHECKOUT, name)].find((candidate) => existsSync(candidate));
  const document = parseDocument(source === undefined ? "config: {}\n" : await readFile(source, "utf8"));
  const hash = createHash("sha256").update(`${home.id}/${stack}`).digest().readUInt32BE();
  document.setIn(["config", "convex-droplet:tunnelPort"], 10_000 + (hash % 10_000));
  await writeFile(file, document.toString());
}
