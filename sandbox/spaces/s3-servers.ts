import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import net from "node:net";
import path from "node:path";

import { writeFileAtomically } from "../atomic-file.ts";
import { ensureS3Server } from "../engine/s3-server.ts";
import type { SandboxHome } from "../home.ts";
import { endServers, ServerProcess } from "../server-process.ts";
import { waitFor } from "../wait-for.ts";
import type { Grant } from "./grants.ts";
import { SPACES_DOMAIN, SPACES_REGIONS } from "../spaces-regions.ts";

const START_SECONDS = 20;

/** A key as the S3 servers need it. */
export interface SpacesKey {
  access_key: string;
  secret_key: string;
  grants: readonly Grant[];
}

/**
 * The S3 servers behind Spaces, versitygw, with buckets and objects as files. A server accepts signatures for one region
 * only, so there is one for each region of buckets and each region in signatures; each starts with its first request.
 */
export class S3Servers {
  readonly #home: SandboxHome;
  readonly #log: (line: string) => void;
  readonly #servers = new Map<string, ServerProcess>();
  #last: Promise<unknown> = Promise.resolve();

  constructor(home: SandboxHome, log: (line: string) => void) {
    this.#home = home;
    this.#log = log;
  }

  /** Makes exactly these keys valid. The proxy in front of the servers limits what each may do. */
  async setKeys(keys: readonly SpacesKey[]): Promise<void> {
    const accounts: Record<string, object> = {};
    for (const { access_key: access, secret_key: secret } of keys) {
      accounts[access] = { access, secret, role: "admin", userID: 0, groupID: 0, projectID: 0 };
    }
    await mkdir(accountsFolder(this.#home), { recursive: true, mode: 0o700 });
    const file = path.join(accountsFolder(this.#home), "users.json");
    await writeFileAtomically(file, JSON.stringify({ accessAccounts: accounts }));
  }

  /** The socket of a region's server, which runs. */
  async socket(region: string, signedRegion: string): Promise<string> {
    const name = `${region}-${signedRegion}`;
    const starting = this.#last.then(async () => {
      if (!this.#servers.get(name)?.isRunning) await this.#start(name, region, signedRegion);
    });
    this.#last = starting.catch(() => undefined);
    await starting;
    return `\0${this.#socketName(name)}`;
  }

  /** The regions that have a bucket of this name; by the rules, one at most. */
  regionsOf(bucket: string): string[] {
    return SPACES_REGIONS.filter((region) => existsSync(path.join(this.#folder(region, "buckets"), bucket)));
  }

  /** Ends all servers, also those of a process that was killed. The next request starts them again. */
  async end(): Promise<void> {
    await this.#last;
    for (const server of this.#servers.values()) server.forget();
    await endS3Servers(this.#home);
  }

  /** Kills all servers, as a power failure does. The next request starts them again. */
  kill(): void {
    for (const server of this.#servers.values()) server.signal("SIGKILL");
  }

  async #start(name: string, region: string, signedRegion: string): Promise<void> {
    const program = await ensureS3Server(this.#log);
    const [buckets, versions, metadata] = ["buckets", "versions", "metadata"].map((kind) => this.#folder(region, kind));
    for (const folder of [buckets, versions, metadata]) await mkdir(folder ?? "", { recursive: true, mode: 0o700 });
    const server = new ServerProcess(path.join(spacesFolder(this.#home), "log"));
    const options = [
      ...["--quiet", "--port", `@${this.#socketName(name)}`, "--region", signedRegion],
      ...["--virtual-domain", `${region}.${SPACES_DOMAIN}`, "--iam-dir", accountsFolder(this.#home)],
      ...["--iam-cache-disable", "--disable-acl", "--keep-alive"],
    ];
    // Not every file system has extended attributes, so metadata is in files.
    const storage = ["posix", "--versioning-dir", versions ?? "", "--sidecar", metadata ?? "", buckets ?? ""];
    // Nobody knows the root account's secret.
    const root = { ROOT_ACCESS_KEY: "root", ROOT_SECRET_KEY: randomBytes(32).toString("hex") };
    await server.start([program, ...options, ...storage], root);
    this.#servers.set(name, server);
    await waitFor(`the S3 server of ${region}`, START_SECONDS, () => connects(`\0${this.#socketName(name)}`));
  }

  /** In the kernel's abstract namespace: it ends with its process, and leaves no file. */
  #socketName(name: string): string {
    return `convex-droplet-spaces-${this.#home.id}-${name}`;
  }

  #folder(region: string, kind: string): string {
    return path.join(spacesFolder(this.#home), region, kind);
  }
}

/** Ends a sandbox's S3 servers, if any run, also those of an earlier process. */
export async function endS3Servers(home: SandboxHome): Promise<void> {
  await endServers("versitygw", accountsFolder(home));
}

/** Where a sandbox keeps its buckets. */
export function spacesFolder(home: SandboxHome): string {
  return path.join(home.root, "spaces");
}

function accountsFolder(home: SandboxHome): string {
  return path.join(spacesFolder(home), "accounts");
}

function connects(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const connection = net.connect({ path: socket });
    connection
      .once("connect", () => {
        resolve(true);
      })
      .once("error", () => {
        resolve(false);
      });
    connection.once("connect", () => connection.destroy());
  });
}
