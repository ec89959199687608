import { chmod, mkdtemp, mkdir, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";

import { cachedCliPath, ensureBuiltCli, PULUMI_VERSION } from "../../sandbox/engine/cli.ts";
import { waitFor } from "../../sandbox/wait-for.ts";

/** Builds with a `go` that only records its calls, because a real build takes minutes. */
describe("the CLI built from Go modules", () => {
  let folder: string;
  let progress: string[];
  const onProgress = (text: string) => void progress.push(text);

  beforeEach(async () => {
    folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-cli-"));
    progress = [];
    vi.stubEnv("XDG_CACHE_HOME", path.join(folder, "cache"));
    vi.stubEnv("GOTOOLCHAIN", undefined);
  });

  afterEach(async () => {
    vi.unstubAllEnvs();
    await rm(folder, { recursive: true, force: true });
  });

  /** Puts a `go` of this version on PATH; `build` is its script to build into `$output`. */
  async function installGo(version: string, build = ""): Promise<void> {
    const bin = path.join(folder, "bin");
    await mkdir(bin, { recursive: true });
    const script = `#!/bin/sh
if [ "$1" = env ]; then echo ${version}; exit; fi
echo "$PWD: CGO_ENABLED=$CGO_ENABLED GOTOOLCHAIN=$GOTOOLCHAIN go $*" >>'${path.join(folder, "calls")}'
while [ "$1" != -o ]; do shift; done
output=$2
${build}
`;
    await writeFile(path.join(bin, "go"), script);
    await chmod(path.join(bin, "go"), 0o755);
    vi.stubEnv("PATH", `${bin}:/usr/bin:/bin`);
  }

  const writeProgram = `printf '#!/bin/sh\\n' >"$output"; chmod +x "$output"`;

  it("is compiled once, like the official one, and kept complete", async () => {
    await installGo(
      "go1.26.8",
      `echo "go: downloading example.com/a v1.0.0" >&2; echo example.com/a >&2; ${writeProgram}`,
    );
    const binary = await ensureBuiltCli(onProgress);
    await expect(ensureBuiltCli(onProgress)).resolves.toBe(binary);

    expect(binary).toBe(cachedCliPath());
    expect((await stat(binary)).mode & 0o111).toBe(0o111);
    await expect(readdir(path.dirname(binary))).resolves.toEqual(["pulumi"]);
    const calls = (await readFile(path.join(folder, "calls"), "utf8")).trim().split("\n");
    expect(calls).toHaveLength(1);
    expect(calls[0]).toContain(
      `${path.resolve("sandbox/engine/pulumi-cli")}: CGO_ENABLED=0 GOTOOLCHAIN=auto go build -v -mod=readonly -trimpath ` +
        `-tags=osusergo,grpcnotrace -ldflags=-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=` +
        `v${PULUMI_VERSION} -o ${path.dirname(binary)}/build-`,
    );
    expect(calls[0]).toMatch(/\/pulumi github\.com\/pulumi\/pulumi\/pkg\/v3\/cmd\/pulumi$/);
    expect(progress[0]).toContain(`Pulumi CLI ${PULUMI_VERSION}`);
  });

  it("reports its progress while it is compiled", async () => {
    const release = path.join(folder, "release");
    await installGo(
      "go1.26.8",
      `echo "go: downloading example.com/a v1.0.0" >&2; echo example.com/a/b >&2; echo example.com/a >&2
while [ ! -e '${release}' ]; do sleep 0.1; done; ${writeProgram}`,
    );
    const building = ensureBuiltCli(onProgress);
    await waitFor("the count of modules and packages", 10, () => {
      expect(progress.at(-1)).toMatch(/1 modules downloaded, 2 packages compiled, \d+ s$/);
    });
    await writeFile(release, "");
    await building;
  });

  it("is complete after two builds at the same time", async () => {
    await installGo("go1.26.8", writeProgram);
    const [one, other] = await Promise.all([ensureBuiltCli(onProgress), ensureBuiltCli(onProgress)]);
    expect(one).toBe(other);
    await expect(readdir(path.dirname(one))).resolves.toEqual(["pulumi"]);
  });

  it("shows why it cannot be compiled, leaves nothing half done, and can be built again", async () => {
    await installGo("go1.26.8", `echo "verifying example.com/a@v1.0.0: checksum mismatch" >&2; : >"$output"; exit 1`);
    await expect(ensureBuiltCli(onProgress)).rejects.toThrow(
      `Pulumi CLI ${PULUMI_VERSION}: its build from Go modules failed. Correct this and try again:\n` +
        `verifying example.com/a@v1.0.0: checksum mismatch`,
    );
    await expect(readdir(path.dirname(cachedCliPath()))).resolves.toEqual([]);
    await installGo("go1.26.8", writeProgram);
    await ensureBuiltCli(onProgress);
  });

  it("removes what a build killed long ago left, but not another build's files", async () => {
    const cache = path.dirname(cachedCliPath());
    for (const name of ["build-old", "build-now"]) await mkdir(path.join(cache, name), { recursive: true });
    await utimes(path.join(cache, "build-old"), 0, 0);
    await installGo("go1.26.8", writeProgram);
    await ensureBuiltCli(onProgress);
    expect((await readdir(cache)).sort()).toEqual(["build-now", "pulumi"]);
  });

  it.each([
    ["is missing", undefined, "go: not found or not working, should be Go 1.21 or newer, to build the Pulumi CLI."],
    ["is too old", "go1.19.8", "go: go1.19.8 is too old, should be Go 1.21 or newer, to build the Pulumi CLI."],
  ])("cannot be built if Go %s, and shows how to get it", async (_case, version, message) => {
    if (version === undefined) vi.stubEnv("PATH", folder);
    else await installGo(version);
    await expect(ensureBuiltCli(onProgress)).rejects.toThrow(`${message} Install it with: apt-get install golang-go`);
    await expect(readdir(folder)).resolves.toEqual(version === undefined ? [] : ["bin"]);
  });
});
