import type Docker from "dockerode";
import type { ContainerProperties } from "./container-properties.ts";
import { parseDuration } from "./duration.ts";

type Port = NonNullable<ContainerProperties["ports"]>[number];
type Volume = NonNullable<ContainerProperties["volumes"]>[number];
type Healthcheck = NonNullable<ContainerProperties["healthcheck"]>;

/** The engine uses bytes, the resource mebibytes. */
export const MEBIBYTE = 1024 * 1024;

/** The engine's options for a create. Networks are connected afterwards. */
export function createOptions(container: ContainerProperties): Docker.ContainerCreateOptions {
  const volumes = volumeOptions(container.volumes ?? []);
  return {
    name: container.name,
    Image: container.image,
    ...defined("Cmd", container.command),
    ...defined("Entrypoint", container.entrypoints),
    ...defined("Env", container.envs),
    ...defined("User", container.user),
    ...defined("WorkingDir", container.workingDir),
    ...defined("Hostname", container.hostname),
    ...defined("StopSignal", container.stopSignal),
    ...defined("StopTimeout", container.stopTimeout),
    ...defined("Labels", container.labels && Object.fromEntries(container.labels.map((l) => [l.label, l.value]))),
    ...defined("Healthcheck", container.healthcheck && healthcheckOptions(container.healthcheck)),
    ExposedPorts: Object.fromEntries((container.ports ?? []).map((port) => [portKey(port), {}])),
    Volumes: Object.fromEntries(volumes.paths.map((path) => [path, {}])),
    HostConfig: {
      ...resourceOptions(container),
      ...defined("NanoCpus", container.cpus === undefined ? undefined : Math.round(Number(container.cpus) * 1e9)),
      PortBindings: portBindings(container.ports ?? []),
      NetworkMode: container.networkMode,
      ExtraHosts: (container.hosts ?? []).map(({ host, ip }) => `${host}:${ip}`),
      ...defined("Dns", container.dns),
      Binds: volumes.binds,
      VolumesFrom: volumes.from,
      ...defined("Tmpfs", container.tmpfs),
      ReadonlyRootfs: container.readOnly,
      ...defined("CapAdd", container.capabilities?.adds),
      ...defined("CapDrop", container.capabilities?.drops),
      ...defined("SecurityOpt", container.securityOpts),
      ...defined("GroupAdd", container.groupAdds),
      ...defined("Privileged", container.privileged),
      Init: container.init ?? false,
      ...defined("ShmSize", container.shmSize && container.shmSize * MEBIBYTE),
      LogConfig: { Type: container.logDriver ?? "", Config: container.logOpts ?? {} },
      AutoRemove: container.rm,
    },
  };
}

/** The options that the engine can change on an existing container. */
export function resourceOptions(container: ContainerProperties): Docker.HostConfig {
  const { memorySwap } = container;
  return {
    RestartPolicy: { Name: container.restart, MaximumRetryCount: container.maxRetryCount ?? 0 },
    ...defined("Memory", container.memory && container.memory * MEBIBYTE),
    ...defined("MemoryReservation", container.memoryReservation && container.memoryReservation * MEBIBYTE),
    ...defined("MemorySwap", memorySwap !== undefined && memorySwap > 0 ? memorySwap * MEBIBYTE : memorySwap),
    ...defined("CpuShares", container.cpuShares),
    ...defined("CpusetCpus", container.cpuSet),
  };
}

function healthcheckOptions(check: Healthcheck): Docker.HealthConfig {
  const nanoseconds = (key: "interval" | "timeout" | "startPeriod" | "startInterval"): number => {
    const parsed = parseDuration(check[key]);
    if (parsed === undefined) {
      throw new Error(`healthcheck.${key}: ${check[key]} is not a duration, it should be like 30s, 1m30s or 500ms.`);
    }
    return parsed;
  };
  return {
    Test: check.tests ?? [],
    Interval: nanoseconds("interval"),
    Timeout: nanoseconds("timeout"),
    StartPeriod: nanoseconds("startPeriod"),
    // Engines before 25 do not know it, so it is only sent if it is set.
    ...defined("StartInterval", nanoseconds("startInterval") || undefined),
    Retries: check.retries,
  };
}

function portBindings(ports: Port[]): Record<string, { HostIp: string; HostPort: string }[]> {
  const bindings: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const port of ports) {
    (bindings[portKey(port)] ??= []).push({
      HostIp: port.ip,
      HostPort: port.external === undefined ? "" : String(port.external),
    });
  }
  return bindings;
}

const portKey = (port: Port): string => `${port.internal}/${port.protocol}`;

/**
 * Paths with a source are bind mounts, paths without one get an anonymous volume. The original declares all of them as the
 * container's volumes.
 */
function volumeOptions(volumes: Volume[]): { paths: string[]; binds: string[]; from: string[] } {
  const paths: string[] = [];
  const binds: string[] = [];
  const from: string[] = [];
  for (const { hostPath, volumeName, fromContainer, containerPath, readOnly } of volumes) {
    const source = hostPath ?? volumeName;
    if (fromContainer !== undefined && containerPath !== undefined) {
      throw new Error("both a container and a path specified in a volume entry");
    } else if (fromContainer !== undefined) {
      from.push(fromContainer);
    } else if (containerPath === undefined) {
      throw new Error("volume entry without container path or source container");
    } else {
      paths.push(containerPath);
      if (source !== undefined) binds.push(`${source}:${containerPath}:${readOnly === true ? "ro" : "rw"}`);
    }
  }
  return { paths, binds, from };
}

function defined<Key extends string, Value>(key: Key, value: Value | undefined): Partial<Record<Key, Value>> {
  return value === undefined ? {} : ({ [key]: value } as Partial<Record<Key, Value>>);
}
