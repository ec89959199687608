import { readFileSync } from "node:fs";
import path from "node:path";

import { SOURCE } from "../contract/scripts.ts";

/** An area of `machine/` that has a list of packages. */
export type Area = "host" | "postgres" | "managed" | "edge";

/**
 * The user-data of a new droplet: its SSH host key, and the packages of some areas, which it installs while DigitalOcean's
 * provider still waits for it. The scripts of these areas set up everything else over SSH.
 */
export function userData(privateKey: string, publicKey: string, areas: readonly Area[]): string {
  const packages = areas.flatMap((area) =>
    readFileSync(path.join(SOURCE, area, "packages"), "utf8")
      .trim()
      .split("\n"),
  );
  const script = readFileSync(path.join(SOURCE, "host/first-boot.sh"), "utf8");
  // JSON is YAML, too.
  const settings = {
    ssh_pwauth: false,
    ssh_deletekeys: true,
    ssh_keys: { ed25519_private: `${privateKey.trim()}\n`, ed25519_public: publicKey.trim() },
    runcmd: [["bash", "-c", script, "first-boot.sh", ...packages]],
  };
  return `#cloud-config\n${JSON.stringify(settings, null, 2)}\n`;
}
