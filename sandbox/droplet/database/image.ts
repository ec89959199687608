import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import os from "node:os";
import path from "node:path";

import { aptSources, DEBIAN_RELEASE, makeDebianArchive } from "../../debian.ts";
import { hasImage, importImage } from "../../docker.ts";

const REPOSITORY = "convex-droplet-sandbox/database";
const CUSTOMIZE = path.join(import.meta.dirname, "customize-image.sh");

/** mmdebstrap's options: Debian's PostgreSQL without a cluster of its own, and without files that it does not need. */
const OPTIONS = [
  "--variant=minbase",
  "--include=postgresql-17,locales",
  ...["doc", "info", "man"].map((folder) => `--dpkgopt=path-exclude=/usr/share/${folder}/*`),
  '--essential-hook=mkdir -p "$1/etc/postgresql-common"',
  '--essential-hook=echo "create_main_cluster = false" > "$1/etc/postgresql-common/createcluster.conf"',
];

let image: Promise<string> | undefined;

/**
 * The image of database nodes. Its tag is a hash of everything in it, so each computer makes it once, and again after a
 * change.
 *
 * @returns the image's name and tag
 */
export function ensureDatabaseImage(): Promise<string> {
  image ??= findOrMake().catch((error: unknown) => {
    image = undefined;
    throw error;
  });
  return image;
}

async function findOrMake(): Promise<string> {
  const parts = [DEBIAN_RELEASE, ...OPTIONS, await aptSources(), await readFile(CUSTOMIZE, "utf8")];
  const tag = createHash("sha256").update(parts.join("\n")).digest("hex").slice(0, 12);
  const name = `${REPOSITORY}:${tag}`;
  if (await hasImage(name)) return name;
  const folder = await mkdtemp(path.join(os.tmpdir(), "database-image-"));
  try {
    const archive = path.join(folder, "image.tar");
    await makeDebianArchive(archive, [...OPTIONS, `--customize-hook=${CUSTOMIZE}`], () => undefined);
    await importImage(archive, REPOSITORY, tag);
  } finally {
    await rm(folder, { recursive: true });
  }
  return name;
}
