import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import path from "node:path";
import { writeFileAtomically } from "../atomic-file.ts";
import type { SandboxHome } from "../home.ts";
import { getOverTls } from "../tls-client.ts";
import { ensurePackage } from "../prerequisites.ts";
import { hasCertificateFor, makeCertificates } from "../server-certificate.ts";
import { endServers, ServerProcess } from "../server-process.ts";
import { waitFor } from "../wait-for.ts";
import type { AcmeAccess } from "./hypervisor.ts";
import type { SandboxNetwork } from "./network.ts";

const START_SECONDS = 20;
const LOCALHOST = "127.0.0.1";
/** As Let's Encrypt issues by default. */
const CERTIFICATE_SECONDS = 90 * 24 * 3600;

/**
 * No waits, no refusals at random, and a valid authorization is always used again, as Let's Encrypt does. With 0, pebble
 * still uses one in a hundred again. A variable of the daemon's environment has priority.
 */
const BEHAVIOUR = { PEBBLE_VA_NOSLEEP: "1", PEBBLE_WFE_NONCEREJECT: "0", PEBBLE_AUTHZREUSE: "100" };

/**
 * An ACME server, Debian's pebble, on the network's gateway. It resolves names with the sandbox's name server, and
 * validates with HTTP on port 80 of the addresses that it finds. It keeps accounts and its root certificate in memory, so
 * each start has a new root.
 */
export class AcmeServer implements AsyncDisposable {
  readonly #home: SandboxHome;
  readonly #network: SandboxNetwork;
  readonly #process: ServerProcess;

  constructor(home: SandboxHome, network: SandboxNetwork) {
    this.#home = home;
    this.#network = network;
    this.#process = new ServerProcess(path.join(folderOf(home), "log"));
  }

  /** Starts it, if it does not run yet; resolves when it answers. */
  async serve(): Promise<AcmeAccess> {
    if (!this.#process.isRunning) await this.#start();
    return { directory: this.#directory, authority: await readFile(acmeAuthority(this.#home), "utf8") };
  }

  /** Starts it if an earlier process served it. */
  async resume(): Promise<void> {
    if (existsSync(acmeAuthority(this.#home))) await this.serve();
  }

  /** Ends it. Its folder stays, for the next start. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#process.forget();
    await endServers("pebble", configurationFile(this.#home));
  }

  get #directory(): string {
    return `https://${this.#network.gateway}:${this.#home.acmePort}/dir`;
  }

  async #start(): Promise<void> {
    await ensurePackage("pebble", "pebble");
    // A process that was killed may have left one.
    await endServers("pebble", configurationFile(this.#home));
    const folder = folderOf(this.#home);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    if (!(await hasCertificateFor(folder, this.#network.gateway))) {
      await rm(acmeAuthority(this.#home), { force: true });
      await makeCertificates(folder, "ACME server", [`IP:${this.#network.gateway}`, `IP:${LOCALHOST}`]);
    }
    await writeFileAtomically(configurationFile(this.#home), this.#configuration());
    const dnsServer = `${LOCALHOST}:${this.#home.dnsPort}`;
    const command = ["pebble", "-config", configurationFile(this.#home), "-dnsserver", dnsServer] as const;
    await this.#process.start([...command], BEHAVIOUR);
    await this.#trustRoot().catch((error: unknown) => {
      this.#process.forget();
      throw error;
    });
  }

  /** Adds the new root to the authorities. Former roots stay, because their certificates are still in use. */
  async #trustRoot(): Promise<void> {
    const authority = await readFile(path.join(folderOf(this.#home), "ca.crt"), "utf8");
    const root = await waitFor("the ACME server to answer", START_SECONDS, async () => {
      await getOverTls(this.#directory, { authority });
      return (await getOverTls(`https://${LOCALHOST}:${this.#home.acmePort}/roots/0`, { authority })).body;
    });
    const file = acmeAuthority(this.#home);
    const known = existsSync(file) ? await readFile(file, "utf8") : authority;
    await writeFileAtomically(file, known + root);
  }

  #configuration(): string {
    const { acmePort } = this.#home;
    const folder = folderOf(this.#home);
    const settings = {
      listenAddress: `${this.#network.gateway}:${acmePort}`,
      managementListenAddress: `${LOCALHOST}:${acmePort}`,
      certificate: path.join(folder, "server.crt"),
      privateKey: path.join(folder, "server.key"),
      httpPort: 80,
      tlsPort: 443,
      certificateValidityPeriod: CERTIFICATE_SECONDS,
    };
    return JSON.stringify({ pebble: settings }, undefined, 2);
  }
}

/**
 * The file with the authorities of a sandbox's ACME server, PEM: that of its own certificate, and the roots of the
 * certificates that it issued. It exists if the server was ever started.
 */
export function acmeAuthority(home: SandboxHome): string {
  return path.join(folderOf(home), "authority.pem");
}

/** Ends a sandbox's ACME server, if one runs, also one of an earlier process, and removes what it kept. */
export async function endAcmeServer(home: SandboxHome): Promise<void> {
  await endServers("pebble", configurationFile(home));
  await rm(folderOf(home), { recursive: true, force: true });
}

function configurationFile(home: SandboxHome): string {
  return path.join(folderOf(home), "pebble.json");
}

function folderOf(home: SandboxHome): string {
  return path.join(home.root, "acme");
}
