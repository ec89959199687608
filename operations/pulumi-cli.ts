import { createRequire } from "node:module";

/** The CLI that the launcher of the npm package would start; it is downloaded if it is missing. */
export async function findCli(): Promise<string> {
  const launcher = createRequire(import.meta.url)("pulumi/lib/resolve.js") as { resolve: () => Promise<string> };
  return launcher.resolve();
}
