import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import path from "node:path";

import { parseDocument } from "yaml";

import { projectIn, stackFileIn } from "../contract/sandbox.ts";
import type { SandboxHome } from "./home.ts";

const CHECKOUT = path.resolve(import.meta.dirname, "..");

/** The folder in which Pulumi runs: the checkout's project files, with the sandbox's additions. */
export function projectFolder(home: SandboxHome): string {
  return projectIn(home.root);
}

/**
 * Makes a Pulumi project that runs the checkout's program. Pulumi writes into the files beside Pulumi.yaml, for example
 * salts; in a folder of the sandbox, they are no changes to the checkout.
 *
 * @param defaults  settings with another default in this sandbox
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
 * Makes a stack's file from the checkout's, if there is one, and sets a tunnel port. The program derives its default from
 * the stack's name, so it would be the same in every sandbox of this computer. This port is below those that Linux gives
 * to outgoing connections, one of which could occupy it, and different from the program's.
 */
export async function layOutStack(home: SandboxHome, stack: string): Promise<void> {
  const file = stackFile(home, stack);
  const source = [file, path.join(CHECKOUT, path.basename(file))].find((candidate) => existsSync(candidate));
  const document = parseDocument(source === undefined ? "config: {}\n" : await readFile(source, "utf8"));
  const hash = createHash("sha256").update(`${home.id}/${stack}`).digest().readUInt32BE();
  document.setIn(["config", "convex-droplet:tunnelPort"], 10_000 + (hash % 10_000));
  await writeFile(file, document.toString());
}

/** The file with a stack's settings. */
export function stackFile(home: SandboxHome, stack: string): string {
  return stackFileIn(home.root, stack);
}
