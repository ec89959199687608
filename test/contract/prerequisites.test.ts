import { existsSync } from "node:fs";
import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa, type Options } from "execa";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

import { officialDownloadReachable } from "../../sandbox/engine/cli.ts";

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-prerequisites-"));
  await chmod(folder, 0o777);
});

afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

/** `npm run sandbox` on a computer that lacks something, in its own process. */
async function sandbox(env: Record<string, string>, options: Options = {}) {
  const root = path.join(folder, "sandbox");
  const { exitCode, all } = await execa(process.execPath, ["sandbox/cli.ts"], {
    ...options,
    env: { CONVEX_DROPLET_SANDBOX: root, XDG_CACHE_HOME: path.join(folder, "cache"), ...env },
    all: true,
    reject: false,
  });
  return { exitCode, said: String(all), begun: existsSync(root) };
}

describe("a folder that is not a sandbox's", () => {
  it("is neither used nor removed", async () => {
    const root = path.join(folder, "sandbox");
    const precious = path.join(root, "precious");
    await mkdir(root);
    await writeFile(precious, "mine");
    const removed = await execa(process.execPath, ["sandbox/cli.ts", "down", "--force"], {
      env: { CONVEX_DROPLET_SANDBOX: root },
      all: true,
      reject: false,
    });
    expect(removed.all).toContain(`${root}: is not marked as a sandbox's, nothing was removed.`);
    expect(removed.exitCode).toBe(1);
    const taken = await sandbox({});
    expect(taken.said).toContain(`${root}: has files and is not a sandbox's, it should be empty or new.`);
    expect(taken.exitCode).toBe(1);
    expect(await readFile(precious, "utf8")).toBe("mine");
  });
});

describe("a computer that lacks something", () => {
  it("gets a message about what is missing and how to get it, before any change", async () => {
    const { exitCode, said, begun } = await sandbox({ PATH: folder }, { uid: 65534, gid: 65534 });
    expect(exitCode).toBe(1);
    expect(said).toContain("the sandbox cannot run on this computer; nothing was changed.");
    expect(said).toContain("root: you are not");
    expect(said).not.toContain("    at ");
    expect(begun).toBe(false);
  });

  it("gets a message that Go is missing if the Pulumi CLI must be built", async ({ skip }) => {
    if (await officialDownloadReachable()) skip("the CLI can be downloaded here");
    const { exitCode, said, begun } = await sandbox({ PATH: "/usr/bin:/bin" });
    expect(exitCode).toBe(1);
    expect(said).toContain("Go: not found, the Pulumi CLI must be built here. Install it");
    expect(said).not.toContain("root:");
    expect(begun).toBe(false);
  });

  it("gets a message about why its Docker engine does not start", async () => {
    const bin = path.join(folder, "bin");
    await mkdir(bin);
    await writeFile(path.join(bin, "dockerd"), "#!/bin/sh\necho 'failed to start daemon: no room'\nexit 1\n", {
      mode: 0o755,
    });
    const engine = { DOCKER_HOST: `unix://${folder}/nobody.sock`, PATH: `${bin}:${process.env["PATH"] ?? ""}` };
    const { exitCode, said } = await sandbox(engine);
    expect(exitCode).toBe(1);
    expect(said).toContain("Docker: its engine cannot be started here");
    expect(said).toContain("  failed to start daemon: no room");
  });
});

describe("the checks of a fresh computer", () => {
  it("name what is missing if the user may not install it", async () => {
    const check = await execa(process.execPath, ["test/check.ts"], {
      env: { PATH: folder },
      extendEnv: false,
      uid: 65534,
      gid: 65534,
      all: true,
      reject: false,
    });
    expect(check.exitCode).toBe(1);
    expect(check.all).toContain(
      "shellcheck: not found, the checks need it. Install it, for example: sudo apt-get install shellcheck",
    );
  });
});
