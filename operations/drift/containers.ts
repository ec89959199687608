import { isDeepStrictEqual } from "node:util";

import type { Resource, State } from "../state.ts";
import { json, sha256, variables } from "./facts.ts";
import { error, type Finding, type Repair, should, warning } from "./finding.ts";
import type { Inside } from "./inside.ts";

/** What `docker inspect` says of a container, as far as anything is declared of it. */
export interface Container {
  Name: string;
  Image: string;
  RestartCount: number;
  State: { Status: string; Running: boolean; Restarting: boolean; Health?: { Status: string } };
  Config: {
    Env: string[] | null;
    User: string;
    Cmd: string[] | null;
    Entrypoint: string[] | null;
    StopSignal?: string;
    StopTimeout?: number;
    Healthcheck?: { Test?: string[]; Interval?: number; Timeout?: number; Retries?: number; StartPeriod?: number };
  };
  HostConfig: {
    Binds: string[] | null;
    PortBindings: Record<string, { HostIp: string; HostPort: string }[]> | null;
    RestartPolicy: { Name: string };
    LogConfig: { Type: string; Config: Record<string, string> };
    Memory: number;
    MemorySwap: number;
    Privileged: boolean;
    CapAdd: string[] | null;
    PidMode: string;
    ExtraHosts: string[] | null;
  };
  NetworkSettings: { Networks: Record<string, unknown> };
}

export interface Image {
  Id: string;
  RepoDigests: string[] | null;
  Config: { Env?: string[] | null; User?: string; Cmd?: string[] | null; Entrypoint?: string[] | null };
}

/** What the program declares of a container; the provider's own names. */
interface Declared {
  name: string;
  image: string;
  envs: string[];
  restart: string;
  stopSignal: string;
  stopTimeout: number;
  logDriver: string;
  logOpts: Record<string, string>;
  memory: number;
  memorySwap: number;
  ports: { internal: number; external: number; ip: string }[];
  hosts?: { host: string; ip: string }[];
  volumes?: { hostPath: string; containerPath: string }[];
  networksAdvanced: { name: string }[];
  healthcheck?: { tests: string[]; interval: string; timeout: string; retries: number; startPeriod: string };
}

/** The containers as Docker runs them, against those that are declared. */
export function compareContainers(state: State, inside: Inside): Finding[] {
  const containers = json<Container[]>(inside, "docker.containers");
  const images = json<Image[]>(inside, "docker.images") ?? [];
  // Where the kernel cannot limit memory, Docker drops the limits.
  const limited = json<{ MemoryLimit: boolean }>(inside, "docker.info")?.MemoryLimit !== false;
  if (containers === undefined) {
    return [error("docker", "does not answer, so nothing is known of its containers", { up: ["convex-setup"] })];
  }
  const declared = state.all("docker:index/container:Container");
  const names = declared.map(({ inputs }) => String(inputs["name"]));
  return [
    ...declared.flatMap((resource) => compareContainer(resource, containers, images, limited)),
    ...containers
      .map(({ Name }) => Name.replace(/^\//, ""))
      .filter((name) => !names.includes(name))
      .map((name) =>
        warning(`containers.${name}`, "is not one of this stack's, it should not be here", {
          why: "remove it if it is nobody's, or pass it over with --ignore",
          command: `docker rm --force ${name}`,
        }),
      ),
  ];
}

function compareContainer(
  { name: logical, inputs }: Resource,
  containers: Container[],
  images: Image[],
  limited: boolean,
): Finding[] {
  const declared = inputs as unknown as Declared;
  const path = `containers.${declared.name}`;
  const repair = { up: [logical] };
  const container = containers.find(({ Name }) => Name === `/${declared.name}`);
  if (container === undefined) return [error(path, "is not there, it should run", { up: [] })];
  const image = images.find(({ Id }) => Id === container.Image);
  return [
    ...health(path, container, repair),
    ...properties(declared, container, image).flatMap(({ name, expected, found }) =>
      isDeepStrictEqual(found, expected) || (!limited && name.startsWith("memory"))
        ? []
        : [error(`${path}.${name}`, should(found, expected), repair)],
    ),
    ...environment(path, declared.envs, container.Config.Env ?? [], image?.Config.Env ?? [], repair),
  ];
}

function health(path: string, { State, RestartCount }: Container, repair: Repair): Finding[] {
  const findings: Finding[] = [];
  if (!State.Running || State.Restarting) {
    findings.push(error(`${path}.state`, should(State.Status, "running"), repair));
  } else if (State.Health !== undefined && !["healthy", "starting"].includes(State.Health.Status)) {
    findings.push(error(`${path}.health`, should(State.Health.Status, "healthy"), repair));
  }
  if (RestartCount > 0) {
    findings.push({
      path: `${path}.restarts`,
      severity: "notice",
      message: `has died ${RestartCount} time${RestartCount > 1 ? "s" : ""} since it was last started by hand`,
      repair: { why: "see why it ended", command: `docker logs --tail 50 ${path.split(".").at(-1) ?? ""}` },
    });
  }
  return findings;
}

interface Property {
  name: string;
  expected: unknown;
  found: unknown;
}

/** Each property beside what Docker has for it. What is not declared is what the image and Docker start with. */
function properties(
  declared: Declared,
  { Config, HostConfig, Image: id, NetworkSettings }: Container,
  image?: Image,
): Property[] {
  const digest = declared.image.slice(declared.image.indexOf("@") + 1);
  const found = (image?.RepoDigests ?? []).map((reference) => reference.slice(reference.indexOf("@") + 1));
  const health = declared.healthcheck;
  return [
    { name: "image", expected: digest, found: found.includes(digest) ? digest : (found[0] ?? id) },
    { name: "command", expected: image?.Config.Cmd ?? null, found: Config.Cmd },
    { name: "entrypoint", expected: image?.Config.Entrypoint ?? null, found: Config.Entrypoint },
    { name: "user", expected: image?.Config.User ?? "", found: Config.User },
    { name: "restart", expected: declared.restart, found: HostConfig.RestartPolicy.Name },
    { name: "stopSignal", expected: declared.stopSignal, found: Config.StopSignal },
    { name: "stopTimeout", expected: declared.stopTimeout, found: Config.StopTimeout },
    { name: "logDriver", expected: declared.logDriver, found: HostConfig.LogConfig.Type },
    { name: "logOpts", expected: declared.logOpts, found: HostConfig.LogConfig.Config },
    { name: "memory", expected: declared.memory, found: HostConfig.Memory / 1024 ** 2 },
    { name: "memorySwap", expected: declared.memorySwap, found: HostConfig.MemorySwap / 1024 ** 2 },
    { name: "privileged", expected: false, found: HostConfig.Privileged },
    { name: "capabilities", expected: [], found: HostConfig.CapAdd ?? [] },
    { name: "pidMode", expected: "", found: HostConfig.PidMode },
    {
      name: "ports",
      expected: declared.ports.map(({ internal, external, ip }) => `${ip}:${external}->${internal}/tcp`).toSorted(),
      found: Object.entries(HostConfig.PortBindings ?? {})
        .flatMap(([internal, ends]) => ends.map(({ HostIp, HostPort }) => `${HostIp}:${HostPort}->${internal}`))
        .toSorted(),
    },
    {
      name: "hosts",
      expected: (declared.hosts ?? []).map(({ host, ip }) => `${host}:${ip}`).toSorted(),
      found: (HostConfig.ExtraHosts ?? []).toSorted(),
    },
    {
      name: "volumes",
      expected: (declared.volumes ?? [])
        .map(({ hostPath, containerPath }) => `${hostPath}:${containerPath}`)
        .toSorted(),
      found: (HostConfig.Binds ?? []).map((bind) => bind.replace(/:rw$/, "")).toSorted(),
    },
    {
      name: "networks",
      expected: declared.networksAdvanced.map(({ name }) => name).toSorted(),
      found: Object.keys(NetworkSettings.Networks).toSorted(),
    },
    ...(health === undefined
      ? []
      : [
          { name: "healthcheck.tests", expected: health.tests, found: Config.Healthcheck?.Test },
          { name: "healthcheck.interval", expected: nanoseconds(health.interval), found: Config.Healthcheck?.Interval },
          { name: "healthcheck.timeout", expected: nanoseconds(health.timeout), found: Config.Healthcheck?.Timeout },
          { name: "healthcheck.retries", expected: health.retries, found: Config.Healthcheck?.Retries },
          {
            name: "healthcheck.startPeriod",
            expected: nanoseconds(health.startPeriod),
            found: Config.Healthcheck?.StartPeriod,
          },
        ]),
  ];
}

/** By name; values are secrets, so of one that differs only the beginning of its hash is told. */
function environment(
  path: string,
  declared: string[],
  found: string[],
  fromImage: string[],
  repair: Repair,
): Finding[] {
  const [want, have, base] = [variables(declared), variables(found), variables(fromImage)];
  const expected = new Map([...base, ...want]);
  const findings: Finding[] = [];
  for (const [name, value] of expected) {
    const actual = have.get(name);
    const where = `${path}.environment.${name}`;
    if (actual === undefined) findings.push(error(where, "is not set, it should be", repair));
    else if (actual !== value) {
      findings.push(error(where, `has another value (${hash(actual)}) than it should (${hash(value)})`, repair));
    }
  }
  for (const name of have.keys()) {
    if (!expected.has(name)) findings.push(error(`${path}.environment.${name}`, "is set, it should not be", repair));
  }
  return findings;
}

function hash(value: string): string {
  return `sha256 ${sha256(value).slice(0, 8)}…`;
}

/** Docker's durations such as `10s`, in its own unit. */
function nanoseconds(duration: string): number {
  return Number.parseInt(duration, 10) * 1e9;
}
