import { randomBytes } from "node:crypto";
import {
  chmod,
  copyFile,
  link,
  mkdir,
  readFile,
  readlink,
  rename,
  rm,
  stat,
  symlink,
  writeFile,
} from "node:fs/promises";
import path from "node:path";

import { execa } from "execa";

import type { SandboxHome } from "../home.ts";
import { ensureBuiltCli, officialDownloadReachable, PULUMI_VERSION } from "./cli.ts";
import { isExecutable } from "./go-build.ts";
import type { OnProgress } from "./go-build.ts";
import { npmVersion } from "./npm-version.ts";
import { originalLanguageHost, originalPlugin } from "./originals.ts";

/** What runs in a sandbox: the official CLI, language host and plugins, or the CLI built from source with stand-ins. */
export type Engine = "official" | "stand-in";

/** The providers that the program uses. */
export const PROVIDERS = ["digitalocean", "docker", "command", "postgresql", "random", "tls"] as const;

const REPOSITORY = path.resolve(import.meta.dirname, "../..");

/** The files that a sandbox keeps for its engine; all are below the sandbox's root. */
function layout(home: SandboxHome) {
  const pulumiHome = path.join(home.root, "pulumi");
  return {
    pulumiHome,
    /** Where the npm launcher `pulumi` and the Automation API look for the CLI. */
    bin: path.join(pulumiHome, "versions", PULUMI_VERSION, "bin"),
    engine: path.join(pulumiHome, "engine"),
    compileCache: path.join(pulumiHome, "compile-cache"),
    state: path.join(home.root, "state"),
    passphrase: path.join(home.root, "passphrase"),
    plugin: (name: string) => path.join(pulumiHome, "plugins", `resource-${name}-v${npmVersion(`@pulumi/${name}`)}`),
  };
}

/**
 * Makes the sandbox's `PULUMI_HOME` and everything else that `pulumi` needs: the CLI, the language host, a plugin for
 * each provider at the version of its npm SDK, the folder for states and the passphrase. Does only what is missing.
 *
 * @param engine what to install; by default the kind that is installed already, else the official one if it can be
 *   downloaded
 * @returns what is installed now
 */
export async function layOutPulumiHome(home: SandboxHome, onProgress: OnProgress, engine?: Engine): Promise<Engine> {
  const files = layout(home);
  await mkdir(files.state, { recursive: true, mode: 0o700 });
  await generatePassphrase(files.passphrase);
  const installed = await installedEngine(home);
  const chosen = engine ?? installed ?? ((await officialDownloadReachable()) ? "official" : "stand-in");
  if (installed !== undefined && installed !== chosen) await rm(files.pulumiHome, { recursive: true });
  // Recorded before the installation, so that an interrupted one is completed and never mixed with the other kind.
  await mkdir(files.pulumiHome, { recursive: true });
  await writeFileAtomically(files.engine, `${chosen}\n`, 0o644);
  await (chosen === "official" ? installOfficialEngine(home, onProgress) : installStandIns(home, onProgress));
  return chosen;
}

/**
 * The environment that a `pulumi` run in this sandbox needs, in addition to the caller's:
 *
 * - `PULUMI_HOME`, `PULUMI_BACKEND_URL`: the sandbox's own CLI, plugins and states, never the user's.
 * - `PULUMI_CONFIG_PASSPHRASE_FILE`: the key of the secrets in those states. `PULUMI_CONFIG_PASSPHRASE` would override
 *   it, so it is removed (its value is undefined).
 * - `PULUMI_RUN_PROGRAM`: `refresh` and `destroy` run the program, which opens the tunnel to the droplet's PostgreSQL.
 * - `PULUMI_SKIP_UPDATE_CHECK`, `PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION`: no downloads, because everything is installed.
 * - `PATH`: the CLI, then the Node that the project installed (22 or newer), then the caller's.
 */
export function pulumiEnvironment(home: SandboxHome): Record<string, string | undefined> {
  const files = layout(home);
  const npmBin = path.join(REPOSITORY, "node_modules", ".bin");
  return {
    PULUMI_HOME: files.pulumiHome,
    // Without metadata, which the CLI does not write atomically: after a kill, it could not read the state.
    PULUMI_BACKEND_URL: `file://${files.state}?metadata=skip`,
    PULUMI_CONFIG_PASSPHRASE: undefined,
    PULUMI_CONFIG_PASSPHRASE_FILE: files.passphrase,
    PULUMI_RUN_PROGRAM: "true",
    PULUMI_SKIP_UPDATE_CHECK: "true",
    PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: "true",
    PATH: [files.bin, npmBin, process.env["PATH"]].filter(Boolean).join(path.delimiter),
  };
}

/** A script that replaces itself with Node running `main`. It uses Node's compile cache, so that it starts fast. */
export function nodeWrapper(main: string, compileCache: string, variables = ""): string {
  return wrapper([process.execPath, main], `${variables}NODE_COMPILE_CACHE=${shellQuote(compileCache)} `);
}

/** @param variables  assignments for the shell, each followed by a space */
function wrapper(command: string[], variables: string): string {
  return `#!/bin/sh\n${variables}exec ${command.map(shellQuote).join(" ")} "$@"\n`;
}

/**
 * What only one plugin gets. The cloud's API is also the proxy to Spaces, whose names this computer does not know. Go takes
 * no proxy for addresses of this computer, but other programs do, so it must not be in their environment.
 */
const VARIABLES: Partial<Record<string, string>> = { digitalocean: 'HTTP_PROXY="$DIGITALOCEAN_API_URL" ' };

async function installedEngine(home: SandboxHome): Promise<Engine | undefined> {
  const recorded = await readFileIfThere(layout(home).engine);
  return recorded === undefined ? undefined : recorded.trim() === "official" ? "official" : "stand-in";
}

async function installStandIns(home: SandboxHome, onProgress: OnProgress): Promise<void> {
  const files = layout(home);
  const cli = path.join(files.bin, "pulumi");
  const built = await ensureBuiltCli(onProgress);
  await mkdir(files.bin, { recursive: true });
  if (!(await isSameProgram(cli, built))) await placeProgram(built, cli);
  const place = async (file: string, original: string | undefined, standIn: string, variables?: string) => {
    if (original === undefined) await placeScript(file, nodeWrapper(standIn, files.compileCache, variables));
    else if (variables === undefined) await placeLink(file, original);
    else await placeScript(file, wrapper([original], variables));
  };
  // The engine finds a language host in the folder of its executable.
  const languageHost = path.join(files.bin, "pulumi-language-nodejs");
  await place(languageHost, originalLanguageHost(), path.join(import.meta.dirname, "language-host.ts"));
  for (const name of PROVIDERS) {
    const standIn = path.join(REPOSITORY, "sandbox", "plugins", name, "main.ts");
    await place(
      path.join(files.plugin(name), `pulumi-resource-${name}`),
      originalPlugin(name),
      standIn,
      VARIABLES[name],
    );
  }
}

/** Describes, for people, which parts of the engine are official and which are stand-ins. */
export function describeEngine(engine: Engine): string {
  const parts: [string, string | undefined][] = [
    ["language host", originalLanguageHost()],
    ...PROVIDERS.map((name): [string, string | undefined] => [name, originalPlugin(name)]),
  ];
  const official = parts.filter(([, original]) => engine === "official" || original !== undefined);
  const standIns = parts.filter((part) => !official.includes(part));
  const list = (which: typeof parts) => which.map(([name]) => name).join(", ") || "none";
  return `official ${list(official)}; stand-ins: ${list(standIns)}`;
}

async function installOfficialEngine(home: SandboxHome, onProgress: OnProgress): Promise<void> {
  const files = layout(home);
  const options = { env: { PULUMI_HOME: files.pulumiHome, PULUMI_SKIP_UPDATE_CHECK: "true" } };
  const cli = path.join(files.bin, "pulumi");
  if (!(await isExecutable(cli))) {
    onProgress(`Downloading the Pulumi CLI ${PULUMI_VERSION}`);
    await execa(process.execPath, [path.join(REPOSITORY, "node_modules/pulumi/run.js"), "version"], options);
  }
  for (const name of PROVIDERS) {
    const version = npmVersion(`@pulumi/${name}`);
    const executable = path.join(files.plugin(name), `pulumi-resource-${name}`);
    if (!(await isExecutable(executable))) {
      onProgress(`Downloading the Pulumi plugin ${name} ${version}`);
      await execa(cli, ["plugin", "install", "resource", name, version], options);
    }
    const variables = VARIABLES[name];
    if (variables === undefined) continue;
    const original = `${executable}.original`;
    if (!(await isExecutable(original))) await link(executable, original);
    await placeScript(executable, wrapper([original], variables));
  }
}

/** Writes the passphrase once and completely: with another one, the states could not be read. */
async function generatePassphrase(file: string): Promise<void> {
  const whole = `${file}.${randomBytes(6).toString("hex")}`;
  await writeFile(whole, `${randomBytes(32).toString("base64url")}\n`, { mode: 0o600, flush: true });
  try {
    await link(whole, file);
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
  } finally {
    await rm(whole);
  }
}

async function placeScript(file: string, text: string): Promise<void> {
  const isLink = (await linkTarget(file)) !== undefined;
  if (!isLink && (await readFileIfThere(file)) === text && (await isExecutable(file))) return;
  await mkdir(path.dirname(file), { recursive: true });
  await writeFileAtomically(file, text, 0o755);
}

async function placeLink(file: string, target: string): Promise<void> {
  if ((await linkTarget(file)) === target) return;
  await mkdir(path.dirname(file), { recursive: true });
  const temporary = `${file}.${randomBytes(6).toString("hex")}`;
  await symlink(target, temporary);
  await rename(temporary, file);
}

async function linkTarget(file: string): Promise<string | undefined> {
  return readlink(file).catch(() => undefined);
}

/** Makes a hard link, because the program is large, or a copy if the file system allows no link. */
async function placeProgram(source: string, target: string): Promise<void> {
  const temporary = `${target}.${randomBytes(6).toString("hex")}`;
  try {
    await link(source, temporary);
  } catch {
    await copyFile(source, temporary);
  }
  await rename(temporary, target);
}

async function isSameProgram(file: string, original: string): Promise<boolean> {
  if (!(await isExecutable(file))) return false;
  return (await stat(file)).size === (await stat(original)).size;
}

async function writeFileAtomically(file: string, text: string, mode: number): Promise<void> {
  const temporary = `${file}.${randomBytes(6).toString("hex")}`;
  await writeFile(temporary, text, { flush: true });
  await chmod(temporary, mode);
  await rename(temporary, file);
}

async function readFileIfThere(file: string): Promise<string | undefined> {
  try {
    return await readFile(file, "utf8");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}

function shellQuote(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}
