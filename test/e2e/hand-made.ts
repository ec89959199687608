import { randomBytes } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";

import { execa } from "execa";

import { eventually, ssh, type TestCloud } from "./harness.ts";

const DATA = "/mnt/swarm_dev_convex/data";

/**
 * An installation as a well-known guide makes it by hand, on a droplet of its own: PostgreSQL on the host, next to the database of
 * another app; the backend in a container, with its secret in `.env`.
 */
export class HandMade implements AsyncDisposable {
  readonly name = "swarm-dev";
  readonly secret = randomBytes(32).toString("hex");
  readonly host: string;
  /** The file with the private key to log in. */
  readonly identity: string;
  readonly #folder: string;
  readonly #hostKey: string;

  private constructor(host: string, folder: string, hostKey: string) {
    this.host = host;
    this.identity = path.join(folder, "user");
    this.#folder = folder;
    this.#hostKey = hostKey;
  }

  static async build(cloud: TestCloud, image: string): Promise<HandMade> {
    const folder = await mkdtemp(path.join(tmpdir(), "convex-droplet-hand-made-"));
    const [user, host] = await Promise.all([makeKey(folder, "user"), makeKey(folder, "host")]);
    const { ssh_key: key } = (await (
      await cloud.cloud("POST", "/v2/account/keys", { name: "old", public_key: user.public })
    ).json()) as { ssh_key: { id: number } };
    const created = await cloud.cloud("POST", "/v2/droplets", {
      ...{ name: "old", region: "nyc3", size: "s-1vcpu-2gb", image: "debian-13-x64", ssh_keys: [key.id] },
      user_data: `#cloud-config\n${JSON.stringify({ ssh_keys: { ed25519_private: host.private, ed25519_public: host.public } })}\n`,
    });
    const { droplet } = (await created.json()) as { droplet: { id: number } };
    let address = "";
    await eventually("the old droplet to have an address", 60, async () => {
      const found = (await (await cloud.cloud("GET", `/v2/droplets/${droplet.id}`)).json()) as {
        droplet: { networks: { v4: { ip_address: string; type: string }[] } };
      };
      address = found.droplet.networks.v4.find(({ type }) => type === "public")?.ip_address ?? "";
      if (address === "") throw new Error("it has none");
    });
    const built = new HandMade(address, folder, host.public);
    await eventually("the old droplet to be booted", 90, () => built.sh("cloud-init status --wait > /dev/null"));
    await built.sh(built.#guide(image));
    await eventually("the old backend to answer", 60, async () => {
      if ((await fetch(`${built.url}/version`)).status !== 200) throw new Error("it does not");
    });
    return built;
  }

  get url(): string {
    return `http://${this.host}:3210`;
  }

  /** The fingerprint of its host key, as ssh-keygen prints it. */
  fingerprint(): Promise<string> {
    return this.sh("ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub | cut -d ' ' -f 2");
  }

  /** Runs a command as root. @throws Error if it fails */
  async sh(command: string): Promise<string> {
    const key = await readFile(this.identity, "utf8");
    const { exitCode, all } = await ssh(
      { host: this.host, key, hostKey: this.#hostKey },
      "bash -s",
      `set -e\n${command}`,
    );
    if (exitCode !== 0) throw new Error(all);
    return all.trim();
  }

  /** Everything that a reader must not change: files, rows, services. */
  state(): Promise<string> {
    return this.sh(`
      find ${DATA} /opt /etc/postgresql /root /home /tmp -xdev ! -path '*/.cache*' -printf '%p %s %T@ %m\\n' | sort
      docker ps --all --format '{{.Names}} {{.State}} {{.CreatedAt}}'
      docker inspect --format '{{.State.StartedAt}} {{.RestartCount}}' convex-backend
      cd / && for table in swarm_dev.documents swarm_dev.indexes swarm_dev.leases swarm_dev.persistence_globals swarmdb.orders; do
        runuser -u postgres -- psql -Atd "\${table%.*}" -c "SELECT '$table', md5(string_agg(row::text, ',' ORDER BY row::text)) FROM \${table#*.} AS row"
      done
      systemctl show --property ActiveEnterTimestampMonotonic postgresql@17-main docker ssh`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }

  /** The guide's steps. Its password needs quoting everywhere. */
  #guide(image: string): string {
    return `
      export DEBIAN_FRONTEND=noninteractive
      apt-get -qq update
      apt-get -qq install -y --no-install-recommends postgresql docker.io docker-cli iptables > /dev/null 2>&1
      sed -i "s/^#\\?listen_addresses.*/listen_addresses = '*'/" /etc/postgresql/17/main/postgresql.conf
      echo "host all all 172.16.0.0/12 scram-sha-256" >> /etc/postgresql/17/main/pg_hba.conf
      systemctl restart postgresql
      cd / && runuser -u postgres -- psql -q << 'END'
CREATE ROLE swarm LOGIN PASSWORD 'p@ss/w:rd%1';
CREATE DATABASE swarmdb OWNER swarm;
CREATE DATABASE swarm_dev OWNER swarm;
\\c swarmdb
CREATE TABLE orders AS SELECT generate_series(1, 100) AS id;
END
      mkdir -p ${DATA} /opt/convex
      umask 077
      cat > /opt/convex/.env << 'END'
INSTANCE_NAME=${this.name}
INSTANCE_SECRET=${this.secret}
CONVEX_CLOUD_ORIGIN=${this.url}
CONVEX_SITE_ORIGIN=http://${this.host}:3211
POSTGRES_URL=postgresql://swarm:p%40ss%2Fw%3Ard%251@host.docker.internal:5432?sslmode=disable
DO_NOT_REQUIRE_SSL=1
DISABLE_BEACON=true
END
      docker run --quiet --detach --name convex-backend --restart unless-stopped --stop-signal SIGINT \\
        --env-file /opt/convex/.env --add-host host.docker.internal:host-gateway \\
        -p 3210:3210 -p 3211:3211 -v ${DATA}:/convex/data ${image} > /dev/null`;
  }
}

async function makeKey(folder: string, name: string) {
  const file = path.join(folder, name);
  await execa("ssh-keygen", ["-q", "-t", "ed25519", "-N", "", "-C", name, "-f", file]);
  return { private: await readFile(file, "utf8"), public: (await readFile(`${file}.pub`, "utf8")).trim() };
}
