import { existsSync } from "node:fs";
import { cp, mkdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import type { DropletSpec } from "./hypervisor.ts";
import type { SandboxHome } from "../home.ts";
import { writeFileAtomically } from "../atomic-file.ts";
import { REGISTRY_HOST } from "./network.ts";

/** A volume as its droplet sees it. */
export interface GuestVolume {
  name: string;
  /** `sda`, `sdb`, … */
  device: string;
  major: number;
  minor: number;
}

/** The folder on this computer that the droplet sees as /run/sandbox, and that its first process reads. */
export function guestFolder(home: SandboxHome, dropletId: number): string {
  return path.join(guestsFolder(home), String(dropletId));
}

export function guestsFolder(home: SandboxHome): string {
  return path.join(home.root, "droplets");
}

export async function removeGuest(home: SandboxHome, dropletId: number): Promise<void> {
  await rm(guestFolder(home, dropletId), { recursive: true, force: true });
}

/** Writes everything for the droplet's next boot, except its volumes. */
export async function writeGuest(home: SandboxHome, droplet: DropletSpec): Promise<void> {
  const folder = guestFolder(home, droplet.id);
  const seed = path.join(folder, "seed");
  const metaData = {
    "instance-id": String(droplet.id),
    "local-hostname": droplet.name,
    "public-keys": droplet.sshKeys,
  };
  await mkdir(seed, { recursive: true, mode: 0o700 });
  await writeFileAtomically(path.join(seed, "meta-data"), JSON.stringify(metaData));
  await writeFileAtomically(path.join(seed, "user-data"), droplet.userData ?? "");
  await writeFileAtomically(path.join(folder, "resolv.conf"), await resolverConfiguration());
  await copyRegistryAuthority(home, folder);
}

/** Writes the table of the droplet's volumes; devices.sh on the droplet makes /dev match it. */
export async function writeVolumeTable(home: SandboxHome, dropletId: number, volumes: GuestVolume[]): Promise<void> {
  const lines = volumes.map(
    ({ device, major, minor, name }) => `${device} ${major} ${minor} scsi-0DO_Volume_${name}\n`,
  );
  await writeFileAtomically(path.join(guestFolder(home, dropletId), "volumes"), lines.join(""));
}

/**
 * This computer's name servers, for droplets to use directly, as real ones use the cloud's. Empty if all of them are on
 * loopback addresses; then the droplet keeps Docker's.
 */
async function resolverConfiguration(): Promise<string> {
  for (const file of ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]) {
    const lines = (await readFile(file, "utf8").catch(() => "")).split("\n");
    const servers = lines.filter((line) => /^nameserver\s+(?!127\.|::1)/.test(line));
    if (servers.length > 0) return servers.join("\n") + "\n";
  }
  return "";
}

/** Makes the droplet's Docker trust the sandbox's registry, if there is one. */
async function copyRegistryAuthority(home: SandboxHome, folder: string): Promise<void> {
  const authority = path.join(home.root, "registry/ca.crt");
  if (!existsSync(authority)) return;
  const copy = path.join(folder, "certs.d", `${REGISTRY_HOST}:${home.registryPort}`, "ca.crt");
  await cp(authority, copy);
}
