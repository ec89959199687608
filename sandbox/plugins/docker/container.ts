import type Docker from "dockerode";
import { resource, type Context } from "../framework/definition.ts";
import { failed, InitError, messageOf } from "../framework/errors.ts";
import type { Clock } from "../framework/state-change.ts";
import { containerInputs, containerOutputs, type ContainerProperties } from "./container-properties.ts";
import { createOptions, resourceOptions } from "./container-spec.ts";
import { readState, type Inspected } from "./container-state.ts";
import { type Client, isNotFound } from "./daemon.ts";
import { findOrPullImage } from "./image.ts";

/** What an update applies; anything else it is shown and leaves as it is. */
const APPLIED = ["restart", "maxRetryCount", "memory", "memoryReservation", "memorySwap", "cpuSet", "cpuShares"];

export const container = resource<Client>()({
  inputs: containerInputs,
  outputs: containerOutputs,
  deleteBeforeReplace: true,

  create: async (context, properties) => {
    const docker = await context.client.daemon.client();
    await findOrPullImage(docker, properties.image, context.signal).catch(
      failed(`Unable to create container with image ${properties.image}`),
    );
    const created = await docker.createContainer(createOptions(properties)).catch(failed("Unable to create container"));
    try {
      await connectNetworks(docker, created, properties);
      if (properties.start) {
        await created.start().catch(failed("Unable to start container"));
        await waitUntilUp(context, created, properties);
      }
      return { id: created.id, outputs: await stateOf(docker, created, properties) };
    } catch (error) {
      const known = await stateOf(docker, created, properties).catch(() => ({}));
      throw new InitError(created.id, known, messageOf(error), { cause: error });
    }
  },

  read: async ({ client }, { id, state }) => {
    const docker = await client.daemon.client();
    try {
      const found = await stateOf(docker, docker.getContainer(id), state);
      const stopped = found.exitCode !== undefined && state.mustRun === true;
      return { ...found, ...(stopped ? { mustRun: false } : {}) };
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  },

  update: async ({ client }, { id, state }, properties, changed) => {
    const docker = await client.daemon.client();
    const existing = docker.getContainer(id);
    if (APPLIED.some((name) => changed.has(name))) {
      await existing.update(resourceOptions(properties)).catch(failed("Unable to update a container"));
    }
    if (properties.mustRun && state.mustRun === false) {
      await existing.start().catch(failed("Unable to start container"));
    }
    const live = await stateOf(docker, existing, properties);
    return Object.fromEntries(Object.entries(live).filter(([name]) => !(name in properties)));
  },

  delete: async ({ client, signal }, { id, state }) => {
    // The engine removes it by itself.
    if (state.rm === true) return;
    const docker = await client.daemon.client();
    const existing = docker.getContainer(id);
    try {
      await stop(existing, state.destroyGraceSeconds ?? 0, signal);
      await existing.remove({ v: state.removeVolumes ?? true, force: true });
    } catch (error) {
      if (!isNotFound(error)) failed(`Error deleting container ${id}`)(error);
    }
  },
});

/**
 * An engine on a computer without the means to limit memory drops the limits it is given, and says so. What was asked for
 * is kept then; the official plugin would want to set the limits again in every run.
 */
async function stateOf(
  docker: Docker,
  container: Docker.Container,
  { memory, memorySwap }: Partial<Pick<ContainerProperties, "memory" | "memorySwap">>,
) {
  const [found, engine] = await Promise.all([inspect(container), docker.info() as Promise<{ MemoryLimit: boolean }>]);
  const state = readState(found);
  return engine.MemoryLimit ? state : { ...state, memory, memorySwap };
}

/** The declarations call it a promise of anything. */
async function inspect(container: Docker.Container): Promise<Inspected> {
  return (await container.inspect()) as Inspected;
}

/** With networks of its own the container leaves the one it was born in. */
async function connectNetworks(
  docker: Docker,
  created: Docker.Container,
  { networksAdvanced, networkMode }: ContainerProperties,
): Promise<void> {
  if (!networksAdvanced?.length) return;
  await docker
    .getNetwork(networkMode)
    .disconnect({ Container: created.id })
    .catch(failed("Unable to disconnect the default network"));
  for (const { name, aliases, ipv4Address } of networksAdvanced) {
    await docker
      .getNetwork(name)
      .connect({
        Container: created.id,
        EndpointConfig: {
          ...(aliases === undefined ? {} : { Aliases: aliases }),
          ...(ipv4Address === undefined ? {} : { IPAMConfig: { IPv4Address: ipv4Address } }),
        },
      })
      .catch(failed(`Unable to connect to network '${name}'`));
  }
}

/** Waits until the container is healthy when that is asked for, else looks whether it ended at once. */
async function waitUntilUp(
  { client: { clock }, signal }: Context<Client>,
  created: Docker.Container,
  { wait, waitTimeout, mustRun }: ContainerProperties,
): Promise<void> {
  if (wait) {
    await waitUntilHealthy(created, waitTimeout, clock, signal);
    return;
  }
  await clock.sleep(100, signal);
  const { State: state } = await inspect(created);
  if (mustRun && !state.Running) throw new Error(`container exited immediately with code ${state.ExitCode}`);
}

/** Looks each second until `seconds` have passed, also at one that is unhealthy: it may recover. */
async function waitUntilHealthy(
  created: Docker.Container,
  seconds: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const deadline = clock.now() + seconds * 1000;
  for (;;) {
    const { State: state } = await inspect(created);
    if (state.Health?.Status === "healthy") return;
    if (state.Health === undefined) {
      throw new Error("container failed to be in healthy state: wait needs a healthcheck, the container has none");
    }
    const left = deadline - clock.now();
    if (left <= 0) throw new Error("container failed to be in healthy state");
    await clock.sleep(Math.min(1000, left), signal);
  }
}

/** Asks it to stop and kills it after the grace time; without one it is killed at once, whatever its `stopTimeout`. */
async function stop(container: Docker.Container, graceSeconds: number, signal: AbortSignal): Promise<void> {
  try {
    await container.stop({ t: graceSeconds, abortSignal: signal });
  } catch (error) {
    // 304: it is stopped already.
    if ((error as { statusCode?: number }).statusCode !== 304) throw error;
  }
}
