import { createHash } from "node:crypto";
import { glob, mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";
import { aptSettings, aptSources, DEBIAN_RELEASE, makeDebianArchive } from "../debian.ts";
import { hasImage, importImage } from "../docker.ts";

/** The packages of DigitalOcean's Debian image that make sense in a container; no Docker, no PostgreSQL. */
const PACKAGES = [
  "ca-certificates",
  "cloud-init",
  "curl",
  "dbus",
  "e2fsprogs",
  "gnupg",
  "iproute2",
  "iptables",
  "iputils-ping",
  "kmod",
  "less",
  "libpam-systemd",
  "nftables",
  "openssh-server",
  "procps",
  "python3",
  "sudo",
  "systemd",
  "systemd-sysv",
  "udev",
  "unattended-upgrades",
  "wget",
  "xfsprogs",
];

const REPOSITORY = "convex-droplet-sandbox";
/** The script that finishes the image, and the files it adds. */
const RECIPE = path.join(import.meta.dirname, "image");
const LOCAL_AUTHORITIES = "/usr/local/share/ca-certificates";

/**
 * The droplets' image: Debian 13, made from the package mirror that this computer uses. Its tag is a hash of everything
 * in it, so each computer makes it once, and again after a change.
 *
 * @param onProgress gets one line for each step of a build; not called if the image exists
 * @returns the image's name and tag
 */
export async function ensureDropletImage(onProgress: (step: string) => void): Promise<string> {
  const tag = await recipeHash([DEBIAN_RELEASE, ...PACKAGES, await aptSources(), await aptSettings()]);
  const image = `${REPOSITORY}:${tag}`;
  if (!(await hasImage(image))) await makeImage(tag, onProgress);
  return image;
}

async function makeImage(tag: string, onProgress: (step: string) => void): Promise<void> {
  const folder = await mkdtemp(path.join(os.tmpdir(), "droplet-image-"));
  try {
    const archive = path.join(folder, "image.tar");
    const options = [
      "--variant=minbase",
      `--include=${PACKAGES.join(",")}`,
      `--customize-hook=${path.join(RECIPE, "customize.sh")}`,
    ];
    await makeDebianArchive(archive, options, onProgress);
    onProgress("importing the image");
    await importImage(archive, REPOSITORY, tag);
  } finally {
    await rm(folder, { recursive: true });
  }
}

async function recipeHash(parts: string[]): Promise<string> {
  const hash = createHash("sha256").update(parts.join("\n"));
  for (const folder of [RECIPE, LOCAL_AUTHORITIES]) {
    const files: string[] = [];
    for await (const entry of glob("**/*", { cwd: folder, withFileTypes: true })) {
      if (entry.isFile()) files.push(path.join(entry.parentPath, entry.name));
    }
    for (const file of files.sort()) hash.update(path.relative(folder, file)).update(await readFile(file));
  }
  return hash.digest("hex").slice(0, 12);
}
