import { isDeepStrictEqual } from "node:util";

import { findDroplet } from "../droplet.ts";
import type { Resource, State } from "../state.ts";
import { type Engine, type Property, undeclared } from "./configuration.ts";
import { json, lines, sha256, variables } from "./facts.ts";
import { error, type Finding, newContainer, refresh, type Repair, should, warning } from "./finding.ts";
import type { Inside } from "./inside.ts";
import { pulumiCommand } from "../typed.ts";
import { RESOURCES, TYPES } from "../../contract/names.ts";

/** What `docker inspect` says of a container; all of it is compared, these are the parts that are named here. */
export interface Container {
  Id: string;
  Name: string;
  Image: string;
  RestartCount: number;
  State: {
    Status: string;
    ExitCode: number;
    OOMKilled: boolean;
    Health?: { Status: string };
  };
  Mounts: { Type: string; Name?: string; Source: string; Destination: string; RW: boolean; Propagation?: string }[];
  Config: Record<string, unknown> & {
    Env: string[] | null;
    StopSignal?: string;
    StopTimeout?: number;
    Healthcheck?: { Test?: string[]; Interval?: number; Timeout?: number; Retries?: number; StartPeriod?: number };
  };
  HostConfig: Record<string, unknown> & {
    PortBindings: Record<string, { HostIp: string; HostPort: string }[]> | null;
    RestartPolicy: { Name: string; MaximumRetryCount?: number };
    LogConfig: { Type: string; Config: Record<string, string> };
    Memory: number;
    MemorySwap: number;
    ExtraHosts: string[] | null;
  };
  NetworkSettings: { Networks: Record<string, Endpoint> };
}

interface Endpoint {
  Aliases: string[] | null;
  IPAMConfig: object | null;
  Links: string[] | null;
  DriverOpts?: object | null;
}

export interface Image {
  Id: string;
  RepoDigests: string[] | null;
  Config: Record<string, unknown> & { Env?: string[] | null; Volumes?: Record<string, object> | null };
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
  networksAdvanced: { name: string; aliases?: string[] }[];
  healthcheck?: { tests: string[]; interval: string; timeout: string; retries: number; startPeriod: string };
}

/** The containers as Docker runs them, against those that are declared. */
export function compareContainers(state: State, inside: Inside): Finding[] {
  const containers = json<Container[]>(inside, "docker.containers");
  const images = json<Image[]>(inside, "docker.images") ?? [];
  const engine = json<Engine>(inside, "docker.info") ?? {};
  const starved = lines(inside, "docker.out_of_memory");
  if (containers === undefined) {
    return [error("docker", "does not answer, so nothing is known of its containers", { up: [RESOURCES.setup] })];
  }
  const declared = state.all(TYPES.container);
  const names = declared.map(({ inputs }) => String(inputs["name"]));
  return [
    ...declared.flatMap((resource) => compareContainer(state, resource, containers, images, engine, starved)),
    ...containers
      .map(({ Name }) => Name.replace(/^\//, ""))
      .filter((name) => !names.includes(name))
      .map((name) =>
        warning(`containers.${name}`, "is not one of this stack's, it should not be here", {
          why: "remove it if nobody needs it, or ignore it with --ignore",
          command: `docker rm --force ${name}`,
        }),
      ),
  ];
}

function compareContainer(
  state: State,
  { name: logical, inputs }: Resource,
  containers: Container[],
  images: Image[],
  engine: Engine,
  starved: string[],
): Finding[] {
  const declared = inputs as unknown as Declared;
  const path = `containers.${declared.name}`;
  const repair = newContainer(logical);
  const container = containers.find(({ Name }) => Name === `/${declared.name}`);
  if (container === undefined) return [error(path, "is not there, it should run", refresh(logical))];
  const image = images.find(({ Id }) => Id === container.Image);
  return [
    ...(outOfMemory(path, state, container, declared, starved) ?? health(path, container, repair)),
    ...[...properties(declared, container, image), ...undeclared(container, image, engine, declared)].flatMap(
      ({ name, expected, found }) =>
        // Where the kernel cannot limit memory, Docker drops the limits.
        isDeepStrictEqual(found, expected) || (engine.MemoryLimit === false && name.startsWith("memory"))
          ? []
          : [error(`${path}.${name}`, should(found, expected), repair)],
    ),
    ...environment(path, declared.envs, container.Config.Env ?? [], image?.Config.Env ?? [], repair),
  ];
}

/**
 * Of a container that is killed for memory again and again. The kernel kills with signal 9; so does a person, but then
 * Docker does not start it again by itself.
 */
function outOfMemory(
  path: string,
  state: State,
  { State: { OOMKilled, ExitCode, Status }, RestartCount }: Container,
  { name, memory }: Declared,
  starved: string[],
): Finding[] | undefined {
  const KILLED = 137;
  const isNamed = OOMKilled || starved.includes(name);
  if (RestartCount === 0 || !(isNamed || ExitCode === KILLED)) return undefined;
  const machine = Number(findDroplet(state)?.outputs["memory"] ?? 0);
  const what = isNamed
    ? "was killed for memory"
    : `ended with ${KILLED}, as the kernel ends what needs too much memory`;
  const times = `${RestartCount} time${RestartCount > 1 ? "s" : ""}, it is ${Status}`;
  const message = `${what} (${times}): it needs more than its limit of ${memory} MiB, of the droplet's ${machine} MiB`;
  const why =
    "give the droplet a larger size, the limit is a share of its memory: " +
    `${pulumiCommand(state.stack, "config set", `size ${nextSize(machine)}`)} && ${pulumiCommand(state.stack, "up")}; ` +
    "see what it did last";
  return [error(`${path}.memory`, message, { why, command: `docker logs --tail 50 ${name}` })];
}

/** DigitalOcean's basic sizes, by their memory in MiB. */
const SIZES: [memoryMb: number, slug: string][] = [
  [2048, "s-1vcpu-2gb"],
  [4096, "s-2vcpu-4gb"],
  [8192, "s-4vcpu-8gb"],
  [16_384, "s-8vcpu-16gb"],
  [32_768, "m-4vcpu-32gb"],
];

/** The first with at least half as much again. */
function nextSize(memoryMb: number): string {
  return SIZES.find(([size]) => size > memoryMb * 1.5)?.[1] ?? "of a larger kind";
}

function health(path: string, { State, RestartCount }: Container, repair: Repair): Finding[] {
  const findings: Finding[] = [];
  if (State.Status === "paused") {
    const unpause = { why: "let it go on", command: `docker unpause ${path.split(".").at(-1) ?? ""}` };
    findings.push(error(`${path}.state`, should("paused", "running"), unpause));
  } else if (State.Status !== "running") {
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

/** Each property that is declared, beside what Docker has for it. */
function properties(
  declared: Declared,
  { Id, Name, Config, HostConfig, Image: id, Mounts, NetworkSettings }: Container,
  image?: Image,
): Property[] {
  const digest = declared.image.slice(declared.image.indexOf("@") + 1);
  const found = (image?.RepoDigests ?? []).map((reference) => reference.slice(reference.indexOf("@") + 1));
  const health = declared.healthcheck;
  return [
    { name: "image", expected: digest, found: found.includes(digest) ? digest : (found[0] ?? id) },
    { name: "restart", expected: declared.restart, found: HostConfig.RestartPolicy.Name },
    { name: "stopSignal", expected: declared.stopSignal, found: Config.StopSignal },
    { name: "stopTimeout", expected: declared.stopTimeout, found: Config.StopTimeout },
    { name: "logDriver", expected: declared.logDriver, found: HostConfig.LogConfig.Type },
    { name: "logOpts", expected: declared.logOpts, found: HostConfig.LogConfig.Config },
    { name: "memory", expected: declared.memory, found: HostConfig.Memory / 1024 ** 2 },
    { name: "memorySwap", expected: declared.memorySwap, found: HostConfig.MemorySwap / 1024 ** 2 },
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
      found: Mounts.filter((mount) => !isImages(mount, image))
        .map(place)
        .toSorted(),
    },
    { name: "restart.maximum", expected: 0, found: HostConfig.RestartPolicy.MaximumRetryCount ?? 0 },
    {
      name: "networks",
      expected: declared.networksAdvanced.map(({ name }) => name).toSorted(),
      found: Object.keys(NetworkSettings.Networks).toSorted(),
    },
    ...declared.networksAdvanced.map(({ name, aliases = [] }) => ({
      name: `networks.${name}.aliases`,
      expected: aliases.toSorted(),
      // Earlier releases list what the container is called anyway, too.
      found: (NetworkSettings.Networks[name]?.Aliases ?? [])
        .filter((alias) => alias !== Id.slice(0, 12) && `/${alias}` !== Name)
        .toSorted(),
    })),
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

/** As a declaration would have it, with what it would not. */
function place({ Type, Source, Destination, RW, Propagation = "" }: Container["Mounts"][number]): string {
  const modes = [RW ? "" : "ro", Propagation === "rprivate" ? "" : Propagation, Type === "bind" ? "" : Type];
  return [Source, Destination, ...modes.filter((mode) => mode !== "")].join(":");
}

/** Docker gives a folder that an image keeps apart a volume of its own, where nothing else is mounted. */
function isImages({ Type, Name = "", Destination }: Container["Mounts"][number], image?: Image): boolean {
  return Type === "volume" && /^[0-9a-f]{64}$/.test(Name) && Destination in (image?.Config.Volumes ?? {});
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
