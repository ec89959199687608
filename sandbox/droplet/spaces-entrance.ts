import { once } from "node:events";
import { existsSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import type { RequestListener } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import path from "node:path";

import type { SandboxHome } from "../home.ts";
import { makeCertificates } from "../server-certificate.ts";
import { SPACES_DOMAIN, SPACES_REGIONS } from "../spaces-regions.ts";
import type { SandboxNetwork } from "./network.ts";
import { runInside } from "./inside.ts";

/** As a real droplet trusts the authority of DigitalOcean's certificates: in the system's store, for every program. */
const TRUST = `
file=/usr/local/share/ca-certificates/sandbox-spaces.crt
cat > "$file.new"
if cmp -s "$file.new" "$file"; then rm "$file.new"; exit; fi
mv "$file.new" "$file"
update-ca-certificates > /dev/null 2>&1
`;

/** Where droplets enter Spaces: TLS on the network's gateway, with a certificate by an authority of this sandbox. */
export class SpacesEntrance implements AsyncDisposable {
  readonly #folder: string;
  readonly #network: SandboxNetwork;
  #server: https.Server | undefined;

  constructor(home: SandboxHome, network: SandboxNetwork) {
    this.#folder = path.join(home.root, "spaces", "tls");
    this.#network = network;
  }

  /** The port on the gateway; undefined if it does not serve. */
  get port(): number | undefined {
    return (this.#server?.address() as AddressInfo | null | undefined)?.port;
  }

  async serve(service: RequestListener): Promise<void> {
    if (this.#server) return;
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    if (!existsSync(this.#file("server.crt"))) {
      const names = SPACES_REGIONS.flatMap((region) => [`${region}.${SPACES_DOMAIN}`, `*.${region}.${SPACES_DOMAIN}`]);
      const subjects = names.map((name) => `DNS:${name}`);
      await makeCertificates(this.#folder, "Spaces", subjects);
    }
    const [cert, key] = [await readFile(this.#file("server.crt")), await readFile(this.#file("server.key"))];
    const server = https.createServer({ cert, key }, service).listen(0, this.#network.gateway);
    await once(server, "listening");
    this.#server = server;
  }

  /**
   * Makes a running droplet trust the authority, if there is one. Idempotent.
   *
   * @param init this computer's id of the droplet's first process
   */
  async introduceTo(init: number): Promise<void> {
    if (!existsSync(this.#file("server.crt"))) return;
    await runInside(init, ["sh", "-eu", "-c", TRUST], await readFile(this.#file("ca.crt"), "utf8"));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    const closed = once(server, "close");
    server.close();
    server.closeAllConnections();
    await closed;
  }

  #file(name: string): string {
    return path.join(this.#folder, name);
  }
}
