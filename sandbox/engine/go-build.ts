import { access, constants, mkdir, mkdtemp, readdir, rename, rm, stat } from "node:fs/promises";
import { homedir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";

import { execa, ExecaError } from "execa";

/** Called with the progress, in a few words for people, at least every ten seconds. */
export type OnProgress = (text: string) => void;

/** A program that is built from Go modules. */
export interface GoProgram {
  /** For people, for example "Pulumi CLI". */
  title: string;
  version: string;
  /** The folder in which go.mod pins the program and all its dependencies; its go.sum has their checksums. */
  module: string;
  package: string;
  /** The Go variable that gets the version, with a `v` in front. */
  versionVariable: string;
  /** Build tags, separated by commas. */
  tags: string;
  /** The executable's name. */
  executable: string;
}

const PROGRESS_MILLISECONDS = 5000;

/** After this time, no running build uses the folder of an interrupted one. */
const ABANDONED_MILLISECONDS = 6 * 60 * 60 * 1000;

/** The path of a program that was built from source: in the user's cache, shared by all checkouts. */
export function builtPath(program: GoProgram, environment: NodeJS.ProcessEnv = process.env): string {
  const cache = environment["XDG_CACHE_HOME"] ?? path.join(homedir(), ".cache");
  return path.join(cache, "convex-droplet", `${path.basename(program.module)}-v${program.version}`, program.executable);
}

/**
 * Builds a program from its Go modules into the user's cache, unless it is there, and returns its path. Several builds may
 * run at the same time.
 *
 * @throws Error if Go is missing or too old, or the build fails; the message has the fix
 */
export async function ensureBuilt(program: GoProgram, onProgress: OnProgress): Promise<string> {
  const binary = builtPath(program);
  if (await isExecutable(binary)) return binary;
  await requireGo(program);

  const folder = path.dirname(binary);
  await mkdir(folder, { recursive: true });
  await removeAbandonedBuilds(folder);
  const build = await mkdtemp(path.join(folder, "build-"));
  try {
    const built = path.join(build, program.executable);
    await compile(program, built, onProgress);
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

async function compile(program: GoProgram, output: string, onProgress: OnProgress): Promise<void> {
  const { title, version } = program;
  const flags = ["-mod=readonly", "-trimpath", `-tags=${program.tags}`];
  const linkerFlags = `-ldflags=-s -w -X ${program.versionVariable}=v${version}`;
  const go = execa("go", ["build", "-v", ...flags, linkerFlags, "-o", output, program.package], {
    cwd: program.module,
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
    onProgress(`Building the ${title} ${version}, once for this user: ${done}, ${seconds} s`);
  };
  tell();
  const ticker = setInterval(tell, PROGRESS_MILLISECONDS);
  try {
    await go;
  } catch (error) {
    if (!(error instanceof ExecaError)) throw error;
    const why = complaints.slice(-10).join("\n") || error.shortMessage;
    throw new Error(`${title} ${version}: its build from Go modules failed. Correct this and try again:\n${why}`, {
      cause: error,
    });
  } finally {
    clearInterval(ticker);
    lines.close();
  }
}

/** From this version on, Go downloads the version that go.mod names, with a checksum like every module. */
const OLDEST_GO = [1, 21] as const;

async function requireGo({ title }: GoProgram): Promise<void> {
  const [major, minor] = OLDEST_GO;
  const should = `should be Go ${major}.${minor} or newer, to build the ${title}. Install it with: apt-get install golang-go`;
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
