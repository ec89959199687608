import { readFileSync } from "node:fs";

/** The installed version of a direct dependency, without a leading `v`. package.json is the only place that pins it. */
export function npmVersion(packageName: string): string {
  const manifest = new URL(`../../node_modules/${packageName}/package.json`, import.meta.url);
  return (JSON.parse(readFileSync(manifest, "utf8")) as { version: string }).version;
}
