import { isDeepStrictEqual } from "node:util";

import type { Container, Declared, Image } from "./docker.ts";

/** One property of a container. */
export interface Property {
  name: string;
  expected: unknown;
  found: unknown;
}

/** The facts about Docker that its defaults depend on. */
export interface Engine {
  MemoryLimit?: boolean;
  CgroupVersion?: string;
  DefaultRuntime?: string;
}

/** Keys that are compared elsewhere, or that the engine or its client sets without an effect on the container. */
const TOLD = {
  HostConfig:
    /^(Binds|Mounts|NetworkMode|ContainerIDFile|ConsoleSize|LogConfig|RestartPolicy|PortBindings|ExtraHosts|Memory|MemorySwap)$/,
  Config: /^(Env|Image|OnBuild|Attach\w+|StopSignal|StopTimeout)$/,
};

/** Names of the program's own settings; all other properties have Docker's names. */
const NAMES: Record<string, string> = {
  "Config.Cmd": "command",
  "Config.Entrypoint": "entrypoint",
  "Config.User": "user",
  "Config.Healthcheck": "healthcheck",
  "HostConfig.Privileged": "privileged",
  "HostConfig.CapAdd": "capabilities",
  "HostConfig.PidMode": "pidMode",
};

/**
 * All properties that Docker reports of a container and that `containers.ts` does not compare, with the values that follow
 * from the image and Docker's own defaults. A property that a later Docker adds and nobody sets is empty, so this needs no
 * list of all properties.
 *
 * @param declared  what a declaration adds to the image's values; a health check is compared by its own properties
 */
export function beside(
  container: Container,
  image: Image | undefined,
  engine: Engine,
  declared: Pick<Declared, "ports" | "volumes" | "healthcheck" | "command" | "cpus">,
): Property[] {
  const ports = Object.fromEntries((declared.ports ?? []).map(({ internal }) => [`${internal}/tcp`, {}]));
  const volumes = Object.fromEntries((declared.volumes ?? []).map(({ containerPath }) => [containerPath, {}]));
  const hostConfig: Record<string, unknown> = {
    ...{ Privileged: false, CapAdd: [], PidMode: "" },
    IpcMode: "private",
    CgroupnsMode: engine.CgroupVersion === "1" ? "host" : "private",
    ShmSize: 64 * 1024 ** 2,
    Runtime: engine.DefaultRuntime ?? "runc",
    NanoCpus: Number(declared.cpus ?? 0) * 1e9,
    ...hidden(container.HostConfig),
  };
  const { Labels, WorkingDir, User, Cmd, Entrypoint, Volumes, ExposedPorts, Healthcheck, Shell } = image?.Config ?? {};
  const config: Record<string, unknown> = {
    ...{ Labels, WorkingDir, User, Cmd, Entrypoint, Shell },
    ...(declared.command === undefined ? {} : { Cmd: declared.command }),
    Hostname: container.Id.slice(0, 12),
    ExposedPorts: { ...(ExposedPorts as object | undefined), ...ports },
    Volumes: { ...Volumes, ...volumes },
    Healthcheck: declared.healthcheck === undefined ? Healthcheck : container.Config.Healthcheck,
  };
  return [
    ...compare("HostConfig", container.HostConfig, hostConfig),
    ...compare("Config", container.Config, config),
    ...Object.entries(container.NetworkSettings.Networks).flatMap(([name, { IPAMConfig, Links, DriverOpts }]) =>
      compare(`networks.${name}`, { Address: Object.values(IPAMConfig ?? {}).join(" "), Links, DriverOpts }, {}),
    ),
  ];
}

function compare(part: string, found: Record<string, unknown>, expected: Record<string, unknown>): Property[] {
  const told = part in TOLD ? TOLD[part as keyof typeof TOLD] : undefined;
  return [...new Set([...Object.keys(found), ...Object.keys(expected)])]
    .filter((key) => told?.test(key) !== true)
    .filter((key) => !isDeepStrictEqual(found[key], expected[key]) && !(isEmpty(found[key]) && isEmpty(expected[key])))
    .map((key) => ({ name: NAMES[`${part}.${key}`] ?? `${part}.${key}`, expected: expected[key], found: found[key] }));
}

/** Empty, off, or without a limit: Docker writes these as null, nothing, 0 or -1. */
export function isEmpty(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  if (typeof value === "object" && value !== null) return Object.keys(value).length === 0;
  return [undefined, null, "", 0, -1, false].includes(value as undefined);
}

/** Files of the kernel that a container must not read or write. Newer releases list more; none of these may be missing. */
const HIDDEN: Record<string, string[]> = {
  MaskedPaths: ["/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/timer_list", "/proc/scsi", "/sys/firmware"],
  ReadonlyPaths: ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
};

function hidden(found: Record<string, unknown>): Record<string, unknown> {
  const members = Object.entries(HIDDEN).map(([key, paths]) => {
    const given = (found[key] ?? []) as string[];
    return [key, paths.every((path) => given.includes(path)) ? given : paths] as const;
  });
  return Object.fromEntries(members);
}
