import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

import * as pulumi from "@pulumi/pulumi";

import { RIVALS } from "../examples/app-repo/scripts/target/rivals.ts";
import { onThisStack } from "../settings/on-this-stack.ts";
import type { Target } from "../ssh/connect.ts";
import { forwarded } from "../ssh/forward.ts";

/** An app's package, and the Convex CLI that it has. */
interface Package {
  folder: string;
  cli: string;
}

/** The backend that gets the functions. */
export interface Backend {
  /** The machine that it runs on. */
  target: Target;
  /** Port of the API on the machine. */
  apiPort: number;
  instanceName: string;
  adminKey: string;
}

/**
 * Deploys the functions of a package with the package's own Convex CLI, whose lines appear in the log of the run. They go through SSH,
 * so also a stack that is closed from outside gets them, and no other deployment can. If the CLI fails or is killed, the functions of the
 * deployment stay as they were: it activates them all in its last step.
 *
 * @throws Error if the backend is another than expected, or the CLI fails; UnreachableError if the machine cannot be reached
 */
export async function pushFunctions(app: Package, { target, apiPort, instanceName, adminKey }: Backend): Promise<void> {
  await forwarded(target, apiPort, async (origin) => {
    await prove(origin, instanceName, adminKey);
    await deploy(app, origin, adminKey);
  });
}

/**
 * Proves that an instance is the expected one, before it gets anything.
 *
 * @throws Error if it is another, refuses the key or does not answer
 */
export async function prove(origin: string, instanceName: string, adminKey: string): Promise<void> {
  const ask = (route: string, headers = {}) =>
    fetch(`${origin}${route}`, { headers, signal: AbortSignal.timeout(30_000) });
  const refusal = (what: string) =>
    new Error(
      `the backend: ${what}, so no functions were deployed. Find out why with: npm run doctor -- --stack ${pulumi.getStack()}`,
    );
  const name = await ask("/instance_name").then(
    (response) => response.text(),
    () => undefined,
  );
  if (name === undefined) throw refusal("does not answer on the droplet");
  if (name !== instanceName) throw refusal(`is instance "${name.slice(0, 64)}", it should be ${instanceName}`);
  const { status } = await ask("/api/check_admin_key", { authorization: `Convex ${adminKey}` });
  if (status !== 200) throw refusal(`refuses the stack's admin key (${status}), it should accept it`);
}

async function deploy({ folder, cli }: Package, origin: string, adminKey: string): Promise<void> {
  const child = spawn(process.execPath, [cli, "deploy"], {
    cwd: folder,
    env: cliEnvironment(process.env, origin, adminKey),
    stdio: ["ignore", "pipe", "pipe"],
  });
  const end = () => child.kill();
  process.once("exit", end);
  try {
    for (const stream of [child.stdout, child.stderr]) {
      createInterface(stream).on("line", (line) => {
        const shown = line.replaceAll(adminKey, "[the admin key]").replaceAll(origin, "the backend").trimEnd();
        if (shown !== "") void pulumi.log.info(shown);
      });
    }
    const [exitCode] = (await once(child, "close")) as [number | null];
    if (exitCode !== 0) {
      throw new Error(
        `convex-droplet:functionPackage: the Convex CLI could not deploy ${folder} (exit code ${exitCode ?? "none"}), its reason is above. ` +
          `The functions of the deployment stay as they were. Fix it, and run: ${onThisStack("up")}`,
      );
    }
  } finally {
    process.off("exit", end);
  }
}

/**
 * The environment of the CLI. It contains nothing of the run's own secrets. The CLI reads the app's .env.local and .env only for variables
 * that it does not have: so the rivals are there and empty, which it takes for not set.
 */
export function cliEnvironment(shell: NodeJS.ProcessEnv, origin: string, adminKey: string): Record<string, string> {
  const kept = ["PATH", "HOME", "TMPDIR", "LANG", "NODE_OPTIONS"].flatMap((name) =>
    shell[name] === undefined ? [] : [[name, shell[name]] as const],
  );
  return {
    ...Object.fromEntries(kept),
    // It sends no reports of its errors.
    CI: "1",
    ...Object.fromEntries(Object.keys(RIVALS).map((name) => [name, ""])),
    CONVEX_SELF_HOSTED_URL: origin,
    CONVEX_SELF_HOSTED_ADMIN_KEY: adminKey,
  };
}
