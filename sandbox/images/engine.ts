import Docker from "dockerode";
import { followReport } from "../docker.ts";

const docker = new Docker();

/** Builds the folder's Dockerfile, and reports each step to `onProgress`. */
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
  await followReport(report, (event) => {
    if (event.stream?.startsWith("Step ")) onProgress(event.stream.trim());
  });
}

/** Pushes an image under another name and returns its digest in that registry, `sha256:...`. */
export async function pushImage(name: string, repo: string, tag: string): Promise<string> {
  await docker.getImage(name).tag({ repo, tag });
  const pushed = docker.getImage(`${repo}:${tag}`);
  try {
    let digest: string | undefined;
    // The engine needs credentials even for a registry that does not.
    const report = await pushed.push({ authconfig: { username: "", password: "", serveraddress: "" } });
    await followReport(report, (event) => {
      digest ??= event.aux?.Digest;
    });
    if (digest === undefined) throw new Error(`${repo}:${tag}: pushed, but the engine reported no digest`);
    return digest;
  } finally {
    await pushed.remove();
  }
}
