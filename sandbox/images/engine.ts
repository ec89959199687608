import { buffer } from "node:stream/consumers";
import { createReadStream } from "node:fs";
import Docker from "dockerode";
import { hasStatus } from "../droplet/docker-error.ts";

const docker = new Docker();

export async function hasImage(name: string): Promise<boolean> {
  try {
    await docker.getImage(name).inspect();
    return true;
  } catch (error) {
    if (hasStatus(error, 404)) return false;
    throw error;
  }
}

/** Makes an image of one layer out of a root file system's tar archive. */
export async function importImage(archive: string, repo: string, tag: string): Promise<void> {
  // The import is done when its report ends.
  await buffer(await docker.importImage(createReadStream(archive), { repo, tag }));
}

/** Builds the folder's Dockerfile. Each step goes to `onProgress`. */
export async function buildImage(
  folder: string,
  name: string,
  args: Record<string, string>,
  onProgress: (step: string) => void,
): Promise<void> {
  const report = await docker.buildImage(
    { context: folder, src: ["."] },
    { t: name, buildargs: args, networkmode: "none", rm: true, forcerm: true },
  );
  await follow(report, (event) => {
    if (event.stream?.startsWith("Step ")) onProgress(event.stream.trim());
  });
}

/** Pushes an image under another name and returns its digest in that registry, `sha256:...`. */
export async function pushImage(name: string, repo: string, tag: string): Promise<string> {
  await docker.getImage(name).tag({ repo, tag });
  const pushed = docker.getImage(`${repo}:${tag}`);
  try {
    let digest: string | undefined;
    // The engine wants credentials even for a registry that asks for none.
    const report = await pushed.push({ authconfig: { username: "", password: "", serveraddress: "" } });
    await follow(report, (event) => {
      digest ??= event.aux?.Digest;
    });
    if (digest === undefined) throw new Error(`${repo}:${tag}: pushed, but the engine told no digest`);
    return digest;
  } finally {
    await pushed.remove();
  }
}

interface EngineEvent {
  stream?: string;
  error?: string;
  aux?: { Digest?: string };
}

async function follow(report: NodeJS.ReadableStream, onEvent: (event: EngineEvent) => void): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    docker.modem.followProgress(
      report,
      (error) => {
        if (error) reject(error);
        else resolve();
      },
      (event: EngineEvent) => {
        if (event.error !== undefined) reject(new Error(event.error));
        else onEvent(event);
      },
    );
  });
}
