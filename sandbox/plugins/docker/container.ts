import type Docker from "dockerode";
import { type Change, resource } from "../framework/definition.ts";
import { InitError, messageOf } from "../framework/errors.ts";
import type { Clock } from "../framework/state-change.ts";
import { containerInputs, containerOutputs, type ContainerProperties } from "./container-properties.ts";
import { createOptions, resourceOptions } from "./container-spec.ts";
import { readState, type Inspected } from "./container-state.ts";
import { type Client, failed, isNotFound } from "./daemon.ts";
import { findOrPullImage } from "./image.ts";

/** The properties that an update changes; changes of others are shown, but have no effect. */
const APPLIED = ["restart", "maxRetryCount", "memory", "memoryReservation", "memorySwap", "cpuSet", "cpuShares"];

/** The lists that the engine fills in if the program does not set them, and whether a change of them replaces the container. */
const FILLED_IN = { command: true, entrypoints: true, networkDatas: false };

export const container = resource<Client>()({
  inputs: containerInputs,
  outputs: containerOutputs,
  deleteBeforeReplace: true,

  // After a create that failed, the state has only the inputs. Of what the engine fills in, the official plugin misses the
  // lists, so without a refresh the next run replaces the container, unless the program sets them.
  diff: (changes, olds, news) => {
    if (olds["networkDatas"] !== undefined) return changes;
    const missing = Object.entries(FILLED_IN).filter(([path]) => news[path] === undefined);
    return [...changes, ...missing.map(([path, replaces]): Change => ({ path, kind: "add", replaces }))];
  },

  create: async (context, properties) => {
    const docker = await context.client.daemon.client();
    await findOrPullImage(docker, properties.image, context.client.credentials, context.signal).catch(
      failed(`Unable to create container with image ${properties.image}`),
    );
    const created = await docker.createContainer(createOptions(properties)).catch(failed("Unable to create container"));
    try {
      await connectNetworks(docker, created, properties);
      if (properties.start) {
        await created.start().catch(failed("Unable to start container"));
        const { clock } = context.client;
        if (properties.wait) await waitUntilHealthy(created, properties.waitTimeout, clock, context.signal);
      }
      return { id: created.id, outputs: await stateOf(created, properties) };
    } catch (error) {
      throw new InitError(created.id, {}, messageOf(error), { cause: error });
    }
  },

  read: async ({ client }, { id, state }) => {
    const docker = await client.daemon.client();
    try {
      return await stateOf(docker.getContainer(id), state);
    } catch (error) {
      if (isNotFound(error)) return undefined;
      throw error;
    }
  },

  update: async ({ client }, { id, state }, properties, changed) => {
    const docker = await client.daemon.client();
    const existing = docker.getContainer(id);
    if (properties.mustRun && state.mustRun === false && properties.start) {
      await existing.start().catch(failed("Unable to start container"));
    }
    if (APPLIED.some((name) => changed.has(name))) {
      await existing.update(resourceOptions(properties)).catch(failed("Unable to update a container"));
    }
    // Nothing is read after the update: the new inputs are the state.
    return {};
  },

  delete: async ({ client, signal }, { id, state }) => {
    const docker = await client.daemon.client();
    const existing = docker.getContainer(id);
    await stop(existing, state.destroyGraceSeconds ?? 0, signal).catch(unlessGone(`Error stopping container ${id}`));
    await existing
      .remove({ v: state.removeVolumes ?? true, force: true })
      .catch(unlessGone(`Error deleting container ${id}`));
    await existing.wait({ condition: state.rm === true ? "removed" : "not-running" }).catch((error: unknown) => {
      unlessGone(`Error waiting for container removal '${id}'`)(error);
    });
  },
});

/** A container that is gone or being removed counts as deleted. */
function unlessGone(doing: string): (error: unknown) => void {
  return (error) => {
    if (!isNotFound(error) && !messageOf(error).includes("is already in progress")) failed(doing)(error);
  };
}

async function stateOf(container: Docker.Container, known: Partial<Pick<ContainerProperties, "ports" | "mustRun">>) {
  return readState(await inspect(container), known);
}

/** dockerode's types declare a promise of any value. */
async function inspect(container: Docker.Container): Promise<Inspected> {
  return (await container.inspect()) as Inspected;
}

/** If the resource names networks, the container leaves the network of its creation. */
async function connectNetworks(
  docker: Docker,
  created: Docker.Container,
  { networksAdvanced }: ContainerProperties,
): Promise<void> {
  if (!networksAdvanced?.length) return;
  await docker
    .getNetwork("bridge")
    .disconnect({ Container: created.id })
    .catch((error: unknown) => {
      if (messageOf(error).includes("is not connected to the network bridge")) return;
      failed("Unable to disconnect the default network")(error);
    });
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

/** Checks every second for `seconds`, even if the container is unhealthy, because it may recover. */
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
      throw new Error(
        "you have supplied a 'wait' argument, but the container does not have a healthcheck defined. " +
          "Please remove the 'wait' argument or add a 'healthcheck' attribute",
      );
    }
    const left = deadline - clock.now();
    if (left <= 0) throw new Error("container failed to be in healthy state");
    await clock.sleep(Math.min(1000, left), signal);
  }
}

/** Stops the container, and kills it after the grace time; without one, kills it immediately, whatever its `stopTimeout`. */
async function stop(container: Docker.Container, graceSeconds: number, signal: AbortSignal): Promise<void> {
  try {
    await container.stop({ t: graceSeconds, abortSignal: signal });
  } catch (error) {
    // 304: it is already stopped.
    if ((error as { statusCode?: number }).statusCode !== 304) throw error;
  }
}
