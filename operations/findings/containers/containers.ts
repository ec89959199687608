import { isDeepStrictEqual } from "node:util";

import type { Resource, State } from "../../state.ts";
import { beside, type Engine, type Property } from "./configuration.ts";
import type { Container, Declared, Image } from "./docker.ts";
import { compareHealth } from "./health.ts";
import { json, lines, sha256, variables } from "../facts.ts";
import { type Finding, findingsBy, missing, undeclared } from "../finding.ts";
import { newContainer, newVersion, refresh, type Repair, RUN_HOST } from "../repair.ts";
import type { Inside } from "../inside.ts";
import { appOf, CONTAINERS, ID, jobOf, RESOURCES, taskOf, TYPES } from "../../../contract/names.ts";

const { error, warning } = findingsBy("docker.containers", "containers");

/** A backend image that did not serve, so that the upgrade to it was undone. */
interface Refused {
  image: string;
  /** And what to do. */
  why: string;
}

/** Compares the containers that Docker has with those that are declared. */
export function compareContainers(state: State, inside: Inside): Finding[] {
  const containers = json<Container[]>(inside, "docker.containers");
  const images = json<Image[]>(inside, "docker.images") ?? [];
  const engine = json<Engine>(inside, "docker.info") ?? {};
  const starved = lines(inside, "docker.out_of_memory");
  const [image, why = ""] = lines(inside, "docker.refused");
  const refused: Refused | undefined = image === undefined ? undefined : { image, why };
  if (containers === undefined) {
    return [error("docker", missing("does not answer, so its containers could not be checked"), RUN_HOST)];
  }
  const declared = state.all(TYPES.container);
  const names = declared.map(({ inputs }) => String(inputs["name"]));
  return [
    ...declared.flatMap((resource) => compareContainer(state, resource, containers, images, engine, starved, refused)),
    ...containers
      .map(({ Name }) => Name.replace(/^\//, ""))
      .filter((name) => !names.includes(name))
      .map((name) =>
        isInstances(name)
          ? error(
              `containers.${name}`,
              undeclared("is on the droplet but not in the stack's state"),
              name === CONTAINERS.backend && refused !== undefined ? { why: refused.why } : { up: [] },
            )
          : (leftOver(name) ??
            once(name) ??
            warning(`containers.${name}`, undeclared("is not one of this stack's, it should not be here"), {
              why: "remove it if nobody needs it, or ignore it with driftIgnore",
              command: `docker rm --force ${name}`,
            })),
      ),
  ];
}

/** Of an app: a version that a run has made and could not remove, because it was killed. It answers other apps by the app's name. */
function leftOver(name: string): Finding | undefined {
  const app = appOf(ID, name);
  if (app === undefined) return undefined;
  return findingsBy("docker.containers", "apps").error(
    `containers.${name}`,
    undeclared(`is a version of app ${app} that is not in the stack's state: a run was killed`),
    { why: "remove it", command: `docker rm --force ${name}` },
  );
}

/** A task or a job. It ends by itself; a task also with the connection of whoever has started it. */
function once(name: string): Finding | undefined {
  const [app, job] = [taskOf(ID, name), jobOf(ID, name)];
  const { notice } = findingsBy("docker.containers", "apps");
  if (app !== undefined) {
    return notice(`containers.${name}`, undeclared(`is a command that somebody runs for app ${app}, it should end`), {
      why: "wait for its end, or stop it",
      command: `docker stop ${name}`,
    });
  }
  if (job === undefined) return undefined;
  return notice(`containers.${name}`, undeclared(`is job ${job}, which a run has started and not seen to its end`), {
    why: "the next up goes on with it; if the job is not wanted any more, remove it",
    command: `docker rm --force ${name}`,
  });
}

function compareContainer(
  state: State,
  { name: logical, inputs }: Resource,
  containers: Container[],
  images: Image[],
  engine: Engine,
  starved: string[],
  refused: Refused | undefined,
): Finding[] {
  const declared = inputs as unknown as Declared;
  const path = `containers.${declared.name}`;
  // Another container would not help.
  const isRefused =
    logical === RESOURCES.backend && refused !== undefined && digestOf(refused.image) === digestOf(declared.image);
  // Another version takes the place of an app's container without a gap.
  const app = appOf(ID, declared.name);
  const repair = app === undefined ? newContainer(logical) : newVersion(logical);
  const container = containers.find(({ Name }) => Name === `/${declared.name}`);
  if (container === undefined) return [error(path, missing("is not there, it should run"), refresh(logical))];
  const image = images.find(({ Id }) => Id === container.Image);
  return [
    ...compareHealth(state, container, declared, starved.includes(declared.name), repair),
    ...[...properties(declared, container, image), ...beside(container, image, engine, declared)].flatMap(
      ({ name, expected, found }) =>
        // If the kernel cannot limit memory, Docker drops the limits.
        isDeepStrictEqual(found, expected) || (engine.MemoryLimit === false && name.startsWith("memory"))
          ? []
          : [error([path, name], { expected, found }, isRefused && name === "image" ? { why: refused.why } : repair)],
    ),
    ...environment(path, declared.envs, container.Config.Env ?? [], image?.Config.Env ?? [], repair),
  ];
}

/**
 * Whether a container has the name of one of the instance's, also if it is not in the state: the next `up` takes its place. While an
 * upgrade is undone, there is also the refused one.
 */
export function isInstances(name: string): boolean {
  return Object.values(CONTAINERS).includes(name.replace(/-refused$/, ""));
}

function digestOf(reference: string): string {
  return reference.slice(reference.indexOf("@") + 1);
}

/** Each declared property, with Docker's value. */
function properties(
  declared: Declared,
  { Id, Name, Config, HostConfig, Image: id, Mounts, NetworkSettings }: Container,
  image?: Image,
): Property[] {
  const digest = digestOf(declared.image);
  const found = (image?.RepoDigests ?? []).map(digestOf);
  const health = declared.healthcheck;
  return [
    { name: "image", expected: digest, found: found.includes(digest) ? digest : (found[0] ?? id) },
    { name: "restart", expected: declared.restart, found: HostConfig.RestartPolicy.Name },
    { name: "stopSignal", expected: declared.stopSignal ?? image?.Config["StopSignal"], found: Config.StopSignal },
    { name: "stopTimeout", expected: declared.stopTimeout, found: Config.StopTimeout },
    { name: "logDriver", expected: declared.logDriver, found: HostConfig.LogConfig.Type },
    { name: "logOpts", expected: declared.logOpts, found: HostConfig.LogConfig.Config },
    { name: "memory", expected: declared.memory, found: HostConfig.Memory / 1024 ** 2 },
    { name: "memorySwap", expected: declared.memorySwap, found: HostConfig.MemorySwap / 1024 ** 2 },
    {
      name: "ports",
      expected: (declared.ports ?? [])
        .map(({ internal, external, ip }) => `${ip}:${external}->${internal}/tcp`)
        .toSorted(),
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
        .map(({ hostPath, containerPath, readOnly }) => `${hostPath}:${containerPath}${readOnly === true ? ":ro" : ""}`)
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
      // Earlier releases also list the container's own id and name.
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

/** A mount in a declaration's form, with modes that a declaration would not have. */
function place({ Type, Source, Destination, RW, Propagation = "" }: Container["Mounts"][number]): string {
  const modes = [RW ? "" : "ro", Propagation === "rprivate" ? "" : Propagation, Type === "bind" ? "" : Type];
  return [Source, Destination, ...modes.filter((mode) => mode !== "")].join(":");
}

/** Whether Docker made this volume itself, for a folder that the image declares as a volume and where nothing is mounted. */
function isImages({ Type, Name = "", Destination }: Container["Mounts"][number], image?: Image): boolean {
  return Type === "volume" && /^[0-9a-f]{64}$/.test(Name) && Destination in (image?.Config.Volumes ?? {});
}

/** Compares variables by name. Values are secrets, so a finding shows only the beginning of a hash. */
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
    const where = [`${path}.environment`, name] as const;
    if (actual === undefined) findings.push(error(where, missing("is not set, it should be"), repair));
    else if (actual !== value) {
      const [expected, found] = [hash(value), hash(actual)];
      const message = `has another value (${found}) than it should (${expected})`;
      findings.push(error(where, { expected, found, message }, repair));
    }
  }
  for (const name of have.keys()) {
    if (expected.has(name)) continue;
    findings.push(error([`${path}.environment`, name], undeclared("is set, it should not be"), repair));
  }
  return findings;
}

function hash(value: string): string {
  return `sha256 ${sha256(value).slice(0, 8)}…`;
}

/** A duration of Docker, such as `10s`, in nanoseconds. */
function nanoseconds(duration: string): number {
  return Number.parseInt(duration, 10) * 1e9;
}
