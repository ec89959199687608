import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

import Docker from "dockerode";
import { execa } from "execa";

import { SANDBOX_LABEL } from "./home.ts";
import type { Progress } from "./progress.ts";
import { waitFor } from "./wait-for.ts";

/** Debian packages the sandbox works with, each by a command that it brings. */
const PACKAGES: Record<string, string> = {
  dockerd: "docker.io",
  mmdebstrap: "mmdebstrap",
  nft: "nftables",
  losetup: "mount",
  nsenter: "util-linux",
  "mkfs.xfs": "xfsprogs",
  "mkfs.ext4": "e2fsprogs",
  "docker-registry": "docker-registry",
  openssl: "openssl",
  ssh: "openssh-client",
  ip: "iproute2",
};

/** Those that the static checks use. */
const CHECK_PACKAGES: Record<string, string> = { shellcheck: "shellcheck" };

/** And those that only the tests use. */
const TEST_PACKAGES: Record<string, string> = {
  ...CHECK_PACKAGES,
  pg_ctlcluster: "postgresql",
  sshd: "openssh-server",
  busybox: "busybox-static",
  python3: "python3-venv",
};

/** Where an engine that the sandbox started says so; shared by all sandboxes of the computer. */
const ENGINE_FOLDER = "/run/convex-droplet";
const ENGINE_PID = path.join(ENGINE_FOLDER, "dockerd.pid");
const ENGINE_LOG = path.join(ENGINE_FOLDER, "dockerd.log");
/** A file for each process that counts on the engine, named by its id. */
const ENGINE_USERS = path.join(ENGINE_FOLDER, "users");

/**
 * Looks at the computer before anything is touched.
 *
 * @param needsGo whether the Pulumi CLI has to be built here
 * @throws Error naming everything that is missing, and how to get each
 */
export function checkComputer(needsGo: boolean): void {
  const missing: string[] = [];
  if (process.getuid?.() !== 0) {
    missing.push(
      "root: you are not, and droplets need loop devices, mounts and firewall rules. Become root, for example: sudo -i",
    );
  }
  const system = existsSync("/etc/os-release") ? readFileSync("/etc/os-release", "utf8") : "";
  const absent = missingPackages(PACKAGES);
  if (!/^ID(_LIKE)?=.*debian/m.test(system) && absent.length > 0) {
    missing.push(
      `Debian: this is another system, on which these cannot be installed for you. Install what brings ${absent.join(", ")}`,
    );
  }
  if (!existsSync("/dev/loop-control")) {
    missing.push(
      "loop devices: /dev/loop-control is not there, volumes need it. Load the kernel module: modprobe loop",
    );
  }
  if (needsGo && !has("go")) {
    missing.push(
      "Go: not found, the Pulumi CLI has to be built here. Install it, for example: apt-get install golang-go",
    );
  }
  if (missing.length > 0) {
    throw new Error(
      `the sandbox cannot run on this computer; nothing was changed.\n${missing.map((line) => `  ${line}`).join("\n")}`,
    );
  }
}

/**
 * Installs what Debian packages are missing and starts a Docker engine where none answers. While this process lives, no
 * other one stops that engine.
 */
export async function prepareComputer(progress: Progress, purpose: "sandbox" | "tests" = "sandbox"): Promise<void> {
  await installPackages(purpose === "tests" ? { ...PACKAGES, ...TEST_PACKAGES } : PACKAGES, progress);
  mkdirSync(ENGINE_USERS, { recursive: true, mode: 0o700 });
  writeFileSync(path.join(ENGINE_USERS, String(process.pid)), "");
  if (!(await engineAnswers())) {
    progress("starting the Docker engine");
    await startEngine();
  }
}

/**
 * Installs what the static checks need and this computer lacks.
 *
 * @throws Error naming what is missing where it cannot be installed here
 */
export async function prepareChecks(progress: Progress): Promise<void> {
  const missing = missingPackages(CHECK_PACKAGES).join(" ");
  if (missing !== "" && (process.getuid?.() !== 0 || !has("apt-get"))) {
    throw new Error(
      `${missing}: not found, the checks need it. Install it, for example: sudo apt-get install ${missing}`,
    );
  }
  await installPackages(CHECK_PACKAGES, progress);
}

/** Stops the engine that the sandbox started, unless somebody uses it. */
export async function releaseEngine(): Promise<void> {
  rmSync(path.join(ENGINE_USERS, String(process.pid)), { force: true });
  const pid = existsSync(ENGINE_PID) ? Number(readFileSync(ENGINE_PID, "utf8")) : 0;
  if (pid === 0 || !isEngine(pid)) return;
  if (readdirSync(ENGINE_USERS).some((user) => existsSync(`/proc/${user}`))) return;
  const docker = new Docker();
  const running = await docker.listContainers();
  const ours = await docker.listContainers({ all: true, filters: { label: [SANDBOX_LABEL] } });
  if (running.length > 0 || ours.length > 0) return;
  process.kill(pid, "SIGTERM");
  await waitFor("the Docker engine to end", 30, () => !isEngine(pid));
  rmSync(ENGINE_FOLDER, { recursive: true, force: true });
}

async function installPackages(packages: Record<string, string>, progress: Progress): Promise<void> {
  const missing = missingPackages(packages);
  if (missing.length === 0) return;
  progress(`installing ${missing.join(", ")}`);
  const environment = { DEBIAN_FRONTEND: "noninteractive" };
  await execa("apt-get", ["-qq", "update"], { env: environment });
  // policy-rc.d: a package's own service must not start here, where the sandbox runs its own.
  await execa("apt-get", ["-qq", "install", "-y", "--no-install-recommends", ...missing], {
    env: { ...environment, RUNLEVEL: "1" },
  });
}

function missingPackages(packages: Record<string, string>): string[] {
  return Object.entries(packages)
    .filter(([command]) => !has(command))
    .map(([, name]) => name);
}

function has(command: string): boolean {
  const folders = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/sbin"];
  return folders.some((folder) => existsSync(path.join(folder, command)));
}

async function engineAnswers(): Promise<boolean> {
  return new Docker().ping().then(
    () => true,
    () => false,
  );
}

async function startEngine(): Promise<void> {
  const log = openSync(ENGINE_LOG, "a", 0o600);
  const engine = spawn("dockerd", [], { detached: true, stdio: ["ignore", log, log] });
  engine.unref();
  closeSync(log);
  const fate: { ended: boolean } = { ended: false };
  engine.once("exit", () => (fate.ended = true)).once("error", () => (fate.ended = true));
  const hasStarted = await waitFor("the Docker engine to answer", 60, async () => fate.ended || engineAnswers()).then(
    () => !fate.ended,
    () => false,
  );
  if (!hasStarted) {
    const lines = readFileSync(ENGINE_LOG, "utf8").trim().split("\n").slice(-10);
    throw new Error(
      `Docker: its engine cannot be started here, its last lines are below. Mend that, or start an engine yourself: dockerd\n` +
        lines.map((line) => `  ${line}`).join("\n"),
    );
  }
  writeFileSync(ENGINE_PID, String(engine.pid));
}

function isEngine(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/comm`, "utf8").trim() === "dockerd";
  } catch {
    return false;
  }
}
