import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";
import { expect, it, onTestFinished } from "vitest";

it("the checks of a fresh computer pass with what the README requires, and install the rest", async () => {
  const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-check-"));
  onTestFinished(() => rm(folder, { recursive: true }));
  const bin = path.join(folder, "bin");
  await mkdir(bin);
  for (const command of [...(await essentialCommands()), ...["node", "npm", "go", "git"].map(which)]) {
    await symlink(command, path.join(bin, path.basename(command))).catch(() => undefined);
  }
  // Replaces apt-get: "installs" a command with a link to this computer's.
  const installer = `#!/bin/sh
echo "$@" >> ${folder}/installed
for package; do [ "$package" != shellcheck ] || ln -sf ${which("shellcheck")} ${bin}/; done
`;
  await rm(path.join(bin, "apt-get"), { force: true });
  await writeFile(path.join(bin, "apt-get"), installer, { mode: 0o755 });
  const check = await execa("npm", ["run", "check"], {
    env: { PATH: bin, HOME: process.env["HOME"] },
    extendEnv: false,
    all: true,
    reject: false,
  });
  expect(check.all).toContain("ok      shellcheck");
  expect(check.exitCode, check.all).toBe(0);
  const installed = await readFile(path.join(folder, "installed"), "utf8");
  expect(installed).toContain("install -y --no-install-recommends shellcheck");
});

function which(command: string): string {
  const folders = (process.env["PATH"] ?? "").split(":");
  const found = folders.map((name) => path.join(name, command)).find(existsSync);
  if (found === undefined) throw new Error(`${command}: is not on PATH`);
  return found;
}

/** Commands that every Debian has. */
async function essentialCommands(): Promise<string[]> {
  const script = "dpkg-query -L $(dpkg-query -W -f '${Essential} ${Package}\\n' | sed -n 's/^yes //p')";
  const { stdout } = await execa("sh", ["-c", script]);
  return stdout.split("\n").filter((file) => /^(\/usr)?\/s?bin\/[^/]+$/.test(file));
}
