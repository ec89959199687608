import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir, userInfo } from "node:os";
import path from "node:path";
import { execa } from "execa";
import { waitFor } from "../../sandbox/wait-for.ts";
import { freePort } from "../free-port.ts";

/** An OpenSSH server on a loopback port, with its own keys and configuration. Needs Debian's openssh-server. */
export class Sshd implements AsyncDisposable {
  readonly port: number;
  /** The folder for a user's files; removed at the end. */
  readonly folder: string;
  readonly privateKey: string;
  /** The server's ED25519 public key, as a line of `authorized_keys`. */
  readonly hostKey: string;
  readonly #config: string;
  #process: ChildProcess | undefined;
  #log = "";

  private constructor(port: number, folder: string, keys: { user: string; host: string }) {
    this.port = port;
    this.folder = folder;
    this.privateKey = keys.user;
    this.hostKey = keys.host;
    this.#config = path.join(folder, "sshd_config");
  }

  static async start(): Promise<Sshd> {
    const folder = await mkdtemp(path.join(tmpdir(), "plugin-sshd-"));
    const [hostKey, userKey] = [path.join(folder, "host"), path.join(folder, "user")];
    for (const file of [hostKey, userKey])
      await execa("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", "", "-f", file]);
    const port = await freePort();
    const lines = [
      `Port ${port}`,
      "ListenAddress 127.0.0.1",
      `HostKey ${hostKey}`,
      `AuthorizedKeysFile ${userKey}.pub`,
      "PermitRootLogin prohibit-password",
      "PasswordAuthentication no",
      "KbdInteractiveAuthentication no",
      "UsePAM no",
      "StrictModes no",
      "PidFile none",
      "AcceptEnv GREETING PULUMI_COMMAND_STDOUT",
      "Subsystem sftp internal-sftp",
      "MaxStartups 100",
      "LogLevel VERBOSE",
    ];
    const keys = { user: await readFile(userKey, "utf8"), host: await readFile(`${hostKey}.pub`, "utf8") };
    const sshd = new Sshd(port, folder, keys);
    await writeFile(sshd.#config, `${lines.join("\n")}\n`);
    await sshd.run();
    return sshd;
  }

  /** Starts the server; after `stop`, with the same port and keys. */
  async run(): Promise<void> {
    // Debian's service makes this directory; sshd does not start without it.
    await mkdir("/run/sshd", { recursive: true });
    const child = spawn("/usr/sbin/sshd", ["-D", "-e", "-f", this.#config], { stdio: ["ignore", "ignore", "pipe"] });
    child.stderr.on("data", (chunk: Buffer) => (this.#log += chunk.toString()));
    this.#process = child;
    try {
      const isReady = async () => child.exitCode === null && (await isOpen(this.port));
      await waitFor(`sshd to listen on port ${this.port}`, 10, isReady);
    } catch (error) {
      await this[Symbol.asyncDispose]();
      throw new Error(`${String(error)}: ${this.#log}`, { cause: error });
    }
  }

  /** Stops listening; open connections stay. */
  async stop(): Promise<void> {
    if (!this.#process || this.#process.exitCode !== null || this.#process.signalCode !== null) return;
    const ended = once(this.#process, "exit");
    this.#process.kill("SIGKILL");
    await ended;
  }

  /** The input `connection` for this server; `options` override. */
  connection(options: Record<string, unknown> = {}): Record<string, unknown> {
    return {
      host: "127.0.0.1",
      port: this.port,
      user: userInfo().username,
      privateKey: this.privateKey,
      hostKey: this.hostKey,
      ...options,
    };
  }

  /** The number of successful logins. */
  logins(): number {
    return [...this.#log.matchAll(/^Accepted publickey/gm)].length;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
    await rm(this.folder, { recursive: true, force: true });
  }
}

async function isOpen(port: number): Promise<boolean> {
  const socket = connect(port, "127.0.0.1");
  try {
    await once(socket, "connect");
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
