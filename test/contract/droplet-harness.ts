import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import { execa } from "execa";
import type { DropletSpec, Hypervisor } from "../../sandbox/droplet/hypervisor.ts";
import { ensureDropletImage } from "../../sandbox/droplet/image.ts";
import { openMachineRoom } from "../../sandbox/droplet/machine-room.ts";
import { removeEverything } from "../../sandbox/droplet/remove.ts";
import { type SandboxHome, sandboxHome } from "../../sandbox/home.ts";
import { waitFor } from "../../sandbox/wait-for.ts";

/** A machine room for a test, and the means to log in to its droplets. Leaves nothing after its disposal. */
export interface Lab extends AsyncDisposable {
  home: SandboxHome;
  room: Hypervisor;
  /** Root's OpenSSH private key, and the droplets' host key as a line of `authorized_keys`. */
  keys: { privateKey: string; hostKey: string };
  /** A small droplet with the host key in its user-data, which also contains the cloud-config `extra`. */
  spec(id: number, extra?: object): DropletSpec;
  /** Runs a command as root over SSH, with the host key checked; resolves to what it prints. */
  ssh(droplet: DropletSpec, command: string): Promise<string>;
  /** Waits until root can log in to the droplet, and its boot is complete. */
  booted(droplet: DropletSpec): Promise<void>;
  /** Closes the machine room, runs `meanwhile`, and opens another, as a restart of the daemon does. */
  reopen(meanwhile: () => Promise<unknown>): Promise<void>;
}

export async function openLab(): Promise<Lab> {
  await ensureDropletImage(console.log);
  const root = await mkdtemp(path.join(os.tmpdir(), "droplet-lab-"));
  const home = sandboxHome(path.join(root, "sandbox"));
  const [userKey, hostKey] = await Promise.all([makeKey(root, "user"), makeKey(root, "host")]);
  const knownHosts = path.join(root, "known_hosts");
  await writeFile(knownHosts, `* ${hostKey.public}\n`);
  let room = await openMachineRoom(home);

  const ssh = async ({ publicAddress }: DropletSpec, command: string) => {
    const options = {
      UserKnownHostsFile: knownHosts,
      StrictHostKeyChecking: "yes",
      BatchMode: "yes",
      ConnectTimeout: "5",
    };
    const flags = Object.entries(options).map(([name, value]) => `-o${name}=${value}`);
    const { stdout } = await execa("ssh", [
      "-F",
      "none",
      "-i",
      userKey.file,
      ...flags,
      `root@${publicAddress}`,
      command,
    ]);
    return stdout;
  };

  return {
    home,
    get room() {
      return room;
    },
    keys: { privateKey: userKey.private, hostKey: hostKey.public },
    spec: (id, extra = {}) => ({
      id,
      name: `machine-${id}`,
      region: "fra1",
      publicAddress: `${home.addressPrefix}.${id}`,
      userData: `#cloud-config\n${JSON.stringify({
        ssh_keys: { ed25519_private: hostKey.private, ed25519_public: hostKey.public },
        ...extra,
      })}\n`,
      sshKeys: [userKey.public],
      volumeIds: [],
      memoryMegabytes: 1024,
      vcpus: 1,
    }),
    ssh,
    async booted(droplet) {
      await waitFor(`${droplet.name} to be booted`, 60, () => ssh(droplet, "cloud-init status --wait"));
    },
    async reopen(meanwhile) {
      await room[Symbol.asyncDispose]();
      await meanwhile();
      room = await openMachineRoom(home);
    },
    async [Symbol.asyncDispose]() {
      await room[Symbol.asyncDispose]();
      await removeEverything(home);
      await rm(root, { recursive: true });
    },
  };
}

/** How a TCP port answers; `silent` if nothing comes back within a second and a half. */
export function knock(host: string, port: number, localAddress = "127.0.0.1"): Promise<"open" | "refused" | "silent"> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host, port, localAddress, timeout: 1500 });
    const end = (answer: "open" | "refused" | "silent") => {
      socket.destroy();
      resolve(answer);
    };
    socket.once("connect", () => {
      end("open");
    });
    socket.once("timeout", () => {
      end("silent");
    });
    socket.once("error", (error: NodeJS.ErrnoException) => {
      if (error.code === "ECONNREFUSED") end("refused");
      else reject(error);
    });
  });
}

async function makeKey(folder: string, name: string) {
  const file = path.join(folder, name);
  await execa("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file]);
  return { file, private: await readFile(file, "utf8"), public: (await readFile(`${file}.pub`, "utf8")).trim() };
}
