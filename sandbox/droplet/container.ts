import { readFileSync } from "node:fs";
import os from "node:os";
import type Docker from "dockerode";
import type { DropletSpec, MachineSize } from "./hypervisor.ts";
import { SANDBOX_LABEL, type SandboxHome } from "../home.ts";
import { guestFolder } from "./guest.ts";
import { privateAddress, REGISTRY_HOST, type SandboxNetwork } from "./network.ts";

/** The exit code of a container whose systemd reboots: for reboot(2), the kernel ends PID 1 with a signal. */
export const EXIT_CODE_OF_REBOOT = 128 + os.constants.signals.SIGHUP;

/** Asks systemd to shut down. */
export const SHUTDOWN_SIGNAL = "SIGRTMIN+3";

export function containerName(home: SandboxHome, dropletId: number): string {
  return `droplet-${home.id}-${dropletId}`;
}

/** The Docker volume for the droplet's Docker engine, which cannot put overlayfs on the container's root. */
export function dockerDataVolume(home: SandboxHome, dropletId: number): string {
  return `${containerName(home, dropletId)}-docker`;
}

/** A system container in which systemd, Docker and mounts work, without `--privileged`. */
export function containerOptions(
  home: SandboxHome,
  network: SandboxNetwork,
  image: string,
  droplet: DropletSpec,
): Docker.ContainerCreateOptions {
  const labels = { [SANDBOX_LABEL]: home.id };
  // Each droplet has its own control groups. dockerode's types lack this setting.
  const cgroups: Docker.HostConfig & { CgroupnsMode: string } = { CgroupnsMode: "private" };
  return {
    name: containerName(home, droplet.id),
    Image: image,
    Cmd: ["/usr/lib/sandbox/boot.sh"],
    Hostname: droplet.name,
    Labels: labels,
    // With the second, systemd mounts block devices in /etc/fstab, which it skips in other containers.
    Env: ["container=docker", "SYSTEMD_SYSFS_CHECK=0"],
    StopSignal: SHUTDOWN_SIGNAL,
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
      // The API's form of the command line's systempaths=unconfined.
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

/** The limits for the machine's size; Docker refuses more processors than this computer has. */
export function containerLimits(size: MachineSize) {
  const bytes = size.memoryMegabytes * 1024 * 1024;
  return { Memory: bytes, MemorySwap: bytes, NanoCpus: Math.min(size.vcpus, os.availableParallelism()) * 1e9 };
}

/**
 * Whether this computer can give CAP_SYS_RESOURCE. Some virtual machines cannot, and Docker fails if it must. A droplet
 * without it works, but cannot grow a mounted ext4 (resize2fs).
 */
function hasSysResource(): boolean {
  const bounding = /^CapBnd:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8"))?.[1] ?? "0";
  return (BigInt(`0x${bounding}`) & (1n << 24n)) !== 0n;
}
