import type Docker from "dockerode";
import { type Credentials, failed, isNotFound } from "./daemon.ts";

/** Finds an image by any reference (tag, digest, id); undefined if the engine does not have it. */
export async function findImage(docker: Docker, reference: string): Promise<Docker.ImageInspectInfo | undefined> {
  try {
    return await docker.getImage(reference).inspect();
  } catch (error) {
    if (isNotFound(error)) return undefined;
    throw error;
  }
}

/** Pulls the image, unless the engine has it; with the credentials for its registry, if there are some. */
export async function findOrPullImage(
  docker: Docker,
  reference: string,
  credentials: Credentials[],
  signal: AbortSignal,
): Promise<Docker.ImageInspectInfo> {
  if (reference === "") throw new Error("empty image name is not allowed");
  const present = await findImage(docker, reference);
  if (present !== undefined) return present;
  const given = credentials.find(({ address }) => withoutScheme(address) === registryOf(reference));
  await pull(docker, reference, given, signal);
  const pulled = await findImage(docker, reference);
  if (pulled === undefined) throw new Error(`unable to find or pull image ${reference}`);
  return pulled;
}

/** The registry in an image's reference; Docker's own one has no name there. */
export function registryOf(reference: string): string {
  const [first = "", ...rest] = reference.split("/");
  return rest.length > 0 && /[.:]|^localhost$/.test(first) ? first : "registry-1.docker.io";
}

function withoutScheme(address: string): string {
  return address.replace(/^https?:\/\//, "").replace(/\/.*$/, "");
}

async function pull(
  docker: Docker,
  reference: string,
  given: Credentials | undefined,
  signal: AbortSignal,
): Promise<void> {
  const authconfig = given && { username: given.username, password: given.password, serveraddress: given.address };
  try {
    const progress: NodeJS.ReadableStream = await docker.pull(reference, {
      abortSignal: signal,
      ...(authconfig && { authconfig }),
    });
    await new Promise<void>((resolve, reject) => {
      docker.modem.followProgress(progress, (error) => {
        if (error) reject(error);
        else resolve();
      });
    });
  } catch (error) {
    failed(`unable to pull image ${reference}`)(error);
  }
}

/** `name@sha256:…` of the image in the reference's repository; empty if it was never in a registry. */
export function repoDigest(image: Docker.ImageInspectInfo, reference: string): string {
  const digests = image.RepoDigests as string[] | null;
  const repository = reference.replace(/@.*$/, "").replace(/:[^/]*$/, "");
  return digests?.find((digest) => digest.startsWith(`${repository}@`)) ?? digests?.[0] ?? "";
}
