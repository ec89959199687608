import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, open, readdir, readFile, rm, writeFile } from "node:fs/promises";
import https from "node:https";
import path from "node:path";
import { ensureNetwork, REGISTRY_HOST } from "../droplet/network.ts";
import type { SandboxHome } from "../home.ts";
import { endProcess, findProcesses } from "../processes.ts";
import { hasCertificateFor, makeCertificates } from "../server-certificate.ts";
import { waitFor } from "../wait-for.ts";

const START_SECONDS = 15;
const STOP_SECONDS = 10;
const LOCALHOST = "127.0.0.1";

/** The file with the certificate of the registry's authority, PEM; droplets trust it for the registry's name. */
export function registryCertificate(home: SandboxHome): string {
  return path.join(folderOf(home), "ca.crt");
}

/**
 * Starts the sandbox's image registry: one process for this computer's engine at 127.0.0.1, one for the droplets at the
 * network's gateway, with the same storage. They outlive the caller. Resolves when both answer; starts only what does not
 * run yet.
 */
export async function startRegistry(home: SandboxHome): Promise<void> {
  const folder = folderOf(home);
  await mkdir(path.join(folder, "storage"), { recursive: true, mode: 0o700 });
  const { gateway } = await ensureNetwork(home);
  const addresses = [LOCALHOST, gateway];
  if (!(await hasCertificateFor(folder, gateway))) {
    await stopRegistry(home);
    await makeCertificates(folder, "registry", [`DNS:${REGISTRY_HOST}`, `IP:${gateway}`, `IP:${LOCALHOST}`]);
  }
  for (const address of addresses) await startProcess(home, address);
  for (const address of addresses) await untilAnswers(home, address);
}

/** Ends the registry's processes. The images stay for the next start. */
export async function stopRegistry(home: SandboxHome): Promise<void> {
  const folder = folderOf(home);
  const files = existsSync(folder) ? await readdir(folder) : [];
  const configurations = files.filter((file) => file.endsWith(".yml")).map((file) => path.join(folder, file));
  await Promise.all(configurations.map(stopProcess));
}

/** The digest of a tag, `sha256:...`, or undefined if the registry does not have it. */
export async function publishedDigest(home: SandboxHome, repository: string, tag: string): Promise<string | undefined> {
  const { status, digest } = await head(home, LOCALHOST, `/v2/${repository}/manifests/${tag}`);
  return status === 200 ? digest : undefined;
}

function folderOf(home: SandboxHome): string {
  return path.join(home.root, "registry");
}

async function startProcess(home: SandboxHome, address: string): Promise<void> {
  const folder = folderOf(home);
  const configuration = path.join(folder, `${address}.yml`);
  if (pidOf(configuration) !== undefined) return;
  await writeFile(configuration, render(home, address));
  const log = await open(path.join(folder, `${address}.log`), "a");
  try {
    const child = spawn("docker-registry", ["serve", configuration], {
      detached: true,
      stdio: ["ignore", log.fd, log.fd],
    });
    await once(child, "spawn");
    child.unref();
  } finally {
    await log.close();
  }
}

async function stopProcess(configuration: string): Promise<void> {
  const pid = pidOf(configuration);
  if (pid !== undefined) await endProcess(pid, STOP_SECONDS);
  await rm(configuration, { force: true });
}

/** The process that serves a configuration. */
function pidOf(configuration: string): number | undefined {
  const commandLine = `docker-registry serve ${configuration}`;
  return findProcesses((words) => words.join(" ") === commandLine)[0];
}

function render(home: SandboxHome, address: string): string {
  const folder = folderOf(home);
  // JSON is YAML, and quotes any folder's name.
  return JSON.stringify(
    {
      version: 0.1,
      log: { level: "warn", accesslog: { disabled: true } },
      storage: { filesystem: { rootdirectory: path.join(folder, "storage") } },
      http: {
        addr: `${address}:${home.registryPort}`,
        tls: { certificate: path.join(folder, "server.crt"), key: path.join(folder, "server.key") },
      },
    },
    undefined,
    2,
  );
}

async function untilAnswers(home: SandboxHome, address: string): Promise<void> {
  const file = (extension: string) => path.join(folderOf(home), `${address}.${extension}`);
  const isRunning = () => pidOf(file("yml")) !== undefined;
  try {
    const ended = await waitFor("it to answer", START_SECONDS, async () => !isRunning() || head(home, address, "/v2/"));
    if (ended === true) throw new Error("it ended");
  } catch (error) {
    const last = (await readFile(file("log"), "utf8")).trim().split("\n").slice(-5).join("\n");
    throw new Error(
      `image registry at ${address}:${home.registryPort}: ${isRunning() ? "does not answer" : "ended"}, it should serve. ` +
        `Its last lines are:\n${last}`,
      { cause: error },
    );
  }
}

async function head(home: SandboxHome, address: string, route: string): Promise<{ status: number; digest?: string }> {
  const ca = await readFile(registryCertificate(home));
  return await new Promise((resolve, reject) => {
    https
      .request(
        {
          method: "HEAD",
          host: address,
          port: home.registryPort,
          path: route,
          ca,
          headers: { accept: "application/vnd.docker.distribution.manifest.v2+json" },
          agent: false,
        },
        (response) => {
          response.resume();
          const digest = response.headers["docker-content-digest"];
          resolve({ status: response.statusCode ?? 0, ...(typeof digest === "string" && { digest }) });
        },
      )
      .on("error", reject)
      .end();
  });
}
