import path from "node:path";

/** The folder of the checkout's sandbox: the value of `CONVEX_DROPLET_SANDBOX`, `.sandbox` by default. */
export function folderOf(environment: NodeJS.ProcessEnv): string {
  // An empty value would name the current folder.
  return environment["CONVEX_DROPLET_SANDBOX"] || path.resolve(import.meta.dirname, "..", ".sandbox");
}

/** The folder of a sandbox in which Pulumi runs. */
export function projectIn(folder: string): string {
  return path.join(folder, "project");
}

/** The file with the settings of a sandbox's stack. */
export function stackFileIn(folder: string, stack: string): string {
  return path.join(projectIn(folder), `Pulumi.${stack}.yaml`);
}
