import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { afterEach, beforeEach, expect, it, vi } from "vitest";

import { runSsh } from "../../operations/ssh-command.ts";

const TARGET = { host: "203.0.113.10", privateKey: "key", hostKey: "ssh-ed25519 AAAA" };

let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(path.join(tmpdir(), "ssh-command-"));
  await writeFile(path.join(folder, "ssh"), `#!/bin/sh\nprintf '%s\\n' "$@" > ${folder}/words\nexit 7\n`, {
    mode: 0o755,
  });
  vi.stubEnv("PATH", `${folder}:${process.env["PATH"] ?? ""}`);
});

afterEach(async () => {
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true });
});

it("ssh notices a droplet that has lost power, because it asks it every 15 seconds", async () => {
  expect(await runSsh(TARGET, [], ["true"])).toBe(7);
  const words = (await readFile(path.join(folder, "words"), "utf8")).trim().split("\n");
  expect(words).toContain("ServerAliveInterval=15");
  expect(words.slice(-2)).toEqual(["root@203.0.113.10", "true"]);
});
