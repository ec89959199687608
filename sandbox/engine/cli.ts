import { access, constants, mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

import { execa, ExecaError } from "execa";

import { npmVersion } from "./npm-version.ts";

/** Called with the progress, in a few words for people, at least every ten seconds. */
export type OnProgress = (text: string) => void;

/** The CLI's version is the SDK's, because engine, language host and SDK must match. */
export const PULUMI_VERSION = npmVersion("@pulumi/pulumi");

/** The URL of the install script for the npm launcher `pulumi` (node_modules/pulumi/lib/download.js). */
const OFFICIAL_DOWNLOAD = "https://get.pulumi.com/install.sh";

const PROBE_MILLISECONDS = 3000;
const PROGRESS_MILLISECONDS = 5000;

/** After this time, no running build uses the folder of an interrupted one. */
const ABANDONED_MILLISECONDS = 6 * 60 * 60 * 1000;

/** The module whose go.mod pins the CLI and all its dependencies; its go.sum has their checksums. */
const MODULE_FOLDER = path.join(import.meta.dirname, "pulumi-cli");
const CLI_PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi";

/** Whether the official CLI can be downloaded from here. Takes three seconds at most. */
export async function officialDownloadReachable(url = OFFICIAL_DOWNLOAD): Promise<boolean> {
  try {
    const response = await fetch(url, { method: "HEAD", signal: AbortSignal.timeout(PROBE_MILLISECONDS) });
    return response.ok;
  } catch {
    return false;
  }
}

/** The path of the CLI that was built from source: in the user's cache, shared by all checkouts. */
export function cachedCliPath(environment: NodeJS.ProcessEnv = process.env): string {
  const cache = environment["XDG_CACHE_HOME"] ?? path.join(homedir(), ".cache");
  return path.join(cache, "convex-droplet", `pulumi-cli-v${PULUMI_VERSION}`, "pulumi");
}

/**
 * Builds the CLI from its Go modules into the user's cache, unless it is there, and returns its path. The first build
 * downloads 1.6 GB and takes five minutes on two cores. Several builds may run at the same time.
 *
 * @throws Error if Go is missing or too old, or the build fails; the message has the fix
 */
export async function ensureBuiltCli(onProgress: OnProgress): Promise<string> {
  const binary = cachedCliPath();
  if (await isExecutable(binary)) return binary;
  await requireGo();

  const folder = path.dirname(binary);
  await mkdir(folder, { recursive: true });
  await removeAbandonedBuilds(folder);
  const build = await mkdtemp(path.join(folder, "build-"));
  try {
    const built = path.join(build, "pulumi");
    await compile(built, onProgress);
    await rename(built, binary);
  } finally {
    await rm(build, { recursive: true, force: true });
  }
  return binary;
}

/** Whether the file can be run; a missing one cannot. */
export async function isExecutable(file: string): Promise<boolean> {
  try {
    await access(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

async function compile(output: string, onProgress: OnProgress): Promise<void> {
  const versionVariable = "github.com/pulumi/pulumi/sdk/v3/go/common/version.Version";
  const flags = ["-mod=readonly", "-trimpath", "-tags=osusergo,grpcnotrace"];
  const linkerFlags = `-ldflags=-s -w -X ${versionVariable}=v${PULUMI_VERSION}`;
  const go = execa("go", ["build", "-v", ...flags, linkerFlags, "-o", output, CLI_PACKAGE], {
    cwd: MODULE_FOLDER,
    env: { CGO_ENABLED: "0", GOTOOLCHAIN: process.env["GOTOOLCHAIN"] ?? "auto" },
    stdin: "ignore",
    buffer: false,
  });

  // With -v, Go prints a line for each module that it downloads and each package that it compiles; other lines are errors.
  const started = Date.now();
  const counts = { modules: 0, packages: 0 };
  const complaints: string[] = [];
  const lines = createInterface({ input: go.stderr });
  lines.on("line", (line) => {
    if (line.startsWith("go: downloading ")) counts.modules += 1;
    else if (/^[\w./~-]+$/.test(line)) counts.packages += 1;
    else complaints.push(line);
  });
  const tell = () => {
    const seconds = Math.round((Date.now() - started) / 1000);
    const done = `${counts.modules} modules downloaded, ${counts.packages} packages compiled`;
    onProgress(`Building the Pulumi CLI ${PULUMI_VERSION}, once for this user: ${done}, ${seconds} s`);
  };
  tell();
  const ticker = setInterval(tell, PROGRESS_MILLISECONDS);
  try {
    await go;
  } catch (error) {
    if (!(error instanceof ExecaError)) throw error;
    const why = complaints.slice(-10).join("\n") || error.shortMessage;
    throw new Error(
      `Pulumi CLI ${PULUMI_VERSION}: its build from Go modules failed. Correct this and try again:\n${why}`,
      { cause: error },
    );
  } finally {
    clearInterval(ticker);
    lines.close();
  }
}

/** From this version on, Go downloads the version that go.mod names, with a checksum like every module. */
const OLDEST_GO = [1, 21] as const;

async function requireGo(): Promise<void> {
  const [major, minor] = OLDEST_GO;
  const should = `should be Go ${major}.${minor} or newer, to build the Pulumi CLI. Install it with: apt-get install golang-go`;
  const go = await execa("go", ["env", "GOVERSION"], { reject: false });
  if (go.failed) throw new Error(`go: not found or not working, ${should}`);
  const found = /^go(\d+)\.(\d+)/.exec(go.stdout)?.slice(1).map(Number) ?? [0, 0];
  const isOld = (found[0] ?? 0) < major || (found[0] === major && (found[1] ?? 0) < minor);
  if (isOld) throw new Error(`go: ${go.stdout} is too old, ${should}`);
}

async function removeAbandonedBuilds(folder: string): Promise<void> {
  const builds = (await readdir(folder)).filter((name) => name.startsWith("build-"));
  for (const build of builds.map((name) => path.join(folder, name))) {
    const { mtimeMs } = await stat(build);
    if (Date.now() - mtimeMs > ABANDONED_MILLISECONDS) await rm(build, { recursive: true, force: true });
  }
}
