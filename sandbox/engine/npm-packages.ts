import { readdir, readFile } from "node:fs/promises";
import path from "node:path";

/** A provider plugin with an installed npm SDK. */
export interface RequiredPlugin {
  /** As in `pulumi-resource-<name>`. */
  name: string;
  /** With a leading `v`. */
  version: string;
  /** The download server; absent for the official one. */
  server?: string;
}

/** A package of the program's lock file. */
export interface Dependency {
  name: string;
  version: string;
}

/** The fields of a package.json that are used here. */
interface Manifest {
  name?: string;
  version?: string;
  pulumi?: { resource?: boolean; name?: string; version?: string; server?: string };
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
}

/**
 * The plugins that the packages under `node_modules` need, sorted, each once. Searches the program's folder and the
 * folders above it, as Node does for imports.
 */
export async function requiredPlugins(programDirectory: string): Promise<RequiredPlugin[]> {
  const manifests = await Promise.all(foldersUpFrom(programDirectory).map(installedManifests));
  const plugins = manifests.flat().flatMap((manifest) => pluginOf(manifest) ?? []);
  const byKey = new Map(plugins.map((plugin) => [`${plugin.name} ${plugin.version}`, plugin]));
  return [...byKey.keys()].sort().flatMap((key) => byKey.get(key) ?? []);
}

/**
 * The packages in the nearest package-lock.json, or only those that the package.json beside it names.
 *
 * @throws Error if neither the program's folder nor one above it has a lock file
 */
export async function programDependencies(programDirectory: string, transitive: boolean): Promise<Dependency[]> {
  for (const folder of foldersUpFrom(programDirectory)) {
    const lock = await readJson<{ packages?: Record<string, Manifest> }>(path.join(folder, "package-lock.json"));
    if (lock === undefined) continue;
    const manifest = (await readJson<Manifest>(path.join(folder, "package.json"))) ?? {};
    const direct = { ...manifest.dependencies, ...manifest.devDependencies };
    return Object.entries(lock.packages ?? {}).flatMap(([location, { version }]) => {
      const name = location.split("node_modules/").at(-1) ?? "";
      const wanted = transitive ? name !== "" : location === `node_modules/${name}` && name in direct;
      return wanted && version !== undefined ? [{ name, version }] : [];
    });
  }
  throw new Error(`no package-lock.json found (searching upwards from ${programDirectory})`);
}

function pluginOf({ name: packageName = "", version: packageVersion = "", pulumi }: Manifest) {
  if (pulumi?.resource !== true) return undefined;
  const name = pulumi.name ?? packageName.replace(/^@pulumi\//, "").replace(/^@/, "");
  const version = (pulumi.version ?? packageVersion).replace(/^v?/, "v");
  return { name, version, ...(pulumi.server !== undefined && { server: pulumi.server }) };
}

/** All packages installed below `folder`, including nested ones, without those that cannot be read. */
async function installedManifests(folder: string): Promise<Manifest[]> {
  const modules = path.join(folder, "node_modules");
  const names = (await subfolders(modules)).filter((name) => !name.startsWith("."));
  const packages = await Promise.all(
    names.map(async (name) =>
      name.startsWith("@") ? (await subfolders(path.join(modules, name))).map((inner) => `${name}/${inner}`) : [name],
    ),
  );
  const found = await Promise.all(
    packages.flat().map(async (name) => {
      const manifest = await readJson<Manifest>(path.join(modules, name, "package.json"));
      return [...(manifest ? [manifest] : []), ...(await installedManifests(path.join(modules, name)))];
    }),
  );
  return found.flat();
}

function foldersUpFrom(folder: string): string[] {
  const parent = path.dirname(folder);
  return parent === folder ? [folder] : [folder, ...foldersUpFrom(parent)];
}

async function subfolders(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch {
    return [];
  }
}

async function readJson<T>(file: string): Promise<T | undefined> {
  try {
    return JSON.parse(await readFile(file, "utf8")) as T;
  } catch {
    return undefined;
  }
}
