import { mkdir, readFile } from "node:fs/promises";
import path from "node:path";
import { writeFileAtomically } from "../atomic-file.ts";
import type { DropletSpec, FirewallSpec } from "./hypervisor.ts";
import type { SandboxHome } from "../home.ts";

/** What the machine room must still know after its process was killed. */
export interface MachineRoomState {
  droplets: Map<number, DropletRecord>;
  volumes: Map<string, VolumeRecord>;
  firewalls: FirewallSpec[];
}

export interface DropletRecord {
  spec: DropletSpec;
  /** As the cloud wants it: a droplet that ended for a reboot boots only if this is still "on". */
  power: "on" | "off";
}

export interface VolumeRecord {
  id: string;
  name: string;
  /** `device` is the droplet's name for the volume: `sda`, `sdb`, … */
  attachment?: { dropletId: number; device: string };
}

/** The last saved state, or the state of an empty machine room. */
export async function loadState(home: SandboxHome): Promise<MachineRoomState> {
  const file = stateFile(home);
  const text = await readFile(file, "utf8").catch((error: unknown) => {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    throw error;
  });
  if (text === undefined) return { droplets: new Map(), volumes: new Map(), firewalls: [] };
  const saved = JSON.parse(text) as { droplets: DropletRecord[]; volumes: VolumeRecord[]; firewalls: FirewallSpec[] };
  return {
    droplets: new Map(saved.droplets.map((droplet) => [droplet.spec.id, droplet])),
    volumes: new Map(saved.volumes.map((volume) => [volume.id, volume])),
    firewalls: saved.firewalls,
  };
}

export async function saveState(home: SandboxHome, { droplets, volumes, firewalls }: MachineRoomState): Promise<void> {
  await mkdir(home.root, { recursive: true });
  const content = { droplets: [...droplets.values()], volumes: [...volumes.values()], firewalls };
  await writeFileAtomically(stateFile(home), JSON.stringify(content, undefined, 2));
}

/** It contains user-data, so only root can read it. */
export function stateFile(home: SandboxHome): string {
  return path.join(home.root, "machine-room.json");
}
