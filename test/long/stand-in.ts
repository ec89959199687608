import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { REGISTRY_HOST } from "../../sandbox/droplet/network.ts";
import type { SandboxHome } from "../../sandbox/home.ts";
import { ensureImage } from "../../sandbox/images/build.ts";
import { buildImage, pushImage } from "../../sandbox/images/engine.ts";
import { moduleFolders, revision } from "../../sandbox/images/recipe.ts";

/** A stand-in for an image of somebody's own. */
export interface StandIn {
  /** Its folder here, with a Dockerfile that builds on BASE. */
  folder: string;
  /** The Dockerfile's other arguments; with others, it has another digest. */
  args: Record<string, string>;
  /** npm packages, without their dependencies. */
  modules?: string[];
}

/** Builds a stand-in, and pushes it to a cloud's registry. @returns the image, pinned */
export async function publishStandIn(
  home: SandboxHome,
  { folder: from, args, modules = [] }: StandIn,
): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-app-"));
  const repository = from.replaceAll("/", "-");
  const tag = (args["REVISION"] ?? "latest").toLowerCase();
  try {
    await cp(path.join(import.meta.dirname, from), folder, { recursive: true });
    for (const module of moduleFolders(modules)) await cp(module, path.join(folder, module), { recursive: true });
    const base = await ensureImage("dashboard", await revision(), () => undefined);
    await buildImage(folder, `convex-droplet-test/${repository}:${tag}`, { BASE: base, ...args }, () => undefined);
    const own = `127.0.0.1:${home.registryPort}/${repository}`;
    const digest = await pushImage(`convex-droplet-test/${repository}:${tag}`, own, tag);
    return `${REGISTRY_HOST}:${home.registryPort}/${repository}@${digest}`;
  } finally {
    await rm(folder, { recursive: true });
  }
}
