import { Resolver } from "node:dns/promises";
import { mkdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { writeFileAtomically } from "../atomic-file.ts";
import type { SandboxHome } from "../home.ts";
import { ensurePackage } from "../prerequisites.ts";
import { endServers, ServerProcess } from "../server-process.ts";
import { waitFor } from "../wait-for.ts";
import { SPACES_DOMAIN, SPACES_REGIONS } from "../spaces-regions.ts";
import type { ZoneSpec } from "./hypervisor.ts";
import type { SandboxNetwork } from "./network.ts";

const START_SECONDS = 20;

/**
 * A name server for the zones of a sandbox, Debian's unbound, on the network's gateway and on this computer's 127.0.0.1.
 * It asks this computer's name servers for all other names. It runs only if there is a zone.
 */
export class NameServer implements AsyncDisposable {
  readonly #home: SandboxHome;
  readonly #network: SandboxNetwork;
  readonly #process: ServerProcess;

  constructor(home: SandboxHome, network: SandboxNetwork) {
    this.#home = home;
    this.#network = network;
    this.#process = new ServerProcess(path.join(folderOf(home), "log"));
  }

  get isRunning(): boolean {
    return this.#process.isRunning;
  }

  /**
   * Serves exactly these zones, and leads the names of Spaces to the gateway if they are in use; resolves when the answers
   * come from them.
   */
  async serve(zones: ZoneSpec[], withSpaces = false): Promise<void> {
    if (zones.length === 0 && !withSpaces) {
      await this[Symbol.asyncDispose]();
      return;
    }
    // A process that was killed may have left one.
    if (!this.isRunning) await endNameServer(this.#home);
    const folder = folderOf(this.#home);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const { name, file } of zones) await writeFileAtomically(path.join(folder, `${name}.zone`), file);
    await writeFileAtomically(configurationFile(this.#home), await this.#configuration(zones, withSpaces));
    if (this.isRunning) this.#process.signal("SIGHUP");
    else await this.#start();
    const resolver = new Resolver({ timeout: 500, tries: 1 });
    resolver.setServers([`127.0.0.1:${this.#home.dnsPort}`]);
    const names = [...zones.map(({ name }) => name), ...(withSpaces ? ["Spaces"] : [])].join(", ");
    await waitFor(`the name server to serve ${names}`, START_SECONDS, async () => {
      const answers = await Promise.all(zones.map(({ name }) => resolver.resolveSoa(name)));
      if (withSpaces) {
        const [address] = await resolver.resolve4(`${SPACES_REGIONS[0]}.${SPACES_DOMAIN}`);
        if (address !== this.#network.gateway) return false;
      }
      return zones.every(({ serial }, index) => answers[index]?.serial === serial);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.forget();
    await endNameServer(this.#home);
  }

  async #start(): Promise<void> {
    await ensurePackage("unbound", "unbound");
    await this.#process.start(["unbound", "-d", "-c", configurationFile(this.#home)]);
  }

  async #configuration(zones: ZoneSpec[], withSpaces: boolean): Promise<string> {
    const { gateway, subnet } = this.#network;
    const settings = [
      `directory: "${folderOf(this.#home)}"`,
      'pidfile: ""',
      ...['chroot: ""', 'username: ""', "use-syslog: no", "do-ip6: no"],
      ...["127.0.0.1", gateway].map((address) => `interface: ${address}@${this.#home.dnsPort}`),
      ...["127.0.0.0/8", subnet].map((network) => `access-control: ${network} allow`),
      // These zones are not signed, and this computer's name servers may be on it.
      ...['module-config: "iterator"', "do-not-query-localhost: no"],
      // By default, some domains, such as test, are answered without a look at their zone.
      ...zones.map(({ name }) => `local-zone: "${name}." transparent`),
    ];
    if (withSpaces) {
      for (const name of SPACES_REGIONS.map((region) => `${region}.${SPACES_DOMAIN}.`)) {
        // All names below it have the same address.
        settings.push(`local-zone: "${name}" redirect`, `local-data: "${name} 60 IN A ${gateway}"`);
      }
    }
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
  await endServers("unbound", configurationFile(home));
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
