import { findDroplet } from "../../droplet.ts";
import type { State } from "../../state.ts";
import { pulumiCommand } from "../../../contract/commands.ts";
import { type Finding, findingsBy } from "../finding.ts";
import type { Repair } from "../repair.ts";
import type { Container, Declared } from "./docker.ts";
import { appOf, ID } from "../../../contract/names.ts";

const SOURCE = "docker.containers";

/**
 * Checks that a container runs and is healthy, and how often it has died.
 *
 * @param isStarved  whether Docker has reported that the kernel killed it for memory
 * @param repair     the repair if it does not run
 */
export function compareHealth(
  state: State,
  container: Container,
  declared: Declared,
  isStarved: boolean,
  repair: Repair,
): Finding[] {
  return (
    outOfMemory(state, container, declared, isStarved) ?? [
      ...running(container, declared, repair),
      ...restarts(container, declared),
    ]
  );
}

const KILLED = 137;

/**
 * Detects a container that is killed for memory again and again. The kernel kills with signal 9. A person may do that too,
 * but then Docker does not restart it.
 */
function outOfMemory(
  state: State,
  { State: { OOMKilled, ExitCode, Status }, RestartCount }: Container,
  { name, memory }: Declared,
  isStarved: boolean,
): Finding[] | undefined {
  const isNamed = OOMKilled || isStarved;
  if (RestartCount === 0 || !(isNamed || ExitCode === KILLED)) return undefined;
  const machine = Number(findDroplet(state)?.outputs["memory"] ?? 0);
  const what = isNamed
    ? "was killed for memory"
    : `ended with ${KILLED}, as the kernel ends what needs too much memory`;
  const times = `${RestartCount} time${RestartCount > 1 ? "s" : ""}, it is ${Status}`;
  const message = `${what} (${times}): it needs more than its limit of ${memory} MiB, of the droplet's ${machine} MiB`;
  const app = appOf(ID, name);
  const why = app === undefined ? largerDroplet(state, machine) : higherLimit(state, app, memory);
  const { error } = findingsBy(SOURCE, app === undefined ? "containers" : "apps");
  const where = [`containers.${name}`, "memory"] as const;
  return [
    error(where, { expected: memory, found: "not enough", message }, { why, command: `docker logs --tail 50 ${name}` }),
  ];
}

function higherLimit({ stack }: State, app: string, memory: number): string {
  const set = pulumiCommand(stack, "config set", `--path apps.${app}.memoryMb ${memory * 2}`);
  return `give it more: ${set} && ${pulumiCommand(stack, "up")}; see what it did last`;
}

function largerDroplet(state: State, machine: number): string {
  return (
    "give the droplet a larger size, the limit is a share of its memory: " +
    `${pulumiCommand(state.stack, "config set", `size ${nextSize(machine)}`)} && ${pulumiCommand(state.stack, "up")}; ` +
    "see what it did last"
  );
}

/** DigitalOcean's basic sizes, by their memory in MiB. */
const SIZES: [memoryMb: number, slug: string][] = [
  [2048, "s-1vcpu-2gb"],
  [4096, "s-2vcpu-4gb"],
  [8192, "s-4vcpu-8gb"],
  [16_384, "s-8vcpu-16gb"],
  [32_768, "m-4vcpu-32gb"],
];

/** The first size with more than 1.5 times the memory. */
function nextSize(memoryMb: number): string {
  return SIZES.find(([size]) => size > memoryMb * 1.5)?.[1] ?? "of a larger kind";
}

function running({ State }: Container, { name }: Declared, repair: Repair): Finding[] {
  // A container that does not run does not serve, so this finding belongs to the instance or the app, and not to Docker.
  const { error } = findingsBy(SOURCE, appOf(ID, name) === undefined ? "convex" : "apps");
  const [subject, found] = [`containers.${name}`, State.Status];
  if (found === "paused") {
    return [
      error(
        [subject, "state"],
        { expected: "running", found },
        { why: "continue it", command: `docker unpause ${name}` },
      ),
    ];
  }
  if (found !== "running") return [error([subject, "state"], { expected: "running", found }, repair)];
  const health = State.Health?.Status ?? "healthy";
  if (["healthy", "starting"].includes(health)) return [];
  return [error([subject, "health"], { expected: "healthy", found: health }, repair)];
}

function restarts({ RestartCount }: Container, { name }: Declared): Finding[] {
  if (RestartCount === 0) return [];
  const message = `has died ${RestartCount} time${RestartCount > 1 ? "s" : ""} since it was last started by hand`;
  return [
    findingsBy(SOURCE, "containers").notice(
      [`containers.${name}`, "restarts"],
      { expected: 0, found: RestartCount, message },
      { why: "see why it ended", command: `docker logs --tail 50 ${name}` },
    ),
  ];
}
