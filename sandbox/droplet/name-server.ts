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

/** A host name with an address for this computer and one for droplets. */
export interface ServedName {
  name: string;
  outside: string;
  inside: string;
}

/** What the name server serves. */
export interface Served {
  zones: ZoneSpec[];
  /** Whether the names of Spaces lead to the gateway. */
  spaces: boolean;
  names: ServedName[];
}

/**
 * A name server for the zones of a sandbox, Debian's unbound, on the network's gateway and on this computer's 127.0.0.1.
 * It asks this computer's name servers for all other names. It runs only if there is something to serve.
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

  /** Serves exactly this; resolves when the answers come from it. */
  async serve(served: Served): Promise<void> {
    const { zones, spaces, names } = served;
    if (zones.length === 0 && !spaces && names.length === 0) {
      await this[Symbol.asyncDispose]();
      return;
    }
    // A process that was killed may have left one.
    if (!this.isRunning) await endNameServer(this.#home);
    const folder = folderOf(this.#home);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    for (const { name, file } of zones) await writeFileAtomically(path.join(folder, `${name}.zone`), file);
    await writeFileAtomically(configurationFile(this.#home), await this.#configuration(served));
    if (this.isRunning) this.#process.signal("SIGHUP");
    else await this.#start();
    const resolver = new Resolver({ timeout: 500, tries: 1 });
    resolver.setServers([`127.0.0.1:${this.#home.dnsPort}`]);
    const what = [...zones, ...names].map(({ name }) => name).concat(spaces ? "Spaces" : []);
    await waitFor(`the name server to serve ${what.join(", ")}`, START_SECONDS, async () => {
      const answers = await Promise.all(zones.map(({ name }) => resolver.resolveSoa(name)));
      const hosts = names.map(({ name, outside }) => ({ name, address: outside }));
      if (spaces) hosts.push({ name: `${SPACES_REGIONS[0]}.${SPACES_DOMAIN}`, address: this.#network.gateway });
      for (const { name, address } of hosts) if ((await resolver.resolve4(name))[0] !== address) return false;
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

  async #configuration({ zones, spaces, names }: Served): Promise<string> {
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
    if (spaces) {
      for (const name of SPACES_REGIONS.map((region) => `${region}.${SPACES_DOMAIN}.`)) {
        // All names below it have the same address.
        settings.push(`local-zone: "${name}" redirect`, `local-data: "${name} 60 IN A ${gateway}"`);
      }
    }
    if (names.length > 0) settings.push(`access-control-view: ${subnet} droplets`);
    settings.push(...names.map(({ name, outside }) => localData(name, outside)));
    const inside = names.map(({ name, inside: address }) => localData(name, address));
    return [
      section("server", settings),
      // Everything else is answered as outside of it.
      ...(names.length > 0 ? [section("view", ['name: "droplets"', "view-first: yes", ...inside])] : []),
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

/** Short, as the names of database clusters move to another server after a failure. */
function localData(name: string, address: string): string {
  return `local-data: "${name}. 30 IN A ${address}"`;
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
