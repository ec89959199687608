import { readFile, readdir, stat } from "node:fs/promises";
import path from "node:path";

import type { TestCloud } from "./harness.ts";

/** Secrets: a public name for each, and a piece of it that no other text contains. */
export type Needles = Record<string, string>;

/** All secrets of a stack, from its decrypted state, and of its cloud. */
export async function secretsOf(cloud: TestCloud, stack: string): Promise<Needles> {
  const { stdout } = await cloud.pulumi(["stack", "export", "--show-secrets", "--stack", stack]);
  const { deployment } = JSON.parse(stdout) as { deployment: { resources: { urn: string; outputs?: unknown }[] } };
  const found: Needles = {};
  for (const { urn, outputs } of deployment.resources) {
    const name = urn.slice(urn.lastIndexOf("::") + 2);
    for (const [key, value] of Object.entries((outputs ?? {}) as Record<string, unknown>)) {
      const plain = (value as { plaintext?: string } | null)?.plaintext;
      if (plain === undefined || !/^result$|^password$|key$|keyopenssh$|keypem/i.test(key)) continue;
      found[`${name}.${key}`] = needle(JSON.parse(plain) as string);
    }
  }
  found["passphrase"] = (await readFile(cloud.env["PULUMI_CONFIG_PASSPHRASE_FILE"] ?? "", "utf8")).trim();
  found["token"] = cloud.env["DIGITALOCEAN_TOKEN"] ?? "";
  return found;
}

/**
 * For a key in PEM, a line that has a private part: the public key is in it too, and is no secret. In OpenSSH's format, the
 * private number is at the end, in that of elliptic curves at the beginning.
 */
function needle(secret: string): string {
  const lines = secret.trim().split("\n");
  if (lines.length < 4) return secret.trim();
  if (/OPENSSH/.test(secret)) return lines.at(-2) ?? "";
  return (/BEGIN (EC )?PRIVATE/.test(secret) ? lines[1] : lines.at(-3)) ?? "";
}

/**
 * Looks for secrets of a stack wherever somebody could read them: in what `pulumi` prints, in the state, in the process lists,
 * logs and readable files of this computer and of the droplet.
 *
 * @returns each secret that was found, as `name in place`
 */
export async function leaksOf(
  cloud: TestCloud,
  stack: string,
  processes: ProcessWatch,
  secrets: Needles,
): Promise<string[]> {
  await cloud.pulumi(["preview", "--diff", "--show-replacement-steps", "--stack", stack], { PULUMI_DEBUG: "1" });
  const { stdout: state } = await cloud.pulumi(["stack", "export", "--stack", stack]);
  const needles = Object.values(secrets).join("\n");
  const logs = await cloud.onDroplet(
    stack,
    "journalctl --no-pager && find /var/log -name '*.log' -exec cat {} + && docker logs convex-backend 2>&1",
  );
  const unit = await cloud.onDroplet(stack, "runuser -u nobody -- ps -eo args");
  const readable = "grep -rsIlF -D skip -f - /etc /var /usr/local /opt /mnt /home /root /run /tmp";
  const files = await cloud.onDroplet(stack, `runuser -u nobody -- ${readable}`, needles);
  if (logs.exitCode !== 0) throw new Error(`no logs: ${logs.all.slice(-500)}`);
  return [
    ...leaksIn("what pulumi printed", cloud.transcript, secrets),
    ...leaksIn("the encrypted state", state, secrets),
    ...leaksIn("a process list", processes.commandLines, secrets),
    ...leaksIn("a process list on the droplet", unit.stdout, secrets),
    ...leaksIn("the droplet's logs", logs.all, secrets),
    ...(await leaksInFiles(cloud.home.root, secrets)),
    ...files.stdout.split("\n").flatMap((file) => (file === "" ? [] : [`a secret in ${file} on the droplet`])),
  ];
}

/** The secrets in a text, as `name in place`. */
export function leaksIn(place: string, text: string, secrets: Needles): string[] {
  return Object.entries(secrets).flatMap(([name, value]) => (text.includes(value) ? [`${name} in ${place}`] : []));
}

/** The secrets in files below a folder that other users than the owner may read. */
async function leaksInFiles(folder: string, secrets: Needles): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => path.join(entry.parentPath, entry.name));
  const leaks = await Promise.all(
    files.map(async (file) => {
      const { size, mode } = await stat(file);
      if (size > 32 * 1024 * 1024 || (mode & 0o077) === 0) return [];
      return leaksIn(file, await readFile(file, "latin1"), secrets);
    }),
  );
  return leaks.flat();
}

/**
 * Reads the command lines of all processes of this computer, also in droplets, again and again until it is disposed. It reads
 * a new process several times, because a process starts as a copy of its parent.
 */
export class ProcessWatch implements AsyncDisposable {
  readonly #seen = new Set<string>();
  readonly #reads = new Map<string, number>();
  readonly #loop: Promise<void>;
  #stopped = false;

  constructor() {
    this.#loop = this.#watch();
  }

  /**
   * All command lines seen until now, one on each line, except the backend's own: its start script passes its secret and its
   * database's URL as arguments, which only root can see on the droplet.
   */
  get commandLines(): string {
    return [...this.#seen].filter((line) => !line.includes("--instance-secret")).join("\n");
  }

  async #watch(): Promise<void> {
    while (!this.#stopped) {
      const processes = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
      const young = processes.filter((id) => (this.#reads.get(id) ?? 0) < 4);
      const lines = await Promise.all(young.map((id) => readFile(`/proc/${id}/cmdline`, "utf8").catch(() => "")));
      for (const id of young) this.#reads.set(id, (this.#reads.get(id) ?? 0) + 1);
      for (const line of lines) if (line !== "") this.#seen.add(line.replaceAll("\0", " "));
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#stopped = true;
    await this.#loop;
  }
}
