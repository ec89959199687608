import { existsSync } from "node:fs";
import path from "node:path";

import { npmVersion } from "./npm-version.ts";

/**
 * The official plugin of this name, at the version of the npm SDK, in the folder that `CONVEX_DROPLET_ORIGINALS` names.
 * The folder is laid out like `PULUMI_HOME/plugins`, and need not contain all plugins.
 *
 * @returns the path of its executable, or undefined if that version is not there
 */
export function originalPlugin(name: string): string | undefined {
  return original(`resource-${name}-v${npmVersion(`@pulumi/${name}`)}`, `pulumi-resource-${name}`);
}

/** The official Node language host, if it is in the same folder. */
export function originalLanguageHost(): string | undefined {
  return original("pulumi-language-nodejs");
}

function original(...names: string[]): string | undefined {
  const folder = process.env["CONVEX_DROPLET_ORIGINALS"];
  if (!folder) return undefined;
  const file = path.resolve(folder, ...names);
  return existsSync(file) ? file : undefined;
}
