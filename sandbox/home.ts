import { createHash } from "node:crypto";
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
