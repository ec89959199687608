import { existsSync } from "node:fs";
import path from "node:path";

import { npmVersion } from "./npm-version.ts";

/**
 * The official plugin of this name, where one was put: the path of its executable, at the version of the npm SDK, in the
 * folder that `CONVEX_DROPLET_ORIGINALS` names. The folder is laid out as `PULUMI_HOME/plugins` and need not hold all of
 * them; a plugin that is not there, or there at another version only, is undefined.
 */
export function originalPlugin(name: string): string | undefined {
  return original(`resource-${name}-v${npmVersion(`@pulumi/${name}`)}`, `pulumi-resource-${name}`);
}

/** The official Node language host, where one was put in the same folder. */
export function originalLanguageHost(): string | undefined {
  return original("pulumi-language-nodejs");
}

function original(...names: string[]): string | undefined {
  const folder = process.env["CONVEX_DROPLET_ORIGINALS"];
  if (!folder) return undefined;
  const file = path.resolve(folder, ...names);
  return existsSync(file) ? file : undefined;
}
