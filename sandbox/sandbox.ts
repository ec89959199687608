import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import path from "node:path";

import { execa } from "execa";

import { runPulumi } from "../contract/run-pulumi.ts";
import { startCloud, stopCloud } from "./cloud/daemon.ts";
import { cloudToken } from "./cloud/token.ts";
import { useDomain } from "./domain.ts";
import { ensureDropletImage } from "./droplet/image.ts";
import { removeEverything } from "./droplet/remove.ts";
import { cachedCliPath, officialDownloadReachable } from "./engine/cli.ts";
import { isExecutable } from "./engine/go-build.ts";
import { endProcessesOf } from "./engine/processes.ts";
import { layOutPulumiHome, pulumiEnvironment } from "./engine/pulumi-home.ts";
import { ensureS3Server } from "./engine/s3-server.ts";
import { claimFolder, requireClaimed, type SandboxHome } from "./home.ts";
import { officialImagesReachable, publishImages } from "./images/build.ts";
import { startRegistry, stopRegistry } from "./images/registry.ts";
import { checkComputer, has, prepareComputer, releaseEngine } from "./prerequisites.ts";
import { step } from "./progress.ts";
import { endS3Servers } from "./spaces/s3-servers.ts";
import { SPACES_DOMAIN } from "./spaces-regions.ts";
import { layOutProject, layOutStack, projectFolder } from "./project.ts";

const CHECKOUT = path.resolve(import.meta.dirname, "..");

/** The stack that the sandbox deploys by default. */
export const STACK = "sandbox";

/**
 * Prepares a whole cloud on this computer: the Pulumi CLI, a Docker engine, the droplets' image, Convex's images in a
 * registry, the cloud's API. Does only what is missing.
 */
export async function prepare(home: SandboxHome): Promise<void> {
  const needsGo = !(await isExecutable(cachedCliPath())) && !(await officialDownloadReachable());
  checkComputer(needsGo);
  claimFolder(home);
  await step("Debian packages and Docker engine", prepareComputer);
  await step("Pulumi CLI and plugins", (progress) => layOutPulumiHome(home, progress));
  // Without Go, the sandbox has no Spaces, which most stacks do not need.
  if (needsGo || has("go")) await step("S3 server of Spaces", ensureS3Server);
  await step("Droplet image", ensureDropletImage);
  const images = await step("Convex images", (progress) => convexImages(home, progress));
  await step("Cloud", () => startCloud(home));
  // Everything in a sandbox is thrown away.
  await layOutProject(home, { ...images, protectData: "false" });
}

/** Runs `pulumi` in the sandbox's project, with its cloud and its state. @returns what it prints on stdout */
export async function pulumi(home: SandboxHome, ...args: string[]): Promise<string> {
  const { stdout } = await execa("pulumi", args, { cwd: projectFolder(home), env: await environment(home) });
  return stdout;
}

/** Runs `pulumi` like {@link pulumi}, but on this terminal. @returns the exit code */
export async function showPulumi(home: SandboxHome, ...args: string[]): Promise<number> {
  const env = { ...process.env, ...(await environment(home)) };
  const { exitCode } = await runPulumi("pulumi", args, { cwd: projectFolder(home), env });
  if (exitCode !== 0) process.stderr.write("If a message says npx pulumi, type here: npm run sandbox -- pulumi\n");
  return exitCode;
}

/** Runs a command for real stacks on the sandbox. @returns the exit code */
export async function operate(home: SandboxHome, verb: string, args: string[]): Promise<number> {
  const program = path.join(CHECKOUT, "operations", "cli.ts");
  // The words after the stack's name are the command for ssh.
  const words = /^(--stack(=|$)|-s|--help$|-h$)/.test(args[0] ?? "") ? args : ["--stack", STACK, ...args];
  const result = await execa(process.execPath, [program, verb, ...words], {
    cwd: projectFolder(home),
    env: await environment(home),
    stdio: "inherit",
    reject: false,
  });
  return result.exitCode ?? 1;
}

/** The environment in which a command of this repository works on the sandbox as on a real cloud. */
export async function environment(home: SandboxHome): Promise<Record<string, string | undefined>> {
  return {
    ...pulumiEnvironment(home),
    DIGITALOCEAN_TOKEN: await cloudToken(home),
    DIGITALOCEAN_API_URL: `http://127.0.0.1:${home.apiPort}`,
    // The official provider's variable. Its requests go through the proxy that the plugin's script sets.
    SPACES_ENDPOINT_URL: `http://{{.Region}}.${SPACES_DOMAIN}`,
    // Messages then name the sandbox's form of each command.
    CONVEX_DROPLET_ON_SANDBOX: "true",
  };
}

/**
 * Deploys a stack as a user does, with the output on this terminal.
 *
 * @param domain  the name under which the stack can be reached with TLS; if absent, that stays as it is
 */
export async function deploy(home: SandboxHome, stack = STACK, domain?: string): Promise<void> {
  await selectStack(home, stack);
  await useDomain(home, stack, domain);
  if ((await operate(home, "up", ["--stack", stack, "--yes", "--skip-preview", "--suppress-outputs"])) !== 0) {
    throw new Error("the deployment failed. What it made is kept. Fix the cause, then run: npm run sandbox");
  }
}

/** Makes a stack if it does not exist yet, and selects it. */
export async function selectStack(home: SandboxHome, stack: string): Promise<void> {
  await layOutStack(home, stack);
  await pulumi(home, "stack", "select", "--create", stack);
}

/**
 * Destroys the stacks' resources through the engine, then the cloud itself: no process, container, loop device, mount,
 * network or file of it remains.
 *
 * @param force  skips the engine, for a sandbox whose state or machines cannot be repaired
 */
export async function tearDown(home: SandboxHome, force = false): Promise<void> {
  if (!existsSync(home.root)) return;
  requireClaimed(home);
  if (!force && existsSync(projectFolder(home))) await destroyStacks(home);
  await step("Removing the cloud", async () => {
    await endProcessesOf(home);
    await stopCloud(home);
    await endS3Servers(home);
    await stopRegistry(home);
    if (await engineIsThere()) await removeEverything(home);
    await rm(home.root, { recursive: true, force: true });
    await releaseEngine();
  });
}

async function destroyStacks(home: SandboxHome): Promise<void> {
  const stacks = (
    JSON.parse(await pulumi(home, "stack", "ls", "--json")) as { name: string; resourceCount?: number }[]
  ).filter(({ resourceCount = 0 }) => resourceCount > 0);
  if (stacks.length === 0) return;
  await startRegistry(home);
  await startCloud(home);
  for (const { name } of stacks) {
    // Without --skip-preview: the preview refuses a protected stack before anything is deleted.
    if ((await showPulumi(home, "destroy", "--yes", "--stack", name)) !== 0) {
      throw new Error(
        `stack ${name} could not be destroyed. Fix the cause (if data is protected: npm run sandbox -- pulumi config set ` +
          `--stack ${name} protectData false, then npm run sandbox), or: npm run sandbox -- down --force`,
      );
    }
  }
}

/** The official images if they can be reached, otherwise stand-ins from the sandbox's registry. */
async function convexImages(home: SandboxHome, progress: (text: string) => void): Promise<Record<string, string>> {
  await startRegistry(home);
  if (await officialImagesReachable()) return {};
  const { backend, dashboard } = await publishImages(home, progress);
  // The digest is enough; not every version of the Docker provider accepts a tag beside it.
  return { backendImage: withoutTag(backend), dashboardImage: withoutTag(dashboard) };
}

function withoutTag(reference: string): string {
  return reference.replace(/:[0-9a-f]{40}@/, "@");
}

async function engineIsThere(): Promise<boolean> {
  return (await execa("docker", ["version"], { reject: false })).exitCode === 0;
}

/** The cloud's log file. */
export function cloudLog(home: SandboxHome): string {
  return path.join(home.root, "cloud", "log");
}
