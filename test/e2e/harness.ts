import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";

import { claimFolder, sandboxHome, type SandboxHome } from "../../sandbox/home.ts";
import { projectFolder } from "../../sandbox/project.ts";
import { environment, prepare, selectStack, tearDown } from "../../sandbox/sandbox.ts";
import { waitFor } from "../../sandbox/wait-for.ts";

export { waitFor as eventually };

/** The result of a finished command. */
export interface Run {
  exitCode: number;
  stdout: string;
  /** Stdout and stderr, in the order they came. */
  all: string;
}

const PREFIX = "convex-droplet-e2e-";
/** File in a cloud's folder with the id of the process that uses it. */
const OWNER = "owner";

/** A test's own cloud, which is removed after the test. It shares nothing with the checkout's sandbox or with other tests. */
export class TestCloud implements AsyncDisposable {
  readonly home: SandboxHome;
  readonly env: Record<string, string | undefined>;
  /** The output of all `pulumi` commands, except those with `--show-secrets`. */
  transcript = "";

  private constructor(home: SandboxHome, env: Record<string, string | undefined>) {
    this.home = home;
    this.env = env;
  }

  static async start(): Promise<TestCloud> {
    await removeAbandoned();
    const home = sandboxHome(await mkdtemp(path.join(tmpdir(), PREFIX)));
    try {
      claimFolder(home);
      await writeFile(path.join(home.root, OWNER), String(process.pid));
      await prepare(home);
      return new TestCloud(home, await environment(home));
    } catch (error) {
      await tearDown(home, true);
      throw error;
    }
  }

  /** Runs `pulumi` as a user of this cloud would. Never throws: a test checks the exit code. */
  async pulumi(args: string[], env: Record<string, string | undefined> = {}): Promise<Run> {
    const words = [...args, "--non-interactive"];
    const finished = await run("pulumi", words, projectFolder(this.home), { env: { ...this.env, ...env } });
    if (!args.includes("--show-secrets")) this.transcript += finished.all;
    return finished;
  }

  async createStack(stack: string, settings: Record<string, string> = {}): Promise<void> {
    await selectStack(this.home, stack);
    for (const [key, value] of Object.entries(settings)) await this.configure(stack, key, value);
  }

  async configure(stack: string, key: string, value: string): Promise<void> {
    const run = await this.pulumi([
      "config",
      "set",
      "--stack",
      stack,
      ...(key.includes("[") ? ["--path"] : []),
      key,
      value,
    ]);
    if (run.exitCode !== 0) throw new Error(run.all);
  }

  /** Sets one value below a setting as a secret, from stdin, as a user does. */
  async configureSecretly(stack: string, key: string, value: string): Promise<void> {
    const words = ["config", "set", "--stack", stack, "--path", "--secret", key];
    const { exitCode, all } = await run("pulumi", words, projectFolder(this.home), { env: this.env, input: value });
    if (exitCode !== 0) throw new Error(all);
  }

  up(stack: string, ...args: string[]): Promise<Run> {
    return this.pulumi(["up", "--yes", "--skip-preview", "--stack", stack, ...args]);
  }

  async outputs(stack: string): Promise<Record<string, string>> {
    const { stdout } = await this.pulumi(["stack", "output", "--json", "--show-secrets", "--stack", stack]);
    return JSON.parse(stdout) as Record<string, string>;
  }

  /** Runs a shell command as root on a stack's droplet, with its own SSH connection and none of the program's code. */
  async onDroplet(stack: string, command: string, input?: string): Promise<Run> {
    const { publicIp = "", sshPrivateKey = "", sshHostKey = "" } = await this.outputs(stack);
    return ssh({ host: publicIp, key: sshPrivateKey, hostKey: sshHostKey }, command, input);
  }

  /** Runs a command of this repository, such as `drift`, as a user of this cloud would. */
  operate(verb: string, stack: string, args: string[] = [], env: Record<string, string> = {}): Promise<Run> {
    const words = [path.resolve("operations/cli.ts"), verb, "--stack", stack, ...args];
    return run("node", words, projectFolder(this.home), { env: { ...this.env, ...env } });
  }

  /**
   * Runs a printed command exactly as it stands. If Pulumi asks whether to go on, the answer is yes.
   *
   * @param printed  the command, or a sentence that ends with it
   */
  async typed(printed: string): Promise<Run> {
    const command = printed.slice(printed.indexOf("npm run sandbox --"));
    const env = { CONVEX_DROPLET_SANDBOX: this.home.root, PULUMI_SKIP_CONFIRMATIONS: "true" };
    const finished = await run("sh", ["-c", command], path.resolve("."), { env });
    this.transcript += finished.all;
    return finished;
  }

  /** Switches the cloud's first droplet on or off, and waits until the cloud reports it. */
  async switchDroplet(to: "on" | "off"): Promise<void> {
    const { droplets } = (await (await this.cloud("GET", "/v2/droplets")).json()) as { droplets: { id: number }[] };
    const route = `/v2/droplets/${droplets[0]?.id ?? "none"}`;
    await this.cloud("POST", `${route}/actions`, { type: `power_${to}` });
    const wanted = to === "on" ? "active" : "off";
    await waitFor(`the droplet to be ${wanted}`, 60, async () => {
      const { droplet } = (await (await this.cloud("GET", route)).json()) as { droplet?: { status: string } };
      if (droplet?.status !== wanted) throw new Error(`it is ${droplet?.status ?? "not there"}`);
    });
  }

  /** Does something to a droplet, such as `power_cycle`, and waits until it is done. */
  async actOnDroplet(id: string, type: string): Promise<void> {
    const answer = await this.cloud("POST", `/v2/droplets/${id}/actions`, { type });
    if (!answer.ok) throw new Error(`${type} refused: ${await answer.text()}`);
    const { action } = (await answer.json()) as { action: { id: number } };
    await waitFor(`${type} of droplet ${id} to be done`, 60, async () => {
      const { action: now } = (await (await this.cloud("GET", `/v2/actions/${action.id}`)).json()) as {
        action: { status: string };
      };
      return now.status === "completed";
    });
  }

  /** The address that the account has reserved; empty if there is none. */
  async reservedAddress(): Promise<string> {
    const { reserved_ips: found } = (await (await this.cloud("GET", "/v2/reserved_ips")).json()) as {
      reserved_ips: { ip: string }[];
    };
    return found[0]?.ip ?? "";
  }

  /** How many times each fault will still occur, in the order in which they were set. */
  async faultsLeft(): Promise<number[]> {
    const { faults } = (await (await this.cloud("GET", "/_control/faults")).json()) as {
      faults: { remaining: number }[];
    };
    return faults.map(({ remaining }) => remaining);
  }

  /** Makes the cloud fail; sandbox/cloud/routes/faults.ts describes the faults. */
  async fault(fault: Record<string, unknown>): Promise<void> {
    const response = await this.cloud("POST", "/_control/faults", fault);
    if (!response.ok) throw new Error(`fault refused: ${await response.text()}`);
  }

  /** Calls the cloud's API with the token. */
  cloud(method: string, route: string, body?: unknown): Promise<Response> {
    return fetch(`http://127.0.0.1:${this.home.apiPort}${route}`, {
      method,
      headers: { authorization: `Bearer ${this.env["DIGITALOCEAN_TOKEN"] ?? ""}`, "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await tearDown(this.home, true);
  }
}

/** Removes the clouds of test runs that were killed. */
async function removeAbandoned(): Promise<void> {
  for (const name of (await readdir(tmpdir())).filter((entry) => entry.startsWith(PREFIX))) {
    const root = path.join(tmpdir(), name);
    const file = path.join(root, OWNER);
    const owner = await readFile(file, "utf8").catch(() => "");
    if (owner === "" || existsSync(`/proc/${owner}`)) continue;
    // If several runs start together, the one that renames this file removes the cloud, and writes its own id to it.
    const isOurs = await rename(file, `${file}.dead`).then(
      () => true,
      () => false,
    );
    if (!isOurs) continue;
    await writeFile(file, String(process.pid));
    await tearDown(sandboxHome(root), true);
  }
}

/** Runs a command with OpenSSH, with the host key pinned. */
export async function ssh(
  target: { host: string; key: string; hostKey: string },
  command: string,
  input?: string,
): Promise<Run> {
  const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-ssh-"));
  try {
    await writeFile(path.join(folder, "key"), `${target.key.trim()}\n`, { mode: 0o600 });
    await writeFile(path.join(folder, "hosts"), `${target.host} ${target.hostKey}\n`);
    const options = [
      `UserKnownHostsFile=${folder}/hosts`,
      "StrictHostKeyChecking=yes",
      "ConnectTimeout=10",
      "LogLevel=ERROR",
    ];
    const words = ["-i", path.join(folder, "key"), ...options.flatMap((option) => ["-o", option])];
    return await run("ssh", [...words, `root@${target.host}`, command], folder, { input });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** Runs a command until it ends; never throws. */
export async function run(
  command: string,
  args: string[],
  cwd: string,
  { env = {}, input = "" }: { env?: Record<string, string | undefined>; input?: string | undefined },
): Promise<Run> {
  const { exitCode, stdout, all } = await execa(command, args, { cwd, env, input, all: true, reject: false });
  return { exitCode: exitCode ?? 1, stdout, all };
}
