import type Docker from "dockerode";
import { resource, unsupported } from "../framework/definition.ts";
import { type Client, failed } from "./daemon.ts";
import { findImage, findOrPullImage, repoDigest } from "./image.ts";

const stateOf = (image: Docker.ImageInspectInfo, name: string) => ({
  imageId: image.Id,
  repoDigest: repoDigest(image, name),
});

async function findOrPull({ daemon, credentials }: Client, name: string, signal: AbortSignal) {
  const image = await findOrPullImage(await daemon.client(), name, credentials, signal).catch(
    failed("Unable to read Docker image into resource"),
  );
  return stateOf(image, name);
}

export const remoteImage = resource<Client>()({
  inputs: {
    name: { type: "string", required: true, replaces: true },
    triggers: { type: "map", items: { type: "string" }, replaces: true },
    pullTriggers: { type: "set", items: { type: "string" }, replaces: true },
    /** Whether a delete keeps the image in the engine. */
    keepLocally: { type: "boolean" },
    forceRemove: { type: "boolean" },
    ...unsupported("build", "platform"),
  },
  outputs: {
    /** `sha256:…` of the image as this engine stores it. */
    imageId: { type: "string" },
    /** `name@sha256:…`, the same on every engine. */
    repoDigest: { type: "string" },
  },

  create: async ({ client, signal }, { name }) => {
    const outputs = await findOrPull(client, name, signal);
    return { id: `${outputs.imageId}${name}`, outputs };
  },

  read: async ({ client }, { state }) => {
    const name = state.name ?? "";
    const image = await findImage(await client.daemon.client(), name);
    return image && stateOf(image, name);
  },

  // Changes in place only matter for the delete, but an update pulls a missing image again.
  update: ({ client, signal }, _existing, { name }) => findOrPull(client, name, signal),

  delete: async ({ client }, { state }) => {
    if (state.keepLocally === true) return;
    const name = state.name ?? "";
    const docker = await client.daemon.client();
    if ((await findImage(docker, name)) === undefined) return;
    await docker
      .getImage(name)
      .remove({ force: state.forceRemove ?? false })
      .catch(failed("Unable to remove Docker image"));
  },
});
