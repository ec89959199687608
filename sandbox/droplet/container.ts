import { readFileSync } from "node:fs";
import os from "node:os";
import type Docker from "dockerode";
import type { DropletSpec, MachineSize } from "./hypervisor.ts";
import { SANDBOX_LABEL, type SandboxHome } from "../home.ts";
import { guestFolder } from "./guest.ts";
import { privateAddress, REGISTRY_HOST, type SandboxNetwork } from "./network.ts";

/** How a container with a systemd of its own ends: PID 1 dies of the signal the kernel sends for each reboot(2) command. */
export const EXIT_CODE_OF_REBOOT = 128 + os.constants.signals.SIGHUP;

export function containerName(home: SandboxHome, dropletId: number): string {
  return `droplet-${home.id}-${dropletId}`;
}

/** The Docker volume below the droplet's own Docker engine, which cannot stack overlayfs on the container's root. */
export function dockerDataVolume(home: SandboxHome, dropletId: number): string {
  return `${containerName(home, dropletId)}-docker`;
}

/** A system container that systemd, Docker and mounts work in, without `--privileged`. */
export function containerOptions(
  home: SandboxHome,
  network: SandboxNetwork,
  image: string,
  droplet: DropletSpec,
): Docker.ContainerCreateOptions {
  const labels = { [SANDBOX_LABEL]: home.id };
  // The one setting that dockerode's types lack: each droplet has control groups of its own.
  const cgroups: Docker.HostConfig & { CgroupnsMode: string } = { CgroupnsMode: "private" };
  return {
    name: containerName(home, droplet.id),
    Image: image,
    Cmd: ["/usr/lib/sandbox/boot.sh"],
    Hostname: droplet.name,
    Labels: labels,
    // The second: mounts of block devices in /etc/fstab are done, which systemd leaves out in other containers.
    Env: ["container=docker", "SYSTEMD_SYSFS_CHECK=0"],
    StopSignal: "SIGRTMIN+3",
    NetworkingConfig: {
      EndpointsConfig: {
        [network.name]: { IPAMConfig: { IPv4Address: privateAddress(network, droplet.publicAddress) } },
      },
    },
    HostConfig: {
      NetworkMode: network.name,
      ExtraHosts: [`${REGISTRY_HOST}:${network.gateway}`],
      CapAdd: ["ALL"],
      CapDrop: hasSysResource() ? [] : ["SYS_RESOURCE"],
      SecurityOpt: ["seccomp=unconfined", "apparmor=unconfined"],
      // The API's word for the command line's systempaths=unconfined.
      MaskedPaths: [],
      ReadonlyPaths: [],
      DeviceCgroupRules: ["a *:* rwm"],
      ...cgroups,
      Tmpfs: { "/run": "exec,mode=755", "/tmp": "exec,mode=1777" },
      Mounts: [
        { Type: "bind", Source: guestFolder(home, droplet.id), Target: "/run/sandbox", ReadOnly: true },
        {
          Type: "volume",
          Source: dockerDataVolume(home, droplet.id),
          Target: "/var/lib/docker",
          VolumeOptions: { NoCopy: true, Labels: labels, DriverConfig: { Name: "local", Options: {} } },
        },
      ],
      ...containerLimits(droplet),
    },
  };
}

/** The size of the machine; Docker refuses more processors than this computer has. */
export function containerLimits(size: MachineSize) {
  const bytes = size.memoryMegabytes * 1024 * 1024;
  return { Memory: bytes, MemorySwap: bytes, NanoCpus: Math.min(size.vcpus, os.availableParallelism()) * 1e9 };
}

/**
 * Whether this computer has CAP_SYS_RESOURCE to give; some virtual machines do not, and Docker gives what it is asked
 * for or fails. A droplet without it works, but cannot grow a mounted ext4 (resize2fs).
 */
function hasSysResource(): boolean {
  const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return (BigInt(`0x${bounding}`) & (1n << 24n)) !== 0n;
}
