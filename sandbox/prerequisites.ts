import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import path from "node:path";

import Docker from "dockerode";
import { execa } from "execa";

import { SANDBOX_LABEL } from "./home.ts";
import type { Progress } from "./progress.ts";
import { waitFor } from "./wait-for.ts";

/** Debian packages that the sandbox needs, each under a command that it contains. */
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

/** Packages that the static checks need. */
const CHECK_PACKAGES: Record<string, string> = { shellcheck: "shellcheck" };

/** Packages that only the tests need. */
const TEST_PACKAGES: Record<string, string> = {
  ...CHECK_PACKAGES,
  pg_ctlcluster: "postgresql",
  sshd: "openssh-server",
  busybox: "busybox-static",
  python3: "python3-venv",
  chromium: "chromium",
  certutil: "libnss3-tools",
  wrk: "wrk",
};

/** The state of an engine that the sandbox started; shared by all sandboxes of the computer. */
const ENGINE_FOLDER = "/run/convex-droplet";
const ENGINE_PID = path.join(ENGINE_FOLDER, "dockerd.pid");
const ENGINE_LOG = path.join(ENGINE_FOLDER, "dockerd.log");
/** Has a file for each process that needs the engine, named by the process id. */
const ENGINE_USERS = path.join(ENGINE_FOLDER, "users");

/**
 * Checks the computer before anything is changed.
 *
 * @param needsGo whether the Pulumi CLI must be built here
 * @throws Error that names everything that is missing, and how to get it
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
      `Debian: this is another system, so the sandbox cannot install these packages. Install ${absent.join(", ")}`,
    );
  }
  if (!existsSync("/dev/loop-control")) {
    missing.push(
      "loop devices: /dev/loop-control does not exist, volumes need it. Load the kernel module: modprobe loop",
    );
  }
  if (needsGo && !has("go")) {
    missing.push(
      "Go: not found, the Pulumi CLI must be built here. Install it, for example: apt-get install golang-go",
    );
  }
  if (missing.length > 0) {
    throw new Error(
      `the sandbox cannot run on this computer; nothing was changed.\n${missing.map((line) => `  ${line}`).join("\n")}`,
    );
  }
}

/**
 * Installs the Debian packages that are missing, and starts a Docker engine if none answers. As long as this process
 * runs, no other process stops that engine.
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
 * Installs the packages that the static checks need.
 *
 * @throws Error that names the missing packages if they cannot be installed here
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

/** Stops the engine that the sandbox started, unless something uses it. */
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

/** Installs one more Debian package, if this computer lacks the command that it contains. */
export function ensurePackage(command: string, name: string): Promise<void> {
  return installPackages({ [command]: name }, () => undefined);
}

async function installPackages(packages: Record<string, string>, progress: Progress): Promise<void> {
  const missing = missingPackages(packages);
  if (missing.length === 0) return;
  progress(`installing ${missing.join(", ")}`);
  const environment = { DEBIAN_FRONTEND: "noninteractive" };
  await execa("apt-get", ["-qq", "update"], { env: environment });
  // With this run level, packages do not start their services. The sandbox runs its own.
  await execa("apt-get", ["-qq", "install", "-y", "--no-install-recommends", ...missing], {
    env: { ...environment, RUNLEVEL: "1" },
  });
}

function missingPackages(packages: Record<string, string>): string[] {
  return Object.entries(packages)
    .filter(([command]) => !has(command))
    .map(([, name]) => name);
}

/** Whether this computer has a command. */
export function has(command: string): boolean {
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
      `Docker: its engine cannot be started here, its last lines are below. Fix that, or start an engine yourself: dockerd\n` +
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
