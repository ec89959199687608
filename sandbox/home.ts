import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";

/**
 * One sandbox: a cloud of its own in a folder of its own. A checkout has `.sandbox`; tests make others, so that several
 * live side by side. Every name, port and address follows from the folder's path, so nothing is looked up to find it again.
 */
export interface SandboxHome {
  /** Absolute path; everything the sandbox keeps on disk is below it. */
  root: string;
  /** Eight hexadecimal digits; prefixes or labels every container, network and firewall table of this sandbox. */
  id: string;
  /** The cloud simulator's API, `http://127.0.0.1:<port>`. */
  apiPort: number;
  /** The image registry's port, on this computer and for droplets. */
  registryPort: number;
  /** Droplets get `127.a.b.1` to `127.a.b.254`; this is `127.a.b`. */
  addressPrefix: string;
}

/** Docker label on every container, network and volume a sandbox makes; its value is the sandbox's id. */
export const SANDBOX_LABEL = "convex-droplet.sandbox";

/** The folder of the checkout's sandbox: what `CONVEX_DROPLET_SANDBOX` names, else `.sandbox`. */
export function folderOf(environment: NodeJS.ProcessEnv): string {
  // Set to nothing it would name the folder that the command runs in.
  return environment["CONVEX_DROPLET_SANDBOX"] || path.resolve(import.meta.dirname, "..", ".sandbox");
}

export function sandboxHome(root: string): SandboxHome {
  const absolute = path.resolve(root);
  const digest = createHash("sha256").update(absolute).digest();
  // 127.64.0 to 127.254.255: out of the way of 127.0.0.1 and of the loopback addresses resolvers use.
  const addressPrefix = `127.${64 + (digest.readUInt8(4) % 191)}.${digest.readUInt8(5)}`;
  const port = 20000 + (digest.readUInt16BE(6) % 5000) * 2;
  return {
    root: absolute,
    id: digest.toString("hex").slice(0, 8),
    apiPort: port,
    registryPort: port + 1,
    addressPrefix,
  };
}

/** File that says that a folder is a sandbox's, to be removed with all that is in it. */
const MARK = ".convex-droplet-sandbox";

/**
 * Makes the sandbox's folder, or takes it again.
 *
 * @throws Error where it holds something else: with the sandbox it would be removed
 */
export function claimFolder({ root }: SandboxHome): void {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  if (existsSync(path.join(root, MARK))) return;
  if (readdirSync(root).length > 0) {
    throw new Error(
      `${root}: has files and is not a sandbox's, it should be empty or new. Name another folder in CONVEX_DROPLET_SANDBOX.`,
    );
  }
  writeFileSync(path.join(root, MARK), "");
}

/** @throws Error where the folder is not a sandbox's, so that nothing else is ever removed */
export function requireClaimed({ root }: SandboxHome): void {
  if (existsSync(path.join(root, MARK))) return;
  throw new Error(
    `${root}: is not known as a sandbox's, nothing was removed. If it is one, of an earlier version: touch ${path.join(root, MARK)}`,
  );
}
