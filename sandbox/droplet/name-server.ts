import { type ChildProcess, spawn } from "node:child_process";
import { Resolver } from "node:dns/promises";
import { mkdir, open, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { writeFileAtomically } from "../atomic-file.ts";
import type { SandboxHome } from "../home.ts";
import { ensurePackage } from "../prerequisites.ts";
import { endProcess, waitFor } from "../wait-for.ts";
import type { ZoneSpec } from "./hypervisor.ts";
import type { SandboxNetwork } from "./network.ts";

const START_SECONDS = 20;
const STOP_SECONDS = 10;

/**
 * A name server for the zones of a sandbox, Debian's unbound, on the network's gateway and on this computer's 127.0.0.1.
 * It asks this computer's name servers for all other names. It runs only if there is a zone.
 */
export class NameServer implements AsyncDisposable {
  readonly #home: SandboxHome;
  readonly #network: SandboxNetwork;
  #process: ChildProcess | undefined;

  constructor(home: SandboxHome, network: SandboxNetwork) {
    this.#home = home;
    this.#network = network;
  }

  get isRunning(): boolean {
    return this.#process !== undefined;
  }

  /** Serves exactly these zones; resolves when the answers come from them. */
  async serve(zones: ZoneSpec[]): Promise<void> {
    if (zones.length === 0) {
      await this[Symbol.asyncDispose]();
      return;
    }
    // A process that was killed may have left one.
    if (!this.#process) await endNameServer(this.#home);
    const folder = folderOf(this.#home);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const { name, file } of zones) await writeFileAtomically(path.join(folder, `${name}.zone`), file);
    await writeFileAtomically(configurationFile(this.#home), await this.#configuration(zones));
    if (this.#process) this.#process.kill("SIGHUP");
    else await this.#start();
    const resolver = new Resolver({ timeout: 500, tries: 1 });
    resolver.setServers([`127.0.0.1:${this.#home.dnsPort}`]);
    await waitFor(`the name server to serve ${zones.map(({ name }) => name).join(", ")}`, START_SECONDS, async () => {
      const answers = await Promise.all(zones.map(({ name }) => resolver.resolveSoa(name)));
      return zones.every(({ serial }, index) => answers[index]?.serial === serial);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process = undefined;
    await endNameServer(this.#home);
  }

  async #start(): Promise<void> {
    await ensurePackage("unbound", "unbound");
    const log = await open(path.join(folderOf(this.#home), "log"), "a", 0o600);
    const server = spawn("unbound", ["-d", "-c", configurationFile(this.#home)], { stdio: ["ignore", log.fd, log.fd] });
    await log.close();
    const forget = () => {
      if (this.#process === server) this.#process = undefined;
    };
    server.once("exit", forget).once("error", forget);
    this.#process = server;
  }

  async #configuration(zones: ZoneSpec[]): Promise<string> {
    const { gateway, subnet } = this.#network;
    const settings = [
      `directory: "${folderOf(this.#home)}"`,
      `pidfile: "${pidFile(this.#home)}"`,
      ...['chroot: ""', 'username: ""', "use-syslog: no", "do-ip6: no"],
      ...["127.0.0.1", gateway].map((address) => `interface: ${address}@${this.#home.dnsPort}`),
      ...["127.0.0.0/8", subnet].map((network) => `access-control: ${network} allow`),
      // These zones are not signed, and this computer's name servers may be on it.
      ...['module-config: "iterator"', "do-not-query-localhost: no"],
      // By default, some domains, such as test, are answered without a look at their zone.
      ...zones.map(({ name }) => `local-zone: "${name}." transparent`),
    ];
    return [
      section("server", settings),
      ...zones.map(({ name }) =>
        section("auth-zone", [
          ...[`name: "${name}."`, `zonefile: "${name}.zone"`, "for-downstream: no", "for-upstream: yes"],
        ]),
      ),
      // Exempts each zone from the forwarding below; its file is used before this address.
      ...zones.map(({ name }) => section("stub-zone", [`name: "${name}."`, "stub-addr: 127.0.0.1@9"])),
      section("forward-zone", ['name: "."', ...(await nameServers()).map((address) => `forward-addr: ${address}`)]),
    ].join("");
  }
}

/** Ends a sandbox's name server, if one runs, also one of an earlier process. */
export async function endNameServer(home: SandboxHome): Promise<void> {
  const pid = Number(await readFile(pidFile(home), "utf8").catch(() => "0"));
  const isRunning = async () => {
    // Another process may have the id by now.
    const commandLine = await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "");
    return commandLine.split("\0").includes(configurationFile(home));
  };
  if (await isRunning()) await endProcess(pid, STOP_SECONDS, isRunning);
  await rm(folderOf(home), { recursive: true, force: true });
}

/** The name servers that this computer uses. */
async function nameServers(): Promise<string[]> {
  const lines = (await readFile("/etc/resolv.conf", "utf8").catch(() => "")).split("\n");
  return lines.flatMap((line) => /^nameserver\s+([\d.]+)\s*$/.exec(line)?.[1] ?? []);
}

function section(name: string, settings: string[]): string {
  return `${name}:\n${settings.map((setting) => `  ${setting}\n`).join("")}`;
}

function folderOf(home: SandboxHome): string {
  return path.join(home.root, "names");
}

function configurationFile(home: SandboxHome): string {
  return path.join(folderOf(home), "unbound.conf");
}

function pidFile(home: SandboxHome): string {
  return path.join(folderOf(home), "pid");
}
