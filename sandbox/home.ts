import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, writeFileSync } from "node:fs";
import path from "node:path";

/**
 * One sandbox: a cloud in a folder. A checkout has `.sandbox`; tests make others beside it. Every name, port and address
 * follows from the folder's path, so the path is enough to find a sandbox again.
 */
export interface SandboxHome {
  /** Absolute path; the sandbox keeps all its files below it. */
  root: string;
  /** Eight hexadecimal digits; prefixes or labels every container, network and firewall table of this sandbox. */
  id: string;
  /** The cloud simulator's API, `http://127.0.0.1:<port>`. */
  apiPort: number;
  /** The image registry's port, on this computer and for droplets. */
  registryPort: number;
  /** The port of the name server for the cloud's domains, on 127.0.0.1. */
  dnsPort: number;
  /** The port of the ACME server: for clients on the droplets' gateway, for the sandbox itself on 127.0.0.1. */
  acmePort: number;
  /** `127.a.b`: droplets get `127.a.b.1` to `127.a.b.254`. */
  addressPrefix: string;
}

/** Docker label on every container, network and volume of a sandbox; its value is the sandbox's id. */
export const SANDBOX_LABEL = "convex-droplet.sandbox";

export function sandboxHome(root: string): SandboxHome {
  const absolute = path.resolve(root);
  const digest = createHash("sha256").update(absolute).digest();
  // 127.64.0 to 127.254.255: neither 127.0.0.1 nor a loopback address that resolvers use.
  const addressPrefix = `127.${64 + (digest.readUInt8(4) % 191)}.${digest.readUInt8(5)}`;
  const port = 20000 + (digest.readUInt16BE(6) % 5000) * 2;
  return {
    root: absolute,
    id: digest.toString("hex").slice(0, 8),
    apiPort: port,
    registryPort: port + 1,
    dnsPort: port - 10_000,
    acmePort: port - 9_999,
    addressPrefix,
  };
}

/** A folder with this file is a sandbox's, and may be removed with everything in it. */
const MARK = ".convex-droplet-sandbox";

/**
 * Makes the sandbox's folder, if it does not exist yet.
 *
 * @throws Error if it contains other files, which would be removed with the sandbox
 */
export function claimFolder({ root }: SandboxHome): void {
  mkdirSync(root, { recursive: true, mode: 0o700 });
  if (existsSync(path.join(root, MARK))) return;
  if (readdirSync(root).length > 0) {
    throw new Error(
      `${root}: has files and is not a sandbox's, it should be empty or new. Set CONVEX_DROPLET_SANDBOX to another folder.`,
    );
  }
  writeFileSync(path.join(root, MARK), "");
}

/** @throws Error if the folder is not a sandbox's, so that nothing else is removed */
export function requireClaimed({ root }: SandboxHome): void {
  if (existsSync(path.join(root, MARK))) return;
  throw new Error(
    `${root}: is not marked as a sandbox's, nothing was removed. If an earlier version made it: touch ${path.join(root, MARK)}`,
  );
}
