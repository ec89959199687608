import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import * as postgresql from "@pulumi/postgresql";
import * as pulumi from "@pulumi/pulumi";
import type { MockCallArgs } from "@pulumi/pulumi/runtime/mocks.js";
import { beforeEach, describe, expect, it } from "vitest";

import { mintAdminKey } from "../../contract/admin-key.ts";
import { Database, type DatabaseArgs } from "../../components/database.ts";
import { type AppArgs, loopbackAddress, versionOf } from "../../components/app.ts";
import { Apps, type AppsArgs, appsOf } from "../../components/apps.ts";
import { Edge, type EdgeArgs } from "../../components/edge.ts";
import { FurtherDatabases, furtherDatabases, type FurtherDatabasesArgs } from "../../components/further-databases.ts";
import { refuseRemoval, refuseRemovalInMove } from "../../components/protected-databases.ts";
import { FunctionDeployment, type FunctionDeploymentArgs } from "../../components/function-deployment.ts";
import { FunctionEnvironment } from "../../components/function-environment.ts";
import { itemsIn, valueIn } from "../../contract/scripts.ts";
import { contentHash } from "../../contract/content-hash.ts";
import { ID, RESOURCES, TYPES } from "../../contract/names.ts";
import { Backups, type BackupsArgs } from "../../components/backups.ts";
import { Convex, type ConvexArgs } from "../../components/convex.ts";
import { Host, type HostArgs, type Lifetime } from "../../components/host.ts";
import { quote } from "../../contract/scripts.ts";
import { ManagedCluster, type ManagedClusterArgs } from "../../components/managed-cluster.ts";
import { ManagedPostgres } from "../../components/managed-postgres.ts";
import { Postgres, type PostgresArgs } from "../../components/postgres.ts";
import { Safeguard } from "../../digitalocean/volume-snapshots.ts";
import { Repository, type RepositoryArgs } from "../../components/repository.ts";
import { FileStorage, type FileStorageArgs } from "../../components/file-storage.ts";
import { Spaces } from "../../components/spaces.ts";
import { refuseOtherShape } from "../../components/database-shape.ts";
import { refuseSwitch } from "../../components/storage-switch.ts";
import type { AppSettings } from "../../settings/apps.ts";
import type { JobSettings } from "../../settings/jobs.ts";
import type { Exposure } from "../../settings/exposure.ts";
import {
  beforeCreate,
  componentOutputs,
  dependencies,
  configure,
  mockEngine,
  options,
  type Registered,
  valueOf,
} from "./program.ts";

/** The engine protocol's mark of a secret. */
const SIGNATURE = "4dabf18193072939515e22adb298388d";
const SECRET = "1b47061264138c4ac30d75fd1eb44270";

type Inputs = Record<string, unknown>;

let registered: Registered[];
/** The admin key that the mocked backend accepts. */
let accepted: string;

beforeEach(async () => {
  configure();
  accepted = "accepted|01";
  registered = await mockEngine(({ type, name }) => {
    if (type === TYPES.cluster) {
      const password = { [SIGNATURE]: SECRET, value: "doadmin's" };
      return {
        privateHost: "private-db.example.com",
        port: 25060,
        user: "doadmin",
        database: "defaultdb",
        password,
        storageSizeMib: "61440",
      };
    }
    if (type === "tls:index/privateKey:PrivateKey") {
      return {
        privateKeyOpenssh: `PRIVATE ${name}`,
        privateKeyPem: { [SIGNATURE]: SECRET, value: `PRIVATE ${name}\n` },
        publicKeyOpenssh: `ssh-ed25519 ${name}\n`,
      };
    }
    if (/^tls:.*Cert$/.test(type)) return { certPem: `CERTIFICATE ${name}` };
    if (type === "random:index/randomPassword:RandomPassword")
      return { result: { [SIGNATURE]: SECRET, value: "0".repeat(name.endsWith("-version") ? 6 : 64) } };
    if (type === "digitalocean:index/droplet:Droplet") return { ipv4Address: "192.0.2.1", dropletUrn: "do:droplet:1" };
    if (type === "digitalocean:index/reservedIp:ReservedIp") return { ipAddress: "198.51.100.9" };
    if (type === "command:remote:Command") return { stdout: accepted };
    return {};
  }, answerInvoke);
});

/** The only invoke that a component makes. */
function answerInvoke({ token, inputs }: MockCallArgs): Record<string, unknown> {
  expect(token).toBe("digitalocean:index/getDatabaseCa:getDatabaseCa");
  expect(inputs).toEqual({ clusterId: "convex-cluster-id" });
  return { certificate: "AUTHORITY" };
}

const clusterArgs = (): ManagedClusterArgs => ({
  label: "convex-test",
  region: "nyc3",
  databaseSize: "db-s-2vcpu-4gb",
  databaseStandbys: 1,
  dropletId: "7",
  protectData: false,
  refuseNew: [refuseOtherShape("convex", { database: "managed", moveDatabase: false })],
});

const HOSTS = { api: "api.example.com", site: "site.example.com", dashboard: "dash.example.com" };

const HOST: HostArgs = {
  label: "convex-test",
  region: "nyc3",
  size: "s-2vcpu-4gb",
  offers: [],
  packagesOf: ["host"],
  image: "debian-13-x64",
  volumeSizeGb: 120,
  protectData: true,
  snapshotId: "",
  adopted: undefined,
  instanceName: "swarm",
  instanceSecret: "",
  safeguard: new Safeguard("convex-test", 0, ""),
  operatorKeys: ["ssh-ed25519 AAAA me", "ssh-ed25519 BBBB you"],
  adminCidrs: ["203.0.113.7/32"],
  exposure: { hosts: undefined },
  reservedIp: false,
  rebootTime: "08:00",
  bootTimeoutSeconds: 300,
  onChange: () => undefined,
  sshAgent: (hostKey) => hostKey.apply((key) => `/tmp/agent of ${key}`),
};

/** Waits until the program has registered everything; returns a function that finds a resource's inputs by its name. */
async function settled(): Promise<(name: string) => Inputs> {
  await pulumi.runtime.disconnect();
  return (name) => {
    const found = registered.find((resource) => resource.name === name);
    if (found === undefined) throw new Error(`no resource ${name} was registered`);
    return found.inputs as Inputs;
  };
}

/** The logical names of all resources of the program, sorted. */
async function names(): Promise<string[]> {
  await pulumi.runtime.disconnect();
  return registered
    .filter(({ type }) => !type.startsWith("test:"))
    .map(({ name }) => name)
    .sort();
}

/** The value of a secret; fails if it is not a secret. */
function secretValue(value: unknown): unknown {
  expect(value).toHaveProperty(SIGNATURE, SECRET);
  return (value as { value: unknown }).value;
}

/** The lifetime of resources on a machine that are replaced with another resource. */
function lifetime(replaced = "droplet"): Lifetime {
  const [setup, other] = ["setup", replaced].map((name) => new pulumi.ComponentResource("test:index:Other", name));
  return { deletedWith: setup as pulumi.Resource, replaceWith: [other as pulumi.Resource] };
}

const POSTGRES = (): PostgresArgs => ({
  refuseRemovalInMove: refuseRemovalInMove("convex", { database: "droplet", databases: [], moveDatabase: false }),
  refuseOtherShape: refuseOtherShape("convex", { database: "droplet", moveDatabase: false }),
  connection: pulumi.secret({ host: "192.0.2.1" }),
  machineId: "7",
  mountpoint: "/mnt/convex",
  place: "a-place",
  volumeSizeGb: 100,
  tunnelPort: 25432,
  database: "convex_self_hosted",
  role: "convex",
  postgresPoolSize: 64,
  databases: [],
  protectData: false,
  ...{ migratePostgres: false, moveDatabase: false, passwords: [], cluster: undefined },
  network: { name: "convex", subnet: "172.30.0.0/24", gateway: "172.30.0.1" },
  repository: { repository_endpoint: "nyc3.digitaloceanspaces.com" },
  onMachine: lifetime(),
  onVolume: lifetime("volume"),
});

const SPACES = () => new Spaces(ID, { label: "convex-test" });

const REPOSITORY = (spaces?: Spaces): RepositoryArgs => ({
  label: "convex-test",
  database: "droplet",
  fileStorage: "volume",
  backups: "spaces",
  backupRegion: "nyc3",
  backupEndpoint: "",
  backupBucket: "",
  backupAccessKey: "",
  backupSecretKey: "",
  backupAuthority: "",
  backupDays: 14,
  volumeId: "506f78a4",
  protectData: false,
  spaces,
});

const FILES = (): FileStorageArgs => ({
  label: "convex-test",
  fileRegion: "nyc3",
  fileEndpoint: "",
  fileBucketPrefix: "",
  fileAccessKey: "",
  fileSecretKey: "",
  backupDays: 14,
  protectData: false,
  spaces: undefined,
  refuseSwitch: refuseSwitch(ID, { fileStorage: "spaces", fileRegion: "nyc3", fileEndpoint: "", fileBucketPrefix: "" }),
});

const BACKUPS = (): BackupsArgs => ({
  connection: pulumi.secret({ host: "192.0.2.1" }),
  machineId: "7",
  mountpoint: "/mnt/convex",
  repository: { repository_endpoint: "nyc3.digitaloceanspaces.com" },
  inPreview: [],
  dumped: [],
  moveDatabase: false,
  after: [new pulumi.ComponentResource("test:index:Other", "convex")],
  onMachine: lifetime(),
});

const DATABASE = (): DatabaseArgs => ({
  database: "convex_self_hosted",
  role: "convex",
  snapshotId: "",
  adopted: undefined,
  protectData: false,
  address: "host.docker.internal:5432",
  inCluster: { ...lifetime("volume"), provider: new postgresql.Provider("other", {}) },
});

const EXPOSURE: Exposure = {
  ports: { api: 4210, site: 4211, dashboard: 7791 },
  bindAddress: "127.0.0.1",
  hosts: undefined,
  acmeAuthorityFile: undefined,
  openings: [],
  dashboardAccess: "tunnel",
  dashboardCidrs: [],
  originsAt: (publicIp) => ({
    cloud: pulumi.interpolate`https://api.example.com/${publicIp}`,
    site: pulumi.output("https://site.example.com"),
  }),
};

const EDGE = (): EdgeArgs => ({
  label: "convex-test",
  connection: pulumi.secret({ host: "192.0.2.1" }),
  machineId: "7",
  mountpoint: "/mnt/convex",
  publicIp: pulumi.output("192.0.2.1"),
  exposure: {
    ...EXPOSURE,
    hosts: HOSTS,
    openings: [{ port: 443, networks: ["198.51.100.0/24"] }],
    dashboardAccess: "password",
  },
  appHosts: [],
  dns: "digitalocean",
  dnsZone: "example.com",
  createDnsZone: true,
  acmeDirectory: "https://acme.example/directory",
  acmeEmail: "me@example.com",
  acmeAuthority: "",
  trustedProxyCidrs: [],
  onMachine: lifetime(),
});

const CONVEX = (): ConvexArgs => ({
  beforeNewImage: [],
  runLogged: () => Promise.resolve(),
  rehearseImages: true,
  stack: "test",
  connection: pulumi.secret({ host: "192.0.2.1" }),
  mountpoint: "/mnt/convex",
  machineId: "1",
  dockerHost: "unix:///tmp/docker.sock",
  registries: [],
  dataDirectory: "/mnt/convex/data",
  buckets: undefined,
  bucketsInPreview: [],
  refuseSwitches: [
    refuseSwitch(ID, { fileStorage: "volume", fileRegion: "nyc3", fileEndpoint: "", fileBucketPrefix: "" }),
  ],
  postgresUrl: pulumi.secret("postgresql://u:p@h"),
  postgresAddress: "host.docker.internal:5432",
  postgresAuthority: pulumi.output("PEM"),
  postgresPoolSize: 64,
  memoryMb: 4096,
  protectData: false,
  instanceName: "convex-self-hosted",
  instanceSecret: "",
  backendImage: "backend@sha256:1",
  dashboardImage: "dashboard@sha256:2",
  exposure: EXPOSURE,
  origins: { cloud: "https://api.example.com", site: "https://site.example.com" },
  logLevel: "info",
  documentRetentionSeconds: 172800,
  telemetry: false,
  redactClientLogs: false,
  backendEnvironment: { UDF_CACHE_MAX_SIZE: "100" },
  network: { name: "convex", subnet: "172.30.0.0/24", gateway: "172.30.0.1" },
  onMachine: lifetime(),
});

const POSTGRES_AUTHORITY = "-----BEGIN CERTIFICATE-----";
/** Where an app that refers to a database finds it. */
const TRUSTED_BY_APPS = `/etc/ssl/certs/convex-postgres-${contentHash(POSTGRES_AUTHORITY)}.pem`;

const WEB: AppSettings = {
  name: "web",
  image: "web@sha256:1",
  command: [],
  variables: { MODE: "fast" },
  references: {
    URL: { of: "convex", what: "url" },
    INSIDE: { of: "convex", what: "internalUrl" },
    SERVER: { of: "app", name: "server", what: "url" },
    ORIGIN: { of: "app", name: "web", what: "publicUrl" },
    KEY: { of: "secret", name: "auth" },
    DATABASE_URL: { of: "database", name: "chat" },
  },
  port: 3000,
  hosts: ["app.example.com", "www.example.com"],
  healthPath: "/health",
  healthCommand: undefined,
  healthSeconds: 60,
  stopFirst: false,
  memoryMb: 256,
  cpus: "0.5",
  folders: {},
  folderOwner: "0:0",
  dependsOn: ["server"],
  probes: [],
};
const SERVER: AppSettings = {
  ...WEB,
  ...{
    name: "server",
    image: "server@sha256:2",
    command: ["serve"],
    variables: {},
    references: {},
    hosts: [],
    port: 8000,
  },
  ...{ healthPath: undefined, healthCommand: "true", cpus: undefined, folders: { data: "/data" }, folderOwner: "5:6" },
  dependsOn: [],
};

const JOB: JobSettings = {
  ...{ name: "migrate", image: "server@sha256:2", command: ["node", "migrate.js"], variables: { MODE: "all" } },
  references: { KEY: { of: "convex", what: "adminKey" }, URL: { of: "app", name: "web", what: "publicUrl" } },
  ...{ memoryMb: 64, cpus: "0.5", folders: { data: "/data" }, folderOwner: "5:6", foldersOf: "server", port: 8000 },
  ...{ dependsOn: [], before: ["web"], after: [], afterApps: false, timeoutSeconds: 600 },
};

const FUNCTIONS = (): FunctionDeploymentArgs => ({
  ...{
    connection: pulumi.secret({ host: "192.0.2.1" }),
    apiPort: 3210,
    onMachine: lifetime(),
    onVolume: lifetime(),
    after: [],
  },
  ...{ instanceName: "swarm", adminKey: pulumi.secret("swarm|key"), functionPackage: "../app", functionProbe: "" },
  source: { fingerprint: () => "", refuse: () => undefined, push: () => Promise.resolve() },
});

const PROBE = { path: "/ping?a=b", status: 200, json: '{"ok":true}', withinSeconds: 60, holdSeconds: 300 };
const SMOKE: JobSettings = { ...JOB, name: "smoke", references: {}, before: [], after: ["web"], afterApps: true };

const APPS = (): AppsArgs => ({
  connection: pulumi.secret({ host: "192.0.2.1" }),
  machineId: "7",
  mountpoint: "/mnt/convex",
  apps: [SERVER, WEB],
  jobs: [],
  generatedSecrets: [{ name: "auth", bytes: 32, encoding: "base64" }],
  databaseUrls: { chat: pulumi.secret("postgresql://chat:pw@host.docker.internal:5432/chat") },
  postgresAuthority: pulumi.output(POSTGRES_AUTHORITY),
  origins: { cloud: "https://api.example.com", site: "https://site.example.com" },
  exposure: { hosts: HOSTS, acmeAuthorityFile: undefined },
  network: { name: "convex", subnet: "172.30.0.0/24", gateway: "172.30.0.1" },
  convex: [new pulumi.ComponentResource("test:index:Other", "convex")],
  adminKey: pulumi.secret("swarm|key"),
  edge: new pulumi.ComponentResource("test:index:Other", "edge"),
  inEngine: { network: pulumi.output("convex"), options: lifetime() },
  onMachine: lifetime(),
});

describe("Host", () => {
  it("registers exactly its children", async () => {
    new Host("convex", HOST);
    expect(await names()).toEqual([
      "convex",
      "convex-deploy-key",
      "convex-droplet",
      "convex-firewall",
      "convex-host-key",
      "convex-project",
      "convex-project-resources",
      "convex-scripts",
      "convex-setup",
      "convex-ssh-key",
      "convex-volume",
    ]);
  });

  it("saves none of its arguments in the state", async () => {
    new Host("convex", HOST);
    expect((await settled())("convex")).toEqual({});
  });

  it("opens port 80 to everybody if there are names, for the ACME server", async () => {
    new Host("convex", { ...HOST, exposure: { hosts: HOSTS } });
    expect((await settled())("convex-firewall")["inboundRules"]).toEqual([
      { protocol: "tcp", portRange: "22", sourceAddresses: ["203.0.113.7/32"] },
      { protocol: "tcp", portRange: "80", sourceAddresses: ["0.0.0.0/0", "::/0"] },
    ]);
  });

  it("opens only SSH if there are none", async () => {
    new Host("convex", HOST);
    expect((await settled())("convex-firewall")["inboundRules"]).toEqual([
      { protocol: "tcp", portRange: "22", sourceAddresses: ["203.0.113.7/32"] },
    ]);
  });

  it("has its reserved address as its own, but is still reached at the droplet's", async () => {
    const { publicIp } = new Host("convex", { ...HOST, reservedIp: true });
    expect(await valueOf(publicIp)).toBe("198.51.100.9");
    const resources = await settled();
    expect(secretValue(resources("convex-setup")["connection"])).toMatchObject({ host: "192.0.2.1" });
    expect(resources("convex-project-resources")["resources"]).toEqual(["do:droplet:1", null]);
  });

  it("gives the droplet only its host key, as a secret, and the packages to install", async () => {
    new Host("convex", { ...HOST, packagesOf: ["host", "edge"] });
    const [head, ...settings] = String(secretValue((await settled())("convex-droplet")["userData"])).split("\n");
    expect(head).toBe("#cloud-config");
    expect(JSON.parse(settings.join("\n"))).toEqual({
      ssh_pwauth: false,
      ssh_deletekeys: true,
      ssh_keys: { ed25519_private: "PRIVATE convex-host-key\n", ed25519_public: "ssh-ed25519 convex-host-key" },
      runcmd: [
        [
          ...["bash", "-c", readFileSync("machine/host/first-boot.sh", "utf8"), "first-boot.sh"],
          ...["nftables", "docker.io", "docker-cli", "e2fsprogs", "curl", "unattended-upgrades"],
          ...["nginx", "certbot", "openssl", "logrotate", "bind9-dnsutils"],
        ],
      ],
    });
  });

  it("does not grow the droplet's disk, so that the droplet can go back to its earlier size", async () => {
    new Host("convex", HOST);
    expect((await settled())("convex-droplet")).toMatchObject({ size: "s-2vcpu-4gb", resizeDisk: false });
  });

  it("pins the host key in every connection, and keeps the connection secret", async () => {
    new Host("convex", HOST);
    const resources = await settled();
    for (const name of ["convex-scripts", "convex-setup"]) {
      expect(secretValue(resources(name)["connection"])).toMatchObject({
        host: "192.0.2.1",
        hostKey: "ssh-ed25519 convex-host-key",
        privateKey: "PRIVATE convex-deploy-key",
        // Not the agent in SSH_AUTH_SOCK: if that is gone, the provider fails.
        agentSocketPath: "/tmp/agent of ssh-ed25519 convex-host-key",
      });
    }
  });

  it("passes the volume's size, the operators' keys and the time of reboots to the machine", async () => {
    new Host("convex", HOST);
    const { create, stdin } = (await settled())("convex-setup");
    expect(create).toMatch(/^bash \/usr\/local\/lib\/convex-droplet\/host\/host\.sh # [0-9a-f]{12}$/);
    expect(stdin).toBe(
      "volume=convex-test-data\nsize_gb=120\nmountpoint=/mnt/convex\n" +
        "operator_keys=ssh-ed25519 AAAA me\noperator_keys=ssh-ed25519 BBBB you\nreboot_time=08:00\n" +
        "adopted_name=\nadopted_secret_hash=\nstack=test\n",
    );
  });
});

describe("ManagedCluster", () => {
  it("is a cluster in the droplet's region that admits only the droplet", async () => {
    new ManagedCluster("convex", clusterArgs());
    expect(await names()).toEqual(["convex", "convex-cluster", "convex-cluster-firewall"]);
    const find = await settled();
    expect(find("convex-cluster")).toMatchObject({
      ...{ name: "convex-test", engine: "pg", version: "17", region: "nyc3", size: "db-s-2vcpu-4gb", nodeCount: 2 },
      tags: ["convex-droplet"],
    });
    expect(find("convex-cluster-firewall")).toEqual({
      clusterId: "convex-cluster-id",
      rules: [{ type: "droplet", value: "7" }],
    });
    expect(options.get("convex-cluster-firewall DatabaseFirewall")).toMatchObject({ deletedWith: "convex-cluster" });
    expect(beforeCreate.get("convex-cluster DatabaseCluster")?.[0]).toBe("convex-database-shape");
    expect(componentOutputs.get("ManagedCluster")).toEqual([
      ...["administrator", "admits", "authority", "database", "host", "id", "nodes", "password", "port", "storageMb"],
    ]);
  });

  it.each([true, false])("is kept in any case if its data is protected: %s", async (protectData) => {
    new ManagedCluster("convex", { ...clusterArgs(), protectData });
    await settled();
    const { protect = false, retainOnDelete = false } = options.get("convex-cluster DatabaseCluster") ?? {};
    expect({ protect, retainOnDelete }).toEqual({ protect: protectData, retainOnDelete: protectData });
  });
});

describe("ManagedPostgres", () => {
  const declare = () => {
    const cluster = new ManagedCluster("convex", clusterArgs());
    return new ManagedPostgres("convex", {
      ...POSTGRES(),
      databases: [{ name: "shop", shadow: undefined, replication: false, connections: 20 }],
      cluster,
      authorityFile: "/tmp/authority.pem",
    });
  };

  it("has nothing of a server on the droplet, and the client gets its values on stdin, the password as a secret", async () => {
    declare();
    expect((await names()).filter((name) => !name.startsWith("convex-cluster"))).toEqual([
      "convex",
      "convex",
      "convex-database-client",
      "convex-provider",
    ]);
    const { create, stdin } = (await settled())("convex-database-client");
    expect(create).toMatch(/^bash \/usr\/local\/lib\/convex-droplet\/managed\/managed\.sh # [0-9a-f]{12}$/);
    const values = String(secretValue(stdin));
    expect(
      Object.fromEntries(
        ["cluster", "host", "port", "administrator", "password", "authority", "databases", "move"].map((name) => [
          name,
          valueIn(values, name),
        ]),
      ),
    ).toEqual({
      ...{ cluster: "convex-cluster-id", host: "private-db.example.com", port: "25060", administrator: "doadmin" },
      ...{ password: "doadmin's", authority: "AUTHORITY", databases: "shop", move: "false" },
    });
    expect(itemsIn(values, "scripts")).toContain("managed/managed.sh");
  });

  it("makes roles and databases as the cluster's administrator, through the tunnel, and verifies the server", async () => {
    const { inCluster } = declare();
    new Database("convex", { ...DATABASE(), inCluster, address: "private-db.example.com:25060" });
    const provider = (await settled())("convex-provider");
    expect(provider).toMatchObject({
      ...{ host: "127.0.0.1", port: "25432", username: "doadmin", database: "defaultdb", superuser: "false" },
      ...{ sslmode: "verify-ca", sslrootcert: "/tmp/authority.pem" },
    });
    const lifetime = { deletedWith: "convex-cluster", replaceWith: ["convex-cluster"] };
    expect(options.get("convex-role Role")).toMatchObject(lifetime);
    expect(options.get("convex-database Database")).toMatchObject(lifetime);
    expect(dependencies.get("convex-role Role")).toContain("convex-database-client");
    expect(options.get("convex-database-client Command")).toMatchObject({ replaceWith: ["droplet"] });
  });

  it("gives containers the cluster's own address and certificate", async () => {
    const { address, authority, inCluster } = declare();
    const { url } = new Database("convex", { ...DATABASE(), inCluster, address });
    expect(await valueOf(address)).toBe("private-db.example.com:25060");
    expect(await valueOf(authority)).toBe("AUTHORITY\n");
    expect(await valueOf(url)).toBe(`postgresql://convex:${"0".repeat(64)}@private-db.example.com:25060`);
  });

  it("is asked for by the backend's health check", async () => {
    new Convex("convex", { ...CONVEX(), postgresAddress: "private-db.example.com:25060" });
    const { healthcheck } = (await settled())("convex-backend") as { healthcheck: { tests: string[] } };
    expect(healthcheck.tests[3]).toContain("exec 3<>/dev/tcp/private-db.example.com/25060 && ");
  });

  it("has half a day for a move from the droplet's server, with the roles' passwords and the room for them", async () => {
    const cluster = new ManagedCluster("convex", clusterArgs());
    new ManagedPostgres("convex", {
      ...{ ...POSTGRES(), cluster, authorityFile: "/tmp/authority.pem" },
      ...{ moveDatabase: true, passwords: pulumi.secret(["convex pw"]) },
    });
    const { create, stdin } = (await settled())("convex-database-client");
    expect(create).toMatch(/^CONVEX_DROPLET_LIMIT_SECONDS=43200 bash \S+\/managed\.sh # [0-9a-f]{12}$/);
    const values = String(secretValue(stdin));
    expect(["move", "passwords", "capacity_mb", "database", "role"].map((name) => valueIn(values, name))).toEqual([
      ...["true", "convex pw", "61440", "convex_self_hosted", "convex"],
    ]);
  });

  it("makes its roles and databases with the same provider as a server on the droplet, so that a move keeps them", async () => {
    declare();
    await settled();
    expect(JSON.stringify(options.get("convex-provider postgresql"))).toContain(
      "convex-droplet:index:Postgres::convex",
    );
  });
});

describe("Postgres", () => {
  it("registers exactly its children", async () => {
    new Postgres("convex", POSTGRES());
    expect(await names()).toEqual([
      "convex",
      "convex-admin-password",
      "convex-postgres-authority",
      "convex-postgres-authority-key",
      "convex-postgres-certificate",
      "convex-postgres-certificate-key",
      "convex-postgres-certificate-request",
      "convex-provider",
      "convex-server",
    ]);
  });

  it("allows more connections than the pool may open", async () => {
    new Postgres("convex", POSTGRES());
    const { create, stdin } = (await settled())("convex-server");
    expect(create).toMatch(/\/postgres\.sh # [0-9a-f]{12}$/);
    expect(secretValue(stdin)).toMatch(
      /^mountpoint=\/mnt\/convex\nplace=a-place\nvolume_gb=100\ngateway=172\.30\.0\.1\nsubnet=172\.30\.0\.0\/24\ndatabase=convex_self_hosted\nrole=convex\nadministrator=convex_admin\nmax_connections=84\ndatabases=\nmigrate=false\nmove=false\npasswords=\ncluster=\ncluster_host=\ncluster_port=\ncluster_administrator=\ncluster_password=\ncluster_authority=\npassword=/,
    );
    expect(secretValue(stdin)).toContain("\nkey=PRIVATE convex-postgres-certificate-key\ncertificate=CERTIFICATE ");
    // Of what an earlier release copied there, these stay.
    expect(secretValue(stdin)).toContain("\nscripts=host/volume.sh\n");
  });

  it("has half a day to migrate the data of an older version, if it may", async () => {
    new Postgres("convex", { ...POSTGRES(), migratePostgres: true });
    const { create, stdin } = (await settled())("convex-server");
    expect(create).toMatch(/^CONVEX_DROPLET_LIMIT_SECONDS=43200 bash \S+\/postgres\.sh # [0-9a-f]{12}$/);
    expect(secretValue(stdin)).toContain("\nmigrate=true\n");
  });

  it("has a certificate for the name by which the backend reaches it, from an authority that signs nothing else", async () => {
    const { authority } = new Postgres("convex", POSTGRES());
    const resources = await settled();
    expect(await valueOf(authority)).toBe("CERTIFICATE convex-postgres-authority");
    expect(resources("convex-postgres-authority")).toMatchObject({
      isCaCertificate: true,
      allowedUses: ["cert_signing"],
      validityPeriodHours: 175_200,
      // No certificate of the server can outlive it.
      earlyRenewalHours: 43_800,
    });
    for (const key of ["convex-postgres-authority-key", "convex-postgres-certificate-key"]) {
      expect(resources(key)).toMatchObject({ algorithm: "ECDSA", ecdsaCurve: "P256" });
    }
    expect(resources("convex-postgres-certificate-request")).toMatchObject({ dnsNames: ["host.docker.internal"] });
    expect(resources("convex-postgres-certificate")).toMatchObject({
      caCertPem: "CERTIFICATE convex-postgres-authority",
      allowedUses: ["digital_signature", "server_auth"],
      validityPeriodHours: 43_800,
      earlyRenewalHours: 8760,
    });
  });

  it("has half a day to bring the database of a managed cluster here, with the roles' passwords as secrets", async () => {
    const cluster = new ManagedCluster("convex", clusterArgs());
    new Postgres("convex", { ...POSTGRES(), moveDatabase: true, passwords: pulumi.secret(["convex pw"]), cluster });
    const { create, stdin } = (await settled())("convex-server");
    expect(create).toMatch(/^CONVEX_DROPLET_LIMIT_SECONDS=43200 bash \S+\/postgres\.sh # [0-9a-f]{12}$/);
    const values = String(secretValue(stdin));
    expect(
      Object.fromEntries(
        [
          "move",
          "passwords",
          "cluster",
          "cluster_host",
          "cluster_port",
          "cluster_administrator",
          "cluster_password",
        ].map((name) => [name, valueIn(values, name)]),
      ),
    ).toEqual({
      ...{ move: "true", passwords: "convex pw", cluster: "convex-cluster-id", cluster_port: "25060" },
      ...{ cluster_host: "private-db.example.com", cluster_administrator: "doadmin", cluster_password: "doadmin's" },
    });
  });

  it("derives the administrator from its own name, and admits the role in its arguments", async () => {
    new Postgres("other", { ...POSTGRES(), database: "app", role: "app_owner" });
    const resources = await settled();
    expect(secretValue(resources("other-server")["stdin"])).toMatch(
      /\ndatabase=app\nrole=app_owner\nadministrator=other_admin\n/,
    );
    expect(resources("other-provider")).toMatchObject({ username: "other_admin" });
  });
});

describe("Database", () => {
  it("registers exactly its children", async () => {
    new Database("convex", DATABASE());
    expect(await names()).toEqual([
      "convex",
      "convex-database",
      "convex-password",
      "convex-privacy",
      "convex-role",
      "other",
    ]);
  });

  it("adopts its resources from a stack in which they belonged to the server's component", async () => {
    new Database("convex", DATABASE());
    await pulumi.runtime.disconnect();
    const parent = "urn:pulumi:test::convex-droplet::convex-droplet:index:Postgres::convex";
    expect(
      Object.fromEntries([...options].flatMap(([name, { aliases }]) => (aliases ? [[name, aliases]] : []))),
    ).toEqual(
      Object.fromEntries(
        ["password RandomPassword", "role Role", "database Database", "privacy Grant"].map((name) => [
          `convex-${name}`,
          [expect.objectContaining({ spec: expect.objectContaining({ parenturn: parent }) as unknown })],
        ]),
      ),
    );
  });

  it("makes the database the role's own and closes it to everybody else", async () => {
    new Database("convex", DATABASE());
    const resources = await settled();
    expect(resources("convex-database")).toMatchObject({ name: "convex_self_hosted", owner: "convex" });
    expect(resources("convex-privacy")).toMatchObject({ role: "public", privileges: [], objectType: "database" });
  });

  it("outputs a URL without a database, as a secret", async () => {
    const { url } = new Database("convex", DATABASE());
    expect(await valueOf(url)).toBe(`postgresql://convex:${"0".repeat(64)}@host.docker.internal:5432`);
    expect(await pulumi.isSecret(url)).toBe(true);
  });
});

describe("FurtherDatabases", () => {
  const FURTHER = (): FurtherDatabasesArgs => ({
    databases: [
      { name: "app", shadow: "app_shadow", replication: true, connections: 30 },
      { name: "other", shadow: undefined, replication: false, connections: 20 },
    ],
    snapshotId: "",
    adopted: undefined,
    protectData: true,
    address: "host.docker.internal:5432",
    inCluster: DATABASE().inCluster,
  });

  it("registers exactly its children, and does not exist without databases", async () => {
    expect(furtherDatabases("none", { ...FURTHER(), databases: [] })).toBeUndefined();
    furtherDatabases("convex", FURTHER());
    expect(await names()).toEqual([
      "convex",
      "convex-database-app",
      "convex-database-app-password",
      "convex-database-app-privacy",
      "convex-database-app-role",
      "convex-database-app-shadow",
      "convex-database-app-shadow-privacy",
      "convex-database-other",
      "convex-database-other-password",
      "convex-database-other-privacy",
      "convex-database-other-role",
      "other",
      "other",
    ]);
  });

  it("makes each database its own role's, with its share of connections, and closes it to everybody else", async () => {
    new FurtherDatabases("convex", FURTHER());
    const resources = await settled();
    expect(resources("convex-database-app-role")).toMatchObject({
      ...{ name: "app", login: true, replication: true, connectionLimit: 30 },
    });
    expect(resources("convex-database-other-role")).toMatchObject({ replication: false, connectionLimit: 20 });
    for (const [name, database, owner] of [
      ["convex-database-app", "app", "app"],
      ["convex-database-app-shadow", "app_shadow", "app"],
      ["convex-database-other", "other", "other"],
    ] as const) {
      expect(resources(name)).toMatchObject({ name: database, owner, encoding: "UTF8", lcCollate: "C.UTF-8" });
      expect(resources(`${name}-privacy`)).toMatchObject({ database, role: "public", privileges: [] });
    }
  });

  it("protects databases like the backend's, but not their shadows, and drops what is removed", async () => {
    new FurtherDatabases("convex", FURTHER());
    await settled();
    const onVolume = { parent: "FurtherDatabases", deletedWith: "setup", replaceWith: ["volume"] };
    expect(options.get("convex-database-app Database")).toEqual({ ...onVolume, protect: true });
    expect(options.get("convex-database-app-shadow Database")).toEqual(onVolume);
    expect(options.get("convex-database-app-role Role")).toEqual(onVolume);
  });

  it("imports them from an adopted volume, and gives roles from a snapshot new passwords", async () => {
    new FurtherDatabases("convex", { ...FURTHER(), adopted: { id: "1", name: "of-old" }, snapshotId: "506f78a4" });
    const resources = await settled();
    expect(options.get("convex-database-app-role Role")).toMatchObject({ import: "app" });
    expect(options.get("convex-database-app-shadow Database")).toMatchObject({ import: "app_shadow" });
    expect(resources("convex-database-app-password")).toMatchObject({ keepers: { snapshot: "506f78a4" } });
    expect(options.get("convex-database-app-password RandomPassword")).toEqual({ parent: "FurtherDatabases" });
  });

  it("outputs a URL for each database and shadow, with its name and TLS, as a secret", async () => {
    const { urls } = new FurtherDatabases("convex", FURTHER());
    const at = (role: string, database: string) =>
      `postgresql://${role}:${"0".repeat(64)}@host.docker.internal:5432/${database}?sslmode=require`;
    expect(await valueOf(pulumi.all(urls))).toEqual({
      app: at("app", "app"),
      app_shadow: at("app", "app_shadow"),
      other: at("other", "other"),
    });
    expect(await pulumi.isSecret(pulumi.all(urls))).toBe(true);
  });
});

describe("the server's script", () => {
  const former = (...databases: string[]) =>
    ({
      oldInputs: { stdin: pulumi.secret(`role=convex\n${databases.map((line) => `databases=${line}\n`).join("")}`) },
    }) as unknown as pulumi.ResourceHookArgs;
  const refuse = (protectData: boolean, args: pulumi.ResourceHookArgs) =>
    refuseRemoval("convex", { databases: [{ name: "app" }], protectData }).callback(args);

  it("is told the further databases, whose connections add up", async () => {
    const databases = [
      { name: "app", shadow: "app_shadow", replication: true, connections: 30 },
      { name: "other", shadow: undefined, replication: false, connections: 20 },
    ];
    new Postgres("convex", { ...POSTGRES(), databases });
    expect(secretValue((await settled())("convex-server")["stdin"])).toContain(
      "\nmax_connections=134\ndatabases=app shadow replication\ndatabases=other\n",
    );
  });

  it.each([
    ["convex-server", () => new Postgres("convex", POSTGRES())],
    [
      "convex-database-client",
      () =>
        new ManagedPostgres("convex", {
          ...POSTGRES(),
          cluster: new ManagedCluster("convex", clusterArgs()),
          authorityFile: "/tmp/authority.pem",
        }),
    ],
  ])("of either place, %s, is not made if a move would leave a database behind", async (script, make) => {
    make();
    await settled();
    expect(beforeCreate.get(`${script} Command`)).toEqual([
      "convex-database-shape",
      "convex-databases-removed-in-move",
    ]);
  });

  it("is not run to close a database that is protected, and the message names the way", async () => {
    const gone = refuse(true, former("app shadow", "chat replication", "other"));
    await expect(gone).rejects.toThrow(
      "convex-droplet:databases.chat: is not there any more, but its data is protected, so it should be. Nothing was changed. " +
        "Set it again, with the options that it had. If its data may go, then run npx pulumi config set --stack test protectData false && npx pulumi up --stack test, " +
        "before you remove it with: npx pulumi config rm --stack test --path databases.chat",
    );
    await expect(gone).rejects.toThrow("convex-droplet:databases.other: ");
  });

  it.each([
    ["none has gone", true, former("app shadow")],
    ["there was none", true, former("")],
    ["the state is of an earlier release", true, former()],
    ["data is not protected", false, former("app", "chat")],
  ])("is run if %s", async (_, protectData, args) => {
    await expect(refuse(protectData, args)).resolves.toBeUndefined();
  });
});

describe("Convex", () => {
  it("registers exactly its children", async () => {
    new Convex("convex", CONVEX());
    expect(await names()).toEqual([
      "convex",
      "convex-acceptance",
      "convex-backend",
      "convex-backend-image",
      "convex-dashboard",
      "convex-dashboard-image",
      "convex-docker",
      "convex-instance-secret",
      "convex-network",
      "convex-rehearsal",
    ]);
  });

  it("tries a new image with the backend's own values, as secrets, before the backend is replaced", async () => {
    new Convex("convex", CONVEX());
    const { stdin, create, triggers } = (await settled())("convex-rehearsal");
    expect(create).toMatch(/^bash \/usr\/local\/lib\/convex-droplet\/convex\/rehearse\.sh # [0-9a-f]{12}$/);
    expect(triggers).toEqual(["backend@sha256:1"]);
    const lines = String(secretValue(stdin)).split("\n");
    expect(lines).toEqual(
      expect.arrayContaining([
        "image=backend@sha256:1",
        "dashboard_image=dashboard@sha256:2",
        "rehearse=true",
        "memory_mb=1228",
        `environment=INSTANCE_SECRET=${"0".repeat(64)}`,
        "files=/etc/convex-droplet/postgres-authority.pem:/convex/postgres-authority-384fb9a4.pem",
      ]),
    );
  });

  it("sets the backend's environment, sorted, with no flag that is off, as a secret", async () => {
    new Convex("convex", CONVEX());
    expect(secretValue((await settled())("convex-backend")["envs"])).toEqual([
      "CONVEX_CLOUD_ORIGIN=https://api.example.com",
      "CONVEX_SITE_ORIGIN=https://site.example.com",
      "DISABLE_BEACON=true",
      "DISABLE_METRICS_ENDPOINT=true",
      "DOCUMENT_RETENTION_DELAY=172800",
      "INSTANCE_NAME=convex-self-hosted",
      `INSTANCE_SECRET=${"0".repeat(64)}`,
      "PG_CA_FILE=/convex/postgres-authority-384fb9a4.pem",
      "POSTGRES_MAX_CONNECTIONS=64",
      "POSTGRES_URL=postgresql://u:p@h",
      "RUST_LOG=info",
      "UDF_CACHE_MAX_SIZE=100",
    ]);
  });

  it("uses the secret of an instance that was moved in, as a secret, and keeps the generated one", async () => {
    const secret = "a1".repeat(32);
    accepted = mintAdminKey("convex-self-hosted", secret);
    const convex = new Convex("convex", { ...CONVEX(), instanceSecret: secret });
    const readOnly = await valueOf(convex.readOnlyAdminKey);
    const resources = await settled();
    expect(secretValue(resources("convex-backend")["envs"])).toContain(`INSTANCE_SECRET=${secret}`);
    expect(secretValue(resources("convex-acceptance")["stdin"])).toContain(`key=${accepted}\n`);
    expect(readOnly).toBe(mintAdminKey("convex-self-hosted", secret, { readOnly: true }));
    expect(resources("convex-instance-secret")).toBeDefined();
  });

  it("gives the backend the certificate that it trusts, under a name that changes with it", async () => {
    new Convex("convex", CONVEX());
    expect((await settled())("convex-backend")["volumes"]).toEqual([
      { hostPath: "/mnt/convex/data", containerPath: "/convex/data" },
      {
        hostPath: "/etc/convex-droplet/postgres-authority.pem",
        containerPath: "/convex/postgres-authority-384fb9a4.pem",
        readOnly: true,
      },
    ]);
  });

  it("follows telemetry and redaction", async () => {
    new Convex("convex", { ...CONVEX(), telemetry: true, redactClientLogs: true });
    const envs = secretValue((await settled())("convex-backend")["envs"]) as string[];
    expect(envs).toContain("REDACT_LOGS_TO_CLIENT=true");
    expect(envs.filter((variable) => variable.startsWith("DISABLE_BEACON"))).toEqual([]);
  });

  it("binds the dashboard to loopback, also if the backend is public", async () => {
    new Convex("convex", { ...CONVEX(), exposure: { ...EXPOSURE, bindAddress: "0.0.0.0" } });
    const resources = await settled();
    expect(resources("convex-backend")["ports"]).toEqual([
      { internal: 3210, external: 4210, ip: "0.0.0.0" },
      { internal: 3211, external: 4211, ip: "0.0.0.0" },
    ]);
    expect(resources("convex-dashboard")["ports"]).toEqual([{ internal: 6791, external: 7791, ip: "127.0.0.1" }]);
  });

  it("reaches its own names at the machine itself, with the authority that signed their certificate", async () => {
    const acmeAuthorityFile = "/usr/local/share/ca-certificates/convex-acme-1.crt";
    new Convex("convex", { ...CONVEX(), exposure: { ...EXPOSURE, hosts: HOSTS, acmeAuthorityFile } });
    const resources = await settled();
    const { hosts, volumes, envs } = resources("convex-backend");
    expect(hosts).toEqual(
      ["host.docker.internal", "api.example.com", "site.example.com"].map((host) => ({ host, ip: "172.30.0.1" })),
    );
    expect((volumes as Inputs[]).slice(1, 3)).toEqual(
      ["/etc/ssl/certs/ca-certificates.crt", acmeAuthorityFile].map((file) => ({
        ...{ hostPath: file, containerPath: file, readOnly: true },
      })),
    );
    expect(secretValue(envs)).toContain(`NODE_EXTRA_CA_CERTS=${acmeAuthorityFile}`);
    expect(secretValue(resources("convex-acceptance")["stdin"])).toContain(
      "\ncloud_origin=https://api.example.com\nsite_origin=https://site.example.com\n",
    );
  });

  it("derives the containers' names from its own", async () => {
    new Convex("other", CONVEX());
    const resources = await settled();
    expect(resources("other-backend")["name"]).toBe("other-backend");
    expect(resources("other-dashboard")["name"]).toBe("other-dashboard");
    expect(secretValue(resources("other-acceptance")["stdin"])).toMatch(/^container=other-backend\n/);
  });

  it("limits both containers to shares of the machine's memory, without swap", async () => {
    new Convex("convex", CONVEX());
    const resources = await settled();
    expect(resources("convex-backend")).toMatchObject({ memory: 2457, memorySwap: 2457 });
    expect(resources("convex-dashboard")).toMatchObject({ memory: 614, memorySwap: 614 });
  });

  it("exports the key that the backend accepted, as a secret", async () => {
    const { adminKey } = new Convex("convex", CONVEX());
    expect(await valueOf(adminKey)).toBe("accepted|01");
    expect(await pulumi.isSecret(adminKey)).toBe(true);
    const { stdin, create } = (await settled())("convex-acceptance");
    expect(secretValue(stdin)).toMatch(/^key=convex-self-hosted\|01[0-9a-f]{72}$/m);
    expect(create).not.toContain("|01");
  });

  it("exports a read-only key, as a secret, if the backend accepted the key made here", async () => {
    accepted = mintAdminKey("convex-self-hosted", "0".repeat(64));
    const { readOnlyAdminKey } = new Convex("convex", CONVEX());
    expect(await valueOf(readOnlyAdminKey)).toBe(
      mintAdminKey("convex-self-hosted", "0".repeat(64), { readOnly: true }),
    );
    expect(await pulumi.isSecret(readOnlyAdminKey)).toBe(true);
    await settled();
  });

  it("exports no read-only key if the backend refused the key made here", async () => {
    expect(await valueOf(new Convex("convex", CONVEX()).readOnlyAdminKey)).toBeUndefined();
    await settled();
  });
});

describe("Edge", () => {
  const plain: Partial<Exposure> = { hosts: undefined, openings: [], dashboardAccess: "tunnel" };

  it("registers exactly its children", async () => {
    new Edge("convex", EDGE());
    expect(await names()).toEqual([
      "convex",
      "convex-api-record",
      "convex-dashboard-password",
      "convex-dashboard-record",
      "convex-edge",
      "convex-https-firewall",
      "convex-site-record",
      "convex-zone",
    ]);
  });

  it("has no names, records or ports if there is no domain and nobody is allowed", async () => {
    const edge = new Edge("convex", { ...EDGE(), exposure: { ...EXPOSURE, ...plain } });
    expect(await names()).toEqual(["convex", "convex-edge"]);
    expect([await valueOf(edge.dnsRecords), await valueOf(edge.dashboardPassword)]).toEqual([[], ""]);
    expect(await valueOf(edge.dashboardUrl)).toBe("http://127.0.0.1:7791");
    expect((await settled())("convex-edge")["stdin"]).toMatch(/\naddress=\napi_host=\nsite_host=\ndashboard_host=\n/);
  });

  it("leads each name to the public address, in a domain that contains it", async () => {
    const zone = { dnsZone: "com", createDnsZone: false };
    const hosts = { ...HOSTS, api: "com", dashboard: undefined };
    new Edge("convex", { ...EDGE(), ...zone, exposure: { ...EDGE().exposure, hosts } });
    const resources = await settled();
    expect(resources("convex-api-record")).toMatchObject({
      domain: "com",
      type: "A",
      name: "@",
      value: "192.0.2.1",
      ttl: 60,
    });
    expect(resources("convex-site-record")).toMatchObject({ domain: "com", name: "site.example" });
  });

  it("makes no record if you make them, and says which they are", async () => {
    const { dnsRecords } = new Edge("convex", { ...EDGE(), dns: "manual", createDnsZone: false });
    expect((await names()).filter((name) => /record|zone/.test(name))).toEqual([]);
    expect(await valueOf(dnsRecords)).toEqual([
      "api.example.com. 60 IN A 192.0.2.1",
      "site.example.com. 60 IN A 192.0.2.1",
      "dash.example.com. 60 IN A 192.0.2.1",
    ]);
  });

  it("passes the dashboard's password on stdin, as a secret", async () => {
    const { dashboardPassword } = new Edge("convex", EDGE());
    expect(await pulumi.isSecret(dashboardPassword)).toBe(true);
    const { create, stdin } = (await settled())("convex-edge");
    expect(create).toMatch(/^bash \/usr\/local\/lib\/convex-droplet\/edge\/edge\.sh # [0-9a-f]{12}$/);
    expect(secretValue(stdin)).toContain(
      `\ndashboard_access=password\ndashboard_networks=\ndashboard_password=${"0".repeat(64)}\n`,
    );
  });

  it("opens its own ports, besides the host's, with another firewall for another way", async () => {
    new Edge("convex", EDGE());
    new Edge("other", { ...EDGE(), exposure: { ...EXPOSURE, ...plain, openings: [{ port: 3210, networks: [] }] } });
    expect((await settled())("other-public-firewall")).toMatchObject({ name: "convex-test-public" });
    expect((await settled())("convex-https-firewall")).toMatchObject({
      name: "convex-test-https",
      dropletIds: [7],
      inboundRules: [{ protocol: "tcp", portRange: "443", sourceAddresses: ["198.51.100.0/24"] }],
    });
  });
});

describe("Apps", () => {
  it("registers exactly its children", async () => {
    new Apps("convex", APPS());
    expect(await names()).toEqual([
      "convex",
      ...["convex-app-server", "convex-app-server-folders", "convex-app-server-ready", "convex-app-server-version"],
      ...["convex-app-web", "convex-app-web-ready", "convex-app-web-version"],
      ...["convex-apps", `convex-apps-image-${contentHash("server@sha256:2")}`],
      ...[`convex-apps-image-${contentHash("web@sha256:1")}`, "convex-secret-auth"],
      ...["convex-server", "convex-web"],
    ]);
  });

  it("shares an image, so that only the last app that uses it deletes it", async () => {
    new Apps("convex", { ...APPS(), apps: [SERVER, { ...WEB, image: SERVER.image }] });
    const pulled = (await names()).filter((name) => name.startsWith("convex-apps-image"));
    expect(pulled).toEqual([`convex-apps-image-${contentHash(SERVER.image)}`]);
  });

  it("resolves references, as secrets", async () => {
    new Apps("convex", APPS());
    expect(secretValue((await settled())("convex-app-web")["envs"])).toEqual([
      "DATABASE_URL=postgresql://chat:pw@host.docker.internal:5432/chat",
      "INSIDE=http://backend:3210",
      `KEY=${Buffer.alloc(32).toString("base64")}`,
      "MODE=fast",
      `NODE_EXTRA_CA_CERTS=${TRUSTED_BY_APPS}`,
      "ORIGIN=https://app.example.com",
      `PGSSLROOTCERT=${TRUSTED_BY_APPS}`,
      "PORT=3000",
      "SERVER=http://server:8000",
      "URL=https://api.example.com",
    ]);
  });

  it("gives a container limits, the network's alias, a command and a health check, but no port if it is not public", async () => {
    new Apps("convex", APPS());
    const server = (await settled())("convex-app-server");
    expect(server).toMatchObject({
      ...{
        command: ["serve"],
        memory: 256,
        memorySwap: 256,
        networksAdvanced: [{ name: "convex", aliases: ["server"] }],
      },
      volumes: [{ hostPath: "/mnt/convex/apps/server/data", containerPath: "/data" }],
      healthcheck: { tests: ["CMD-SHELL", "true"] },
    });
    expect(server).not.toHaveProperty("ports");
    expect(server).not.toHaveProperty("cpus");
  });

  it("ends the version before first only if two cannot run side by side", async () => {
    new Apps("convex", { ...APPS(), apps: [SERVER, { ...WEB, stopFirst: true }] });
    await settled();
    expect(options.get("convex-app-web Container")).toMatchObject({ deleteBeforeReplace: true });
    expect(options.get("convex-app-server Container")).not.toHaveProperty("deleteBeforeReplace");
  });

  it("gives each version of a public app a name and a loopback address of its own", async () => {
    new Apps("convex", APPS());
    const resources = await settled();
    expect(resources("convex-app-web")).toMatchObject({
      ...{ name: "convex-app-web-000000", cpus: "0.5" },
      ports: [{ internal: 3000, external: 8080, ip: "127.1.0.1" }],
    });
    expect(secretValue(resources("convex-app-web-version")["keepers"])).toEqual({
      content: expect.stringMatching(/^[0-9a-f]{8}$/) as unknown,
    });
  });

  it("is another version after each change of its container, and after no other", async () => {
    const { image, ...args } = { ...APPS(), image: undefined as never, acmeAuthorityFile: undefined, after: [] };
    const version = (change: Partial<AppSettings>, values: AppArgs["values"] = {}, names: string[] = []) =>
      valueOf(versionOf({ ...args, image, app: { ...WEB, ...change }, values, names }));
    const first = await version({});
    expect(first).toMatch(/^[0-9a-f]{8}$/);
    for (const same of [
      {},
      { healthPath: "/other" },
      { healthSeconds: 5 },
      { stopFirst: true },
      { dependsOn: [] },
      { probes: [{ ...PROBE, name: "ping" }] },
      { hosts: ["x.example.com"] },
    ]) {
      expect(await version(same)).toBe(first);
    }
    const others = await Promise.all(
      [
        ...[
          { image: "web@sha256:3" },
          { variables: { MODE: "slow" } },
          { port: 3001 },
          { hosts: [] },
          { memoryMb: 300 },
        ],
        ...[{ cpus: "1" }, { command: ["other"] }, { folders: { cache: "/cache" } }, { healthCommand: "false" }],
      ].map((change) => version(change)),
    );
    const referring = await Promise.all([version({}, { KEY: pulumi.secret("x") }), version({}, {}, ["x.example.com"])]);
    expect(new Set([first, ...others, ...referring]).size).toBe(12);
  });

  it("reaches Convex's names, its own and those that it refers to, at the machine itself", async () => {
    new Apps("convex", APPS());
    const hosts = (await settled())("convex-app-web")["hosts"] as { host: string; ip: string }[];
    expect(new Set(hosts.map(({ ip }) => ip))).toEqual(new Set(["172.30.0.1"]));
    expect(hosts.map(({ host }) => host)).toEqual([
      ...["host.docker.internal", "api.example.com", "site.example.com", "app.example.com", "www.example.com"],
    ]);
  });

  it("tells the machine the folders, the names with their addresses, and how to see whether an app is ready", async () => {
    const { urls } = new Apps("convex", APPS());
    const resources = await settled();
    expect(resources("convex-app-server-folders")["stdin"]).toBe(
      "mountpoint=/mnt/convex\nfolders=5:6 /mnt/convex/apps/server/data\n",
    );
    expect(resources("convex-app-web-ready")["stdin"]).toBe(
      "app=web\ncontainer=convex-app-web-000000\nport=3000\nhealth_path=/health\nseconds=60\n",
    );
    expect(resources("convex-apps")["stdin"]).toBe(
      "mountpoint=/mnt/convex\nfolders=5:6 /mnt/convex/apps/server/data\n" +
        "sites=app.example.com 127.1.0.1:8080\nsites=www.example.com 127.1.0.1:8080\n" +
        "probes=server convex-app-server-000000 8000 \nprobes=web convex-app-web-000000 3000 /health\n",
    );
    expect(await valueOf(urls)).toEqual({ web: "https://app.example.com" });
  });

  it("tells the machine what Docker has to create for a job, as a secret, also with the admin key", async () => {
    new Apps("convex", { ...APPS(), jobs: [JOB], exposure: { hosts: HOSTS, acmeAuthorityFile: "/etc/authority.pem" } });
    const stdin = secretValue((await settled())("convex-job-migrate")["stdin"]) as string;
    expect(itemsIn(stdin, "folders")).toEqual(["5:6 /mnt/convex/apps/server/data"]);
    expect(stdin).toContain("job=migrate\ncontainer=convex-job-migrate\nmountpoint=/mnt/convex\n");
    expect(valueIn(stdin, "seconds")).toBe("600");
    expect(JSON.parse(valueIn(stdin, "request"))).toEqual({
      ...{ Image: "server@sha256:2", Entrypoint: ["node"], Cmd: ["migrate.js"], Healthcheck: { Test: ["NONE"] } },
      Env: [
        ...["KEY=swarm|key", "MODE=all", "NODE_EXTRA_CA_CERTS=/etc/authority.pem"],
        ...["PORT=8000", "URL=https://app.example.com"],
      ],
      HostConfig: {
        NetworkMode: "convex",
        ExtraHosts: [
          ...["host.docker.internal:172.30.0.1", "api.example.com:172.30.0.1", "site.example.com:172.30.0.1"],
          ...["app.example.com:172.30.0.1", "www.example.com:172.30.0.1"],
        ],
        Binds: ["/mnt/convex/apps/server/data:/data", "/etc/authority.pem:/etc/authority.pem:ro"],
        ...{ Memory: 64 * 1024 ** 2, MemorySwap: 64 * 1024 ** 2, NanoCpus: 500_000_000 },
        LogConfig: { Type: "json-file", Config: { "max-size": "10m", "max-file": "3" } },
      },
    });
  });

  it("runs a job with its image's own command, and with folders that drift knows, if it has no app", async () => {
    const own = { ...JOB, image: "job@sha256:3", command: [], foldersOf: "migrate", port: undefined };
    new Apps("convex", { ...APPS(), apps: [], jobs: [{ ...own, before: [], references: {} }] });
    const find = await settled();
    const stdin = secretValue(find("convex-job-migrate")["stdin"]) as string;
    expect(JSON.parse(valueIn(stdin, "request"))).not.toHaveProperty("Entrypoint");
    expect(find(`convex-apps-image-${contentHash("job@sha256:3")}`)).toMatchObject({ name: "job@sha256:3" });
    expect(itemsIn(find("convex-apps")["stdin"] as string, "folders")).toEqual(["5:6 /mnt/convex/apps/migrate/data"]);
  });

  it("runs a job after those that it depends on, and before the apps that wait for it", async () => {
    const after = { ...JOB, name: "seed", dependsOn: ["migrate"], before: [], references: {} };
    new Apps("convex", { ...APPS(), jobs: [JOB, after] });
    await settled();
    const migrate = "convex-job-migrate";
    expect(dependencies.get("convex-job-seed Command")).toContain(migrate);
    expect(dependencies.get("convex-app-web Container")).toContain(migrate);
    expect(dependencies.get("convex-app-server Container")).not.toContain(migrate);
    expect(dependencies.get("convex-job-migrate Command")).toContain(
      `convex-apps-image-${contentHash("server@sha256:2")}`,
    );
  });

  it("starts the apps and jobs that refer to Convex after the functions, if the stack deploys them", async () => {
    const functions = new FunctionDeployment("convex", FUNCTIONS());
    new Apps("convex", { ...APPS(), convex: [functions], jobs: [{ ...JOB, before: [] }] });
    await settled();
    expect(dependencies.get("convex-app-web Container")).toContain("convex-functions");
    expect(dependencies.get("convex-job-migrate Command")).toContain("convex-functions");
    expect(dependencies.get("convex-app-server Container")).not.toContain("convex-functions");
  });

  it("asks an app's probes once requests are led to its version, at its first host if it has one", async () => {
    const probes = [
      { ...PROBE, name: "ping" },
      { ...PROBE, name: "home", path: "/", json: undefined, withinSeconds: 5, holdSeconds: 0 },
    ];
    new Apps("convex", {
      ...APPS(),
      apps: [
        { ...SERVER, probes: probes.slice(1) },
        { ...WEB, probes },
      ],
    });
    const find = await settled();
    expect(find("convex-app-web-probes")["stdin"]).toBe(
      "app=web\ncontainer=convex-app-web-000000\nhost=app.example.com\nport=3000\n" +
        'probes=ping 200 60 300 /ping?a=b {"ok":true}\nprobes=home 200 5 0 / \n',
    );
    expect(find("convex-app-server-probes")["stdin"]).toBe(
      "app=server\ncontainer=convex-app-server-000000\nhost=\nport=8000\nprobes=home 200 5 0 / \n",
    );
    for (const app of ["web", "server"]) {
      expect(dependencies.get(`convex-app-${app}-probes Command`)).toContain("convex-apps");
    }
  });

  it("runs a job after apps once requests are led to them, again for each version, and what depends on it later", async () => {
    const next = { ...SMOKE, name: "next", dependsOn: ["smoke"], after: [] };
    new Apps("convex", { ...APPS(), jobs: [JOB, SMOKE, next] });
    const find = await settled();
    const stdin = (job: string) => secretValue(find(`convex-job-${job}`)["stdin"]) as string;
    expect(itemsIn(stdin("smoke"), "apps")).toEqual(["web convex-app-web-000000"]);
    expect(dependencies.get("convex-job-smoke Command")).toContain("convex-apps");
    expect(dependencies.get("convex-job-next Command")).toEqual(
      expect.arrayContaining(["convex-apps", "convex-job-smoke"]),
    );
    expect(dependencies.get("convex-job-migrate Command")).not.toContain("convex-apps");
    expect(valueIn(stdin("migrate"), "apps")).toBe("");
  });

  it("does not exist without apps and secrets, and Docker's provider has no credentials", async () => {
    expect(appsOf("convex", { ...APPS(), apps: [], generatedSecrets: [] })).toBeUndefined();
    new Convex("convex", CONVEX());
    expect((await settled())("convex-docker")).toEqual({ host: "unix:///tmp/docker.sock" });
  });

  it("has credentials for registries, with secret passwords", async () => {
    const registries = [{ address: "ghcr.io", username: "me", password: "token" }];
    new Convex("convex", { ...CONVEX(), registries });
    const auth = JSON.stringify((await settled())("convex-docker")["registryAuth"]);
    expect(auth).toContain("ghcr.io");
    expect(auth).toContain(SECRET);
  });

  it("has its names in the certificate, in the DNS and in the list of records", async () => {
    const { dnsRecords } = new Edge("convex", { ...EDGE(), appHosts: ["app.example.com", "example.com"] });
    const resources = await settled();
    expect(resources("convex-edge")["stdin"]).toHaveProperty(
      "value",
      expect.stringContaining("app_hosts=app.example.com\napp_hosts=example.com\n"),
    );
    expect(resources("convex-app-app.example.com-record")).toMatchObject({ type: "A", name: "app" });
    expect(resources("convex-app-example.com-record")).toMatchObject({ name: "@" });
    expect((await valueOf(dnsRecords)).slice(-2)).toEqual([
      expect.stringContaining("app.example.com. "),
      expect.stringContaining("example.com. "),
    ]);
  });
});

describe("a version's address", () => {
  it.each([
    ["000000", "127.1.0.1"],
    ["ffffff", "127.2.255.2"],
    ["fdfffd", "127.254.255.254"],
    ["0a0b0c", "127.11.11.13"],
  ])("of %s is %s", (digits, address) => {
    expect(loopbackAddress(digits)).toBe(address);
  });
});

describe("the repository of backups", () => {
  it("is a bucket that keeps what a stolen key would delete, with a key that can use only this bucket", async () => {
    new Repository(ID, REPOSITORY(SPACES()));
    const find = await settled();
    expect(find("convex-bucket")).toMatchObject({
      acl: "private",
      region: "nyc3",
      versioning: { enabled: true },
      lifecycleRules: [{ enabled: true, noncurrentVersionExpiration: { days: 14 } }],
      forceDestroy: true,
    });
    expect(find("convex-bucket")["name"]).toMatch(/^convex-test-backups-/);
    expect(find("convex-backup-key")["grants"]).toEqual([
      { bucket: find("convex-bucket")["name"], permission: "readwrite" },
    ]);
    expect(find("convex-spaces-key")["grants"]).toEqual([{ bucket: "", permission: "fullaccess" }]);
  });

  it("is not deleted with a protected stack", async () => {
    new Repository(ID, { ...REPOSITORY(SPACES()), protectData: true });
    expect((await settled())("convex-bucket")).toMatchObject({ forceDestroy: false });
  });

  it("on another S3 server is the given bucket, and only the passphrase is generated", async () => {
    const place = { backupEndpoint: "https://s3.example.com:9000", backupBucket: "mine", backupRegion: "us-east-1" };
    const key = { backupAccessKey: "ID", backupSecretKey: "KEY" };
    const { values, inPreview } = new Repository(ID, { ...REPOSITORY(), backups: "s3", ...place, ...key });
    expect(await names()).toEqual([ID, "convex-backup-passphrase"]);
    new Backups(ID, { ...BACKUPS(), inPreview });
    await settled();
    expect(beforeCreate.get("convex-backups Command")).toEqual(["convex-backup-bucket"]);
    expect(values).toMatchObject({
      repository_endpoint: "s3.example.com:9000",
      repository_bucket: "mine",
      repository_region: "us-east-1",
      stanza: "506f78a4",
    });
    for (const [name, key] of [
      ["repository_key", "ID"],
      ["repository_key_secret", "KEY"],
    ] as const) {
      const value = pulumi.output(values[name]);
      expect(await valueOf(value)).toBe(key);
      expect(await pulumi.isSecret(value)).toBe(true);
    }
  });

  it("does not exist without backups", async () => {
    const { values } = new Repository(ID, { ...REPOSITORY(), backups: "off" });
    expect(await names()).toEqual([ID]);
    expect(values["repository_endpoint"]).toBe("");
  });
});

describe("the jobs of backups", () => {
  it("know the databases of which they make dumps, only with a managed one", async () => {
    new Backups(ID, { ...BACKUPS(), dumped: ["convex_self_hosted", "shop"] });
    const find = await settled();
    expect(itemsIn(String(find("convex-backups")["stdin"]), "dumped")).toEqual(["convex_self_hosted", "shop"]);
  });
});

describe("the storage of files", () => {
  it("in Spaces are five buckets that keep what is deleted, and one key that can use only these", async () => {
    const { buckets } = new FileStorage(ID, {
      ...FILES(),
      label: "convex-a-name-that-is-quite-long-for-a-bucket",
      spaces: SPACES(),
    });
    const find = await settled();
    const uses = ["exports", "files", "modules", "search", "snapshot-imports"];
    const found = uses.map((use) => find(`convex-${use}-bucket`));
    for (const bucket of found) {
      expect(bucket).toMatchObject({
        ...{ acl: "private", region: "nyc3", forceDestroy: true, versioning: { enabled: true } },
        lifecycleRules: [{ noncurrentVersionExpiration: { days: 14 }, abortIncompleteMultipartUploadDays: 7 }],
      });
      // Behind it are eight digits; a bucket's name has up to 63.
      const [start = ""] =
        /^convex-a-name-.*?-(exports|files|modules|search|imports)-/.exec(String(bucket["name"])) ?? [];
      expect(start.length).toBeGreaterThan(37);
      expect(start.length).toBeLessThanOrEqual(55);
    }
    for (const use of uses) {
      expect(beforeCreate.get(`convex-${use}-bucket SpacesBucket`)).toEqual(["convex-storage-switch"]);
    }
    const names = found.map((bucket) => bucket["name"]);
    expect(new Set(names).size).toBe(5);
    expect(find("convex-file-key")["grants"]).toEqual(names.map((bucket) => ({ bucket, permission: "readwrite" })));
    expect(buckets.region).toBe("nyc3");
  });

  it("is not deleted with a protected stack", async () => {
    new FileStorage(ID, { ...FILES(), spaces: SPACES(), protectData: true });
    expect((await settled())("convex-files-bucket")).toMatchObject({ forceDestroy: false });
  });

  it("on another server makes nothing", async () => {
    new FileStorage(ID, { ...FILES(), ...ELSEWHERE });
    expect(await names()).toEqual([ID]);
  });

  it("gives the backend all variables of S3 or none, and probes the buckets before it", async () => {
    const { buckets, inPreview } = new FileStorage(ID, { ...FILES(), ...ELSEWHERE });
    new Convex(ID, { ...CONVEX(), buckets, bucketsInPreview: inPreview });
    const find = await settled();
    expect(beforeCreate.get("convex-buckets Command")).toEqual(["convex-file-buckets"]);
    expect(variablesFor(secretValue(find("convex-backend")["envs"]))).toEqual({
      AWS_REGION: "eu-central-1",
      AWS_ACCESS_KEY_ID: "ID",
      AWS_SECRET_ACCESS_KEY: "KEY",
      S3_ENDPOINT_URL: "https://s3.example.com",
      S3_STORAGE_EXPORTS_BUCKET: "mine-exports",
      S3_STORAGE_FILES_BUCKET: "mine-files",
      S3_STORAGE_MODULES_BUCKET: "mine-modules",
      S3_STORAGE_SEARCH_BUCKET: "mine-search",
      S3_STORAGE_SNAPSHOT_IMPORTS_BUCKET: "mine-snapshot-imports",
      AWS_S3_FORCE_PATH_STYLE: "true",
      AWS_S3_DISABLE_CHECKSUMS: "true",
      AWS_S3_DISABLE_SSE: "true",
      AWS_REQUEST_CHECKSUM_CALCULATION: "WHEN_REQUIRED",
      AWS_RESPONSE_CHECKSUM_VALIDATION: "WHEN_REQUIRED",
    });
    // The key is on stdin, and nowhere else.
    expect(String(secretValue(find("convex-buckets")["stdin"]))).toContain("key_secret=KEY\n");
    expect(dependencies.get("convex-backend Container")).toContain("convex-buckets");
    expect(dependencies.get("convex-rehearsal Command")).toContain("convex-buckets");
    // Droplet and container trust the same servers.
    expect(find("convex-backend")["volumes"]).toContainEqual({
      hostPath: "/etc/ssl/certs/ca-certificates.crt",
      containerPath: "/etc/ssl/certs/ca-certificates.crt",
      readOnly: true,
    });
  });

  it("on the volume needs no variable and no probe", async () => {
    new Convex(ID, CONVEX());
    const find = await settled();
    expect(variablesFor(secretValue(find("convex-backend")["envs"]))).toEqual({});
    expect(await names()).not.toContain("convex-buckets");
  });
});

/** Buckets on another server. */
const ELSEWHERE = {
  ...{ fileRegion: "eu-central-1", fileEndpoint: "https://s3.example.com", fileBucketPrefix: "mine" },
  ...{ fileAccessKey: "ID", fileSecretKey: "KEY" },
};

/** The variables for S3. */
function variablesFor(envs: unknown): Record<string, string> {
  const lines = (envs as string[]).filter((line) => /^(S3|AWS)_/.test(line));
  return Object.fromEntries(lines.map((line) => line.split("=") as [string, string]));
}

describe("a word of a command line", () => {
  it.each([
    ["plain-1.2_x/y", "plain-1.2_x/y"],
    [64, "64"],
    ["two words", "'two words'"],
    ["it's $HOME", "'it'\\''s $HOME'"],
    ["", "''"],
  ])("%j is quoted as %s", (word, quoted) => {
    expect(quote(word)).toBe(quoted);
  });
});

it("the components register the resources that others look up by name", async () => {
  const connection = pulumi.secret({ host: "192.0.2.1" });
  new Host(ID, { ...HOST, reservedIp: true });
  new Postgres(ID, POSTGRES());
  const cluster = new ManagedCluster(ID, clusterArgs());
  new ManagedPostgres(ID, { ...POSTGRES(), cluster, authorityFile: "/tmp/authority.pem" });
  new Database(ID, DATABASE());
  new Edge(ID, EDGE());
  new Edge(ID, { ...EDGE(), exposure: { ...EXPOSURE, openings: [{ port: 3210, networks: [] }] } });
  new Convex(ID, { ...CONVEX(), buckets: new FileStorage(ID, { ...FILES(), ...ELSEWHERE }).buckets });
  new Repository(ID, REPOSITORY(SPACES()));
  new Backups(ID, BACKUPS());
  new FunctionEnvironment(ID, {
    ...{ connection, mountpoint: "/mnt/convex", apiPort: 3210, adminKey: pulumi.secret("key") },
    ...{ functionEnvironment: {}, authKeys: false, onMachine: lifetime() },
  });
  new FunctionDeployment(ID, FUNCTIONS());
  new Apps(ID, APPS());
  expect(await names()).toEqual(expect.arrayContaining(Object.values(RESOURCES)));
});

describe("every registered resource", () => {
  const deploy = async () => {
    new Host(ID, { ...HOST, protectData: true, reservedIp: true });
    const { inCluster } = new Postgres(ID, POSTGRES());
    new Database(ID, { ...DATABASE(), inCluster, protectData: true });
    new Edge(ID, EDGE());
    const spaces = SPACES();
    const { buckets } = new FileStorage(ID, { ...FILES(), spaces, protectData: true });
    new Convex(ID, { ...CONVEX(), buckets, protectData: true });
    new Repository(ID, { ...REPOSITORY(spaces), protectData: true });
    new Backups(ID, BACKUPS());
    new Apps(ID, { ...APPS(), apps: [SERVER, { ...WEB, probes: [{ ...PROBE, name: "ping" }] }], jobs: [JOB, SMOKE] });
    await settled();
  };
  const [apps, app] = [{ parent: "Apps" }, { parent: "App" }];
  const [host, postgres, convex] = [{ parent: "Host" }, { parent: "Postgres" }, { parent: "Convex" }];
  const [edge, repository, fileStorage] = [{ parent: "Edge" }, { parent: "Repository" }, { parent: "FileStorage" }];
  const spaces = { parent: "Spaces", aliases: [expect.anything()] };
  const database = { parent: "Database", aliases: [expect.anything()] };
  const unique = { deleteBeforeReplace: true };
  const onMachine = { deletedWith: "setup", replaceWith: ["droplet"] };
  const onVolume = { deletedWith: "setup", replaceWith: ["volume"] };
  const run = { replaceOnChanges: ["triggers[*]"] };

  it("changes for a volume from a snapshot: the volume can be replaced, and what is in it is not", async () => {
    const snapshotId = "506f78a4-e098-11e5-ad9f-000f53306ae1";
    const { onVolume: lifetime } = new Host(ID, { ...HOST, snapshotId });
    new Database(ID, { ...DATABASE(), snapshotId });
    const find = await settled();
    expect(options.get("convex-volume Volume")).toEqual({ ...host, retainOnDelete: true });
    expect(find("convex-volume")).toMatchObject({ name: "convex-test-data-506f78a4", snapshotId });
    expect(lifetime.replaceWith).toEqual([]);
    expect(options.get("convex-password RandomPassword")).toEqual(database);
    expect(find("convex-password")).toMatchObject({ keepers: { snapshot: snapshotId } });
  });

  it("changes for an adopted volume: it and what is in it are imported, and nothing deletes it", async () => {
    const adopted = { id: "506f78a4-e098-11e5-ad9f-000f53306ae1", name: "of-old" };
    new Host(ID, { ...HOST, protectData: false, adopted, instanceSecret: "5".repeat(64) });
    new Database(ID, { ...DATABASE(), adopted });
    const find = await settled();
    expect(find("convex-volume")).toMatchObject({ name: "of-old" });
    expect(options.get("convex-volume Volume")).toMatchObject({ import: adopted.id, retainOnDelete: true });
    expect(options.get("convex-role Role")).toMatchObject({ import: "convex" });
    expect(options.get("convex-database Database")).toMatchObject({ import: "convex_self_hosted" });
    const hash = createHash("sha256").update("5".repeat(64)).digest("hex");
    expect(find("convex-setup")["stdin"]).toContain(`adopted_name=swarm\nadopted_secret_hash=${hash}\nstack=test\n`);
  });

  it("is not created while a droplet that is not in the state has the volume; only a new stack creates the component", async () => {
    new Host(ID, { ...HOST, adopted: { id: "506f78a4-e098-11e5-ad9f-000f53306ae1", name: "of-old" } });
    await settled();
    const refusing = [...beforeCreate].filter(([, hooks]) => hooks.some((hook) => hook.includes("held-volume")));
    expect(refusing).toEqual([["convex Host", ["convex-held-volume"]]]);
  });

  it("has its parent and its lifetime", async () => {
    await deploy();
    expect(Object.fromEntries([...options].filter(([, told]) => Object.keys(told).length > 0))).toEqual({
      "convex-deploy-key PrivateKey": host,
      "convex-host-key PrivateKey": host,
      "convex-ssh-key SshKey": { ...host, ...unique },
      "convex-volume Volume": {
        ...{ ...host, ...unique, protect: true, retainOnDelete: true },
        ignoreChanges: ["name", "snapshotId", "description"],
      },
      "convex-droplet Droplet": {
        ...{ ...host, ...unique, replaceWith: ["convex-volume"] },
        ignoreChanges: ["image", "userData", "sshKeys", "backups", "backupPolicy", "ipv6"],
      },
      "convex-reserved-ip ReservedIp": host,
      "convex-firewall Firewall": { ...host, ...unique },
      "convex-project Project": { ...host, ...unique, ignoreChanges: ["isDefault"] },
      "convex-project-resources ProjectResources": host,
      "convex-scripts CopyToRemote": { ...host, ...run, replaceWith: ["convex-droplet"] },
      "convex-setup Command": { ...host, ...run, replaceWith: ["convex-droplet"] },
      "convex-admin-password RandomPassword": postgres,
      "convex-password RandomPassword": { ...database, ignoreChanges: ["keepers"] },
      "convex-postgres-authority-key PrivateKey": postgres,
      "convex-postgres-authority SelfSignedCert": postgres,
      "convex-postgres-certificate-key PrivateKey": postgres,
      "convex-postgres-certificate-request CertRequest": postgres,
      "convex-postgres-certificate LocallySignedCert": postgres,
      "convex-server Command": { ...postgres, ...run, ...onMachine },
      "convex-provider postgresql": { ...postgres, aliases: [expect.anything()] },
      "convex-role Role": { ...database, ...onVolume },
      "convex-database Database": { ...database, ...onVolume, protect: true, retainOnDelete: true },
      "convex-privacy Grant": { ...database, ...onVolume },
      "convex-zone Domain": { ...edge, retainOnDelete: true },
      "convex-api-record DnsRecord": { ...edge, replaceOnChanges: ["name"] },
      "convex-site-record DnsRecord": { ...edge, replaceOnChanges: ["name"] },
      "convex-dashboard-record DnsRecord": { ...edge, replaceOnChanges: ["name"] },
      "convex-dashboard-password RandomPassword": edge,
      "convex-edge Command": { ...edge, ...run, ...onMachine },
      "convex-https-firewall Firewall": { ...edge, ...unique },
      "convex-instance-secret RandomPassword": { ...convex, protect: true },
      "convex-docker docker": convex,
      "convex-network Network": { ...convex, ...unique, ...onMachine },
      "convex-backend-image RemoteImage": { ...convex, ...unique, ...onMachine },
      "convex-dashboard-image RemoteImage": { ...convex, ...unique, ...onMachine },
      "convex-backend Container": { ...convex, ...unique, ...onMachine, replaceOnChanges: ["healthcheck"] },
      "convex-rehearsal Command": { ...convex, ...run, ...onMachine },
      "convex-acceptance Command": { ...convex, ...run, ...onMachine },
      "convex-dashboard Container": { ...convex, ...unique, ...onMachine },
      "convex-backup-passphrase RandomPassword": { ...repository, protect: true },
      "convex-spaces-key SpacesKey": spaces,
      "convex-spaces digitalocean": spaces,
      "convex-bucket-suffix RandomPassword": repository,
      "convex-bucket SpacesBucket": { ...repository, protect: true, retainOnDelete: true },
      "convex-backup-key SpacesKey": repository,
      "convex-file-buckets-suffix RandomPassword": fileStorage,
      ...Object.fromEntries(
        ["exports", "files", "modules", "search", "snapshot-imports"].map((use) => [
          `convex-${use}-bucket SpacesBucket`,
          { ...fileStorage, protect: true, retainOnDelete: true },
        ]),
      ),
      "convex-file-key SpacesKey": fileStorage,
      "convex-buckets Command": { ...convex, ...run, ...onMachine },
      "convex-secret-auth RandomPassword": apps,
      [`convex-apps-image-${contentHash("server@sha256:2")} RemoteImage`]: { ...apps, ...unique, ...onMachine },
      [`convex-apps-image-${contentHash("web@sha256:1")} RemoteImage`]: { ...apps, ...unique, ...onMachine },
      "convex-server App": apps,
      "convex-web App": apps,
      "convex-app-server-version RandomPassword": app,
      "convex-app-web-version RandomPassword": app,
      "convex-app-server-folders Command": { ...app, ...run, ...onMachine },
      "convex-app-server Container": { ...app, ...onMachine },
      "convex-app-web Container": { ...app, ...onMachine },
      "convex-app-server-ready Command": { ...app, ...run, ...onMachine },
      "convex-app-web-ready Command": { ...app, ...run, ...onMachine },
      "convex-app-web-probes Command": { ...apps, ...run, ...onMachine },
      "convex-job-migrate Command": { ...apps, ...run, ...onMachine },
      "convex-job-smoke Command": { ...apps, ...run, ...onMachine },
      "convex-apps Command": { ...apps, ...run, ...onMachine },
      "convex-backups Command": { parent: "Backups", ...run, ...onMachine },
    });
  });

  it("has its public fields as outputs if it is a component", async () => {
    await deploy();
    expect(Object.fromEntries(componentOutputs)).toMatchObject({
      Host: [
        ...["connection", "dataDirectory", "deployKey", "hostKey", "machineId", "mountpoint", "publicIp"],
        ...["size", "volumeId", "volumeSizeGb"],
      ],
      Postgres: ["address", "authority"],
      Database: ["password", "url"],
      Edge: ["dashboardPassword", "dashboardUrl", "dnsRecords", "origins"],
      Convex: ["adminKey", "backendUrl", "readOnlyAdminKey", "siteUrl"],
      Repository: ["values"],
      FileStorage: ["buckets"],
      Apps: ["urls"],
      App: ["address", "container"],
    });
  });
});
