import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { constants, tmpdir } from "node:os";
import path from "node:path";

import type { Target } from "../ssh/connect.ts";

/** The exit code after Ctrl-C. */
export const INTERRUPTED = 128 + constants.signals.SIGINT;

/**
 * Runs OpenSSH's `ssh` as root on a stack's droplet, on this terminal, with the stack's own key and its host key pinned.
 * While `ssh` runs, the key is in a temporary folder that only this user can read.
 *
 * @param options  further options of ssh, before the host
 * @param command  what to run there; empty for a shell
 * @returns ssh's exit code, which is the command's; 128 plus the signal's number if a signal ended it
 */
export async function runSsh(target: Target, options: string[], command: string[]): Promise<number> {
  const folder = mkdtempSync(path.join(tmpdir(), "convex-droplet-ssh-"));
  const key = path.join(folder, "key");
  const knownHosts = path.join(folder, "known_hosts");
  const remove = () => {
    rmSync(folder, { recursive: true, force: true });
  };
  process.once("exit", remove);
  writeFileSync(key, `${target.privateKey.trim()}\n`, { mode: 0o600 });
  writeFileSync(knownHosts, `${target.host} ${target.hostKey}\n`);
  const pinned = [
    `UserKnownHostsFile=${knownHosts}`,
    "StrictHostKeyChecking=yes",
    "ConnectTimeout=20",
    // A droplet that has lost power does not say so.
    "ServerAliveInterval=15",
    "IdentitiesOnly=yes",
    "LogLevel=ERROR",
  ];
  const ssh = spawn(
    "ssh",
    ["-i", key, ...pinned.flatMap((option) => ["-o", option]), ...options, `root@${target.host}`, ...command],
    { stdio: "inherit" },
  );
  // This process waits for ssh to end, and removes the key then.
  let ended: number | undefined;
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    process.on(signal, () => {
      ended = 128 + constants.signals[signal];
      ssh.kill(signal);
    });
  }
  return new Promise((resolve, reject) => {
    ssh.once("error", (error) => {
      reject(new Error(`ssh: cannot be started (${error.message}). Install OpenSSH's client.`));
    });
    ssh.once("close", (code) => {
      resolve(ended ?? code ?? 255);
    });
  });
}
