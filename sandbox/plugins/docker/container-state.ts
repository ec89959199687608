import type Docker from "dockerode";
import type { StateOf } from "../framework/definition.ts";
import type { ContainerProperties, containerInputs, containerOutputs } from "./container-properties.ts";
import { MEBIBYTE } from "./container-spec.ts";
import { formatDuration } from "./duration.ts";

/** The engine's description of a container, with fields that dockerode's types lack. */
export type Inspected = Docker.ContainerInspectInfo & {
  Config: { StopSignal?: string; StopTimeout?: number };
  NetworkSettings: { Bridge: string };
};

/**
 * The engine's description of a container, as properties of the resource. Without environment, labels, volumes and
 * networks: the engine adds the image's, so the resource's cannot be recognized.
 */
export function readState(
  container: Inspected,
  known: Pick<StateOf<typeof containerInputs, typeof containerOutputs>, "ports" | "mustRun">,
): StateOf<typeof containerInputs, typeof containerOutputs> {
  const { Config: config, HostConfig: host, NetworkSettings: network } = container;
  const { Healthcheck: check } = config;
  const running = container.State.Running;
  const memorySwap = host.MemorySwap ?? 0;
  return {
    name: container.Name.replace(/^\//, ""),
    // The reference in the create call, not the image that it resolved to.
    image: config.Image,
    command: config.Cmd,
    entrypoints: config.Entrypoint as string[] | undefined,
    user: config.User,
    workingDir: config.WorkingDir,
    hostname: config.Hostname,
    stopSignal: config.StopSignal,
    stopTimeout: config.StopTimeout,
    ...(check && {
      healthcheck: {
        tests: check.Test ?? [],
        interval: formatDuration(check.Interval ?? 0),
        timeout: formatDuration(check.Timeout ?? 0),
        startPeriod: formatDuration(check.StartPeriod ?? 0),
        startInterval: formatDuration((check as { StartInterval?: number }).StartInterval ?? 0),
        retries: check.Retries ?? 0,
      },
    }),
    // A stopped container has no live ports, so the ports seem to be missing, and it is replaced.
    ...(known.ports?.length && (running || known.mustRun === true) ? { ports: readPorts(network.Ports) } : {}),
    networkMode: host.NetworkMode ?? "",
    hosts: (host.ExtraHosts as string[] | undefined)?.map(readHost),
    dns: host.Dns as string[] | undefined,
    tmpfs: host.Tmpfs,
    readOnly: host.ReadonlyRootfs ?? false,
    ...readCapabilities(host),
    securityOpts: host.SecurityOpt as string[] | undefined,
    groupAdds: host.GroupAdd,
    privileged: host.Privileged,
    init: host.Init ?? false,
    restart: host.RestartPolicy?.Name as ContainerProperties["restart"],
    maxRetryCount: host.RestartPolicy?.MaximumRetryCount,
    memory: (host.Memory ?? 0) / MEBIBYTE,
    memoryReservation: (host.MemoryReservation ?? 0) / MEBIBYTE,
    memorySwap: memorySwap > 0 ? memorySwap / MEBIBYTE : memorySwap,
    cpuShares: host.CpuShares,
    cpuSet: host.CpusetCpus,
    shmSize: (host.ShmSize ?? 0) / MEBIBYTE,
    logDriver: host.LogConfig?.Type,
    logOpts: host.LogConfig?.Config as Record<string, string> | undefined,
    rm: host.AutoRemove ?? false,
    bridge: network.Bridge,
    ...(running ? {} : { exitCode: container.State.ExitCode }),
    ...(!running && known.mustRun === true ? { mustRun: false } : {}),
    networkDatas: Object.entries(network.Networks).map(([name, data]) => ({
      networkName: name,
      ipAddress: data.IPAddress,
      ipPrefixLength: data.IPPrefixLen,
      gateway: data.Gateway,
      globalIpv6Address: data.GlobalIPv6Address,
      globalIpv6PrefixLength: data.GlobalIPv6PrefixLen,
      ipv6Gateway: data.IPv6Gateway,
      macAddress: data.MacAddress,
    })),
  };
}

/** An IPv6 address is cut at its first colon, as in the official plugin. */
function readHost(entry: string): { host: string; ip: string } {
  const [host = "", ip = ""] = entry.split(":");
  return { host, ip };
}

function readCapabilities(host: { CapAdd?: string[] | null; CapDrop?: string[] | null }) {
  if (!host.CapAdd?.length && !host.CapDrop?.length) return {};
  return { capabilities: { adds: host.CapAdd ?? [], drops: host.CapDrop ?? [] } };
}

type PortMap = Record<string, { HostIp: string; HostPort: string }[] | null>;

/** Ordered by internal port; a port that is bound on IPv4 and IPv6 appears twice. */
function readPorts(ports: PortMap): { internal: number; external: number; ip: string; protocol: string }[] {
  return Object.entries(ports)
    .flatMap(([key, bindings]) => {
      const [internal, protocol = "tcp"] = key.split("/");
      return (bindings ?? []).map(({ HostIp, HostPort }) => ({
        internal: Number(internal),
        external: Number(HostPort),
        ip: HostIp,
        protocol,
      }));
    })
    .toSorted((one, other) => one.internal - other.internal);
}
