import { createHash } from "node:crypto";
import { cp, mkdtemp, rm, writeFile } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { makeDebianArchive } from "../debian.ts";
import { hasImage, importImage } from "../docker.ts";
import { REGISTRY_HOST } from "../droplet/network.ts";
import type { SandboxHome } from "../home.ts";
import { buildImage, pushImage } from "./engine.ts";
import {
  BASE_OPTIONS,
  baseHash,
  IMAGE_MODULES,
  moduleFolders,
  NODE_BINARY,
  revision,
  type ImageName,
} from "./recipe.ts";
import type { Revision } from "./backend/revision.ts";
import { publishedDigest } from "./registry.ts";

const CHECKOUT = path.resolve(import.meta.dirname, "../..");
const PREFIX = "convex-droplet-sandbox";
const PROBE_MS = 3000;

/** References for droplets: `registry.sandbox:<port>/convex-<image>:<revision>@sha256:<digest>`. */
export type PublishedImages = Record<ImageName, string>;

/** Whether the official images can be reached; then the sandbox needs no stand-ins. Takes three seconds at most. */
export async function officialImagesReachable(): Promise<boolean> {
  try {
    const { headers } = await fetch("https://ghcr.io/v2/", { signal: AbortSignal.timeout(PROBE_MS) });
    // Only a registry sends these headers, and not a company's proxy that answers for it.
    return headers.has("docker-distribution-api-version") || headers.has("www-authenticate");
  } catch {
    return false;
  }
}

/**
 * Builds the stand-in images, and pushes them to the sandbox's registry, which must run. Does only what is missing, so a
 * second call only asks the registry.
 *
 * @param onProgress gets one line for each step
 */
export async function publishImages(home: SandboxHome, onProgress: (step: string) => void): Promise<PublishedImages> {
  const tag = await revision();
  return {
    backend: await publish(home, "backend", tag, onProgress),
    dashboard: await publish(home, "dashboard", tag, onProgress),
  };
}

/**
 * Publishes images of another revision: the stand-ins with this difference, for tests of upgrades.
 *
 * @param dashboard  the image that is published as the revision's dashboard
 */
export async function publishRevision(
  home: SandboxHome,
  difference: Revision,
  dashboard: ImageName = "dashboard",
): Promise<PublishedImages> {
  const { name, tag } = await ensureRevision(difference);
  const push = async (image: ImageName, from: string) => {
    const repository = `convex-${image}`;
    const digest = await pushImage(from, `127.0.0.1:${home.registryPort}/${repository}`, tag);
    return `${REGISTRY_HOST}:${home.registryPort}/${repository}@${digest}`;
  };
  return {
    backend: await push("backend", name),
    dashboard: await push("dashboard", await ensureImage(dashboard, await revision(), ignored)),
  };
}

/** Builds the backend of another revision. @returns its name and its revision */
export async function ensureRevision(difference: Revision): Promise<{ name: string; tag: string }> {
  const base = await revision();
  const from = await ensureImage("backend", base, ignored);
  const text = JSON.stringify(difference);
  const tag = createHash("sha256").update(`${base}${text}`).digest("hex").slice(0, 40);
  const name = `${PREFIX}/convex-backend:${tag}`;
  await withTemporaryFolder(async (folder) => {
    await writeFile(path.join(folder, "revision.json"), text);
    await writeFile(
      path.join(folder, "Dockerfile"),
      `FROM ${from}\nLABEL org.opencontainers.image.revision=${tag}\nCOPY revision.json .\n`,
    );
    await buildImage(folder, name, {}, ignored);
  });
  return { name, tag };
}

function ignored(): void {
  // Nobody looks at the progress.
}

async function publish(
  home: SandboxHome,
  image: ImageName,
  tag: string,
  onProgress: (step: string) => void,
): Promise<string> {
  const repository = `convex-${image}`;
  let digest = await publishedDigest(home, repository, tag);
  if (digest === undefined) {
    const name = await ensureImage(image, tag, onProgress);
    onProgress(`pushing ${repository}`);
    digest = await pushImage(name, `127.0.0.1:${home.registryPort}/${repository}`, tag);
  }
  return `${REGISTRY_HOST}:${home.registryPort}/${repository}:${tag}@${digest}`;
}

/** Builds one image, unless the engine has it. All sandboxes of this computer share it. @returns its name */
export async function ensureImage(image: ImageName, tag: string, onProgress: (step: string) => void): Promise<string> {
  const name = `${PREFIX}/convex-${image}:${tag}`;
  if (await hasImage(name)) return name;
  const base = await ensureBase(onProgress);
  await withTemporaryFolder(async (folder) => {
    await cp(path.join(import.meta.dirname, image), folder, { recursive: true });
    for (const module of moduleFolders(IMAGE_MODULES[image]))
      await cp(path.join(CHECKOUT, module), path.join(folder, module), { recursive: true });
    await buildImage(folder, name, { BASE: base, REVISION: tag }, onProgress);
  });
  return name;
}

async function ensureBase(onProgress: (step: string) => void): Promise<string> {
  const [repository, tag] = [`${PREFIX}/base`, baseHash()];
  const name = `${repository}:${tag}`;
  if (await hasImage(name)) return name;
  await withTemporaryFolder(async (folder) => {
    const archive = path.join(folder, "base.tar");
    const node = `--customize-hook=copy-in "${NODE_BINARY}" /usr/local/bin`;
    await makeDebianArchive(archive, [...BASE_OPTIONS, node], onProgress);
    onProgress("importing the base of the images");
    await importImage(archive, repository, tag);
  });
  return name;
}

async function withTemporaryFolder(use: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "convex-images-"));
  try {
    await use(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
