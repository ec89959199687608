import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { freeLostPorts, removeLostFromEngine } from "../error-hooks/docker.ts";
import { reportHalfDone } from "../error-hooks/half-done.ts";
import { reportUnpulled } from "../error-hooks/image.ts";
import { mintAdminKey, readOnlyKeyBeside } from "../contract/admin-key.ts";
import { contentHash } from "../contract/content-hash.ts";
import {
  AUTHORITY_FILE,
  type ContainerNetwork,
  containersOf,
  HOST_IN_CONTAINERS,
  PORTS,
  rolesOf,
} from "../contract/names.ts";
import type { Registry } from "../settings/apps.ts";
import type { Exposure } from "../settings/exposure.ts";
import { probeBuckets } from "./bucket-probe.ts";
import { type FileBuckets, storageVariables } from "./file-storage.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, type RunLogged, runScript, targetOf } from "./machine.ts";
import { Rehearsal } from "./rehearsal.ts";

export interface ConvexArgs {
  /** Connection to the machine that the containers run on. */
  connection: Connection;
  /** Changes with each machine. */
  machineId: pulumi.Input<string>;
  /** Mount point of the volume with the backend's data. */
  mountpoint: pulumi.Input<string>;
  /** The Docker engine's address, `unix:///…`. */
  dockerHost: pulumi.Input<string>;
  /** Registries that ask for credentials. */
  registries: Registry[];
  /** Folder on the machine for the backend's files: function code, stored files, search indexes. */
  dataDirectory: pulumi.Input<string>;
  /** The buckets that the backend keeps its files in; undefined if they are in the folder. */
  buckets: FileBuckets | undefined;
  /** Ask in a preview whether buckets can be used that the stack does not make. */
  bucketsInPreview: pulumi.ResourceHook[];
  /** Refuse other places of files or database for an instance that has run. */
  refuseSwitches: pulumi.ResourceHook[];
  /** PostgreSQL's host and port. */
  postgresAddress: pulumi.Input<string>;
  /** PostgreSQL's URL, without a database; secret. */
  postgresUrl: pulumi.Output<string>;
  /** The certificate that the backend trusts PostgreSQL by, PEM, which the machine has in `AUTHORITY_FILE`. */
  postgresAuthority: pulumi.Output<string>;
  /** Connections that the backend may open. Changing it restarts the backend. */
  postgresPoolSize: number;
  /** The machine's memory in MiB. Each container is limited to a share of it. */
  memoryMb: number;
  /** Whether the instance secret is protected from deletion. Without it, no admin key works. */
  protectData: boolean;
  /** Name of the instance, which its admin keys contain. */
  instanceName: string;
  /** The secret that its admin keys are made from, 64 hexadecimal digits; secret. If empty, it is generated. Changing it makes all keys invalid. */
  instanceSecret: string;
  /** Backend image by digest. Changing it tries it on a copy of the data, and restarts the backend; its migrations only go forward. */
  backendImage: string;
  /** Dashboard image by digest, of the same revision as the backend. */
  dashboardImage: string;
  /** Ports and names of API, HTTP actions and dashboard. */
  exposure: Pick<Exposure, "ports" | "bindAddress" | "hosts" | "acmeAuthorityFile">;
  /** URLs at which clients reach API and HTTP actions. Changing them restarts the backend. */
  origins: { cloud: pulumi.Input<string>; site: pulumi.Input<string> };
  /** RUST_LOG of the backend. */
  logLevel: string;
  /** How long overwritten documents are kept, in seconds. */
  documentRetentionSeconds: number;
  /** Whether the backend reports to Convex every hour. */
  telemetry: boolean;
  /** Whether to hide the details of function errors from clients. */
  redactClientLogs: boolean;
  /** More environment variables of the backend. */
  backendEnvironment: Record<string, string>;
  /** The containers' network. PostgreSQL's rules name it. */
  network: ContainerNetwork;
  /** Whether another backend image is first tried on a copy of the data. */
  rehearseImages: boolean;
  /** The stack's name, for commands in messages. */
  stack: string;
  /** Runs a script on the machine from a hook. */
  runLogged: RunLogged;
  /** Run before another backend image is used. */
  beforeNewImage: pulumi.ResourceHook[];
  /** Lifetime of network, images and containers. */
  onMachine: Lifetime;
}

/**
 * The Convex backend and its dashboard, as containers.
 *
 * *Owns* network, images, containers and the instance secret.
 * *Survives* a replaced droplet: the instance secret, and so every admin key.
 * *Replacing it means* new containers on the same data.
 */
export class Convex extends pulumi.ComponentResource {
  /** Ready: an admin key that the running backend has accepted; secret. */
  readonly adminKey: pulumi.Output<string>;
  /**
   * Ready: an admin key that can read everything and change nothing; secret. Undefined if the backend accepts only the keys
   * of its own tool, which makes no read-only ones.
   */
  readonly readOnlyAdminKey: pulumi.Output<string | undefined>;
  /** Ready: the API's URL, once the backend is healthy. */
  readonly backendUrl: pulumi.Output<string>;
  /** Ready: the HTTP actions' URL, once the backend is healthy. */
  readonly siteUrl: pulumi.Output<string>;
  /** For further containers: the network's name, and options with the provider and the lifetime of a container. */
  readonly inEngine: { network: pulumi.Output<string>; options: pulumi.CustomResourceOptions };

  constructor(name: string, args: ConvexArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:Convex", name, {}, opts);
    const child = { parent: this };
    const containers = containersOf(name);
    const { ports, bindAddress, hosts, acmeAuthorityFile } = args.exposure;
    const { origins } = args;

    // 64 hexadecimal digits. The id of a RandomBytes would be the secret in plain text. It also exists if it is not used, so that
    // the way back leads to the same keys.
    const generated = new random.RandomPassword(
      `${name}-instance-secret`,
      { length: 64, upper: false, lower: false, numeric: true, special: true, overrideSpecial: "abcdef" },
      { ...child, protect: args.protectData },
    );
    const instanceSecret = args.instanceSecret === "" ? generated.result : pulumi.secret(args.instanceSecret);

    const engine = new docker.Provider(
      `${name}-docker`,
      { host: args.dockerHost, ...credentials(args.registries) },
      child,
    );
    const restartEngine = async () => {
      await args.runLogged(await targetOf(args.connection), "systemctl restart docker.service", "");
    };
    const ofEngine = {
      ...args.onMachine,
      provider: engine,
      hooks: {
        onError: [
          removeLostFromEngine(name, args.dockerHost),
          freeLostPorts(name, args.dockerHost, restartEngine),
          reportHalfDone(`${name}-convex`),
        ],
      },
    };
    // Names and ports are unique, so a forced replacement must also delete before it creates.
    const inEngine = { ...child, ...ofEngine, deleteBeforeReplace: true };
    const network = new docker.Network(
      `${name}-network`,
      {
        name: args.network.name,
        driver: "bridge",
        ipamConfigs: [{ subnet: args.network.subnet, gateway: args.network.gateway }],
      },
      inEngine,
    );
    const pull = (role: string, image: string, beforeCreate: pulumi.ResourceHook[]) =>
      new docker.RemoteImage(
        `${name}-${role}-image`,
        { name: image, keepLocally: true },
        { ...inEngine, hooks: { onError: [reportUnpulled(`${role}Image`)], beforeCreate } },
      );
    // The old backend still runs when its hook does.
    const backendImage = pull("backend", args.backendImage, args.beforeNewImage);
    const dashboardImage = pull("dashboard", args.dashboardImage, []);

    // Its name changes with its content, because a container that runs keeps the file that it was started with.
    const authorityFile = args.postgresAuthority.apply((pem) => `/convex/postgres-authority-${contentHash(pem)}.pem`);
    const envs = pulumi.secret(environment(args, origins, authorityFile, instanceSecret));
    const trusted = [
      ...(acmeAuthorityFile === undefined && args.buckets === undefined ? [] : [AUTHORITIES]),
      ...(acmeAuthorityFile === undefined ? [] : [acmeAuthorityFile]),
    ];
    const files = [
      ...trusted.map((file) => ({ hostPath: file, containerPath: file, readOnly: true })),
      { hostPath: AUTHORITY_FILE, containerPath: authorityFile, readOnly: true },
    ];
    const afterImage = [...[args.onMachine.dependsOn ?? []].flat(), backendImage] as pulumi.Resource[];
    const inside = { image: args.backendImage, network: network.name, mountpoint: args.mountpoint };
    // Before the rehearsal, so that a wrong key or name can be corrected as long as there is no instance.
    const probes =
      args.buckets === undefined
        ? []
        : [
            probeBuckets(name, args.buckets, args.bucketsInPreview, args.connection, args.machineId, inside, {
              ...child,
              ...args.onMachine,
              dependsOn: afterImage,
            }),
          ];
    const minted = instanceSecret.apply((secret) => mintAdminKey(args.instanceName, secret));
    const rehearsal = new Rehearsal(
      name,
      args.connection,
      args.backendImage,
      {
        stack: args.stack,
        container: containers.backend,
        dashboard: containers.dashboard,
        image: args.backendImage,
        dashboard_image: args.dashboardImage,
        name: args.instanceName,
        role: rolesOf(name).owner,
        mountpoint: args.mountpoint,
        key: minted,
        memory_mb: memoryShare(args.memoryMb, 0.3).memory,
        rehearse: String(args.rehearseImages),
        environment: envs,
        files: files.map(({ hostPath, containerPath }) => pulumi.interpolate`${hostPath}:${containerPath}`),
      },
      args.runLogged,
      {
        ...child,
        ...args.onMachine,
        hooks: { ...args.onMachine.hooks, beforeUpdate: args.refuseSwitches },
        dependsOn: [...afterImage, ...probes],
      },
    );
    const backend = new docker.Container(
      `${name}-backend`,
      {
        ...containerDefaults(containers.backend, args.backendImage),
        envs,
        networksAdvanced: [{ name: network.name, aliases: ["backend"] }],
        // An address, because Docker's "host-gateway" is the default bridge, where PostgreSQL does not listen.
        // The backend's own names, too: not every network lets a machine reach its public address from inside.
        hosts: [HOST_IN_CONTAINERS, ...(hosts === undefined ? [] : [hosts.api, hosts.site])].map((host) => ({
          host,
          ip: args.network.gateway,
        })),
        ports: [
          { internal: PORTS.api, external: ports.api, ip: bindAddress },
          { internal: PORTS.site, external: ports.site, ip: bindAddress },
        ],
        volumes: [{ hostPath: args.dataDirectory, containerPath: "/convex/data" }, ...files],
        healthcheck: {
          tests: ["CMD", "bash", "-c", pulumi.output(args.postgresAddress).apply(healthWith)],
          interval: "10s",
          timeout: "5s",
          retries: 5,
          startPeriod: "30s",
        },
        ...memoryShare(args.memoryMb, 0.6),
      },
      // The provider would report an update of the health check, but not apply it.
      {
        ...inEngine,
        dependsOn: [backendImage, ...probes, rehearsal.resource],
        replaceOnChanges: ["healthcheck"],
        hooks: { ...inEngine.hooks, beforeCreate: [rehearsal.guard] },
      },
    );

    const acceptance = new command.remote.Command(
      `${name}-acceptance`,
      {
        connection: args.connection,
        ...runScript("convex/backend.sh", {
          container: containers.backend,
          image: args.backendImage,
          name: args.instanceName,
          port: ports.api,
          site_port: ports.site,
          cloud_origin: hosts === undefined ? "" : origins.cloud,
          site_origin: hosts === undefined ? "" : origins.site,
          mountpoint: args.mountpoint,
          key: minted,
        }),
        // Checks every new backend.
        triggers: [backend.id],
        logging: command.remote.Logging.Stderr,
        addPreviousOutputInEnv: false,
      },
      {
        ...child,
        ...args.onMachine,
        additionalSecretOutputs: ["stdout"],
        // It may have to restore the data of before an upgrade.
        customTimeouts: { create: "6h", update: "6h" },
      },
    );

    new docker.Container(
      `${name}-dashboard`,
      {
        ...containerDefaults(containers.dashboard, args.dashboardImage),
        // The URL that the browser calls. The login page fills it in.
        envs: [pulumi.interpolate`NEXT_PUBLIC_DEPLOYMENT_URL=${origins.cloud}`],
        networksAdvanced: [{ name: network.name, aliases: ["dashboard"] }],
        ports: [{ internal: PORTS.dashboard, external: ports.dashboard, ip: "127.0.0.1" }],
        ...memoryShare(args.memoryMb, 0.15),
      },
      { ...inEngine, dependsOn: [dashboardImage, acceptance] },
    );

    this.adminKey = pulumi.secret(acceptance.stdout);
    this.readOnlyAdminKey = pulumi.secret(
      pulumi
        .all([acceptance.stdout, instanceSecret])
        .apply(([accepted, secret]) => readOnlyKeyBeside(accepted, args.instanceName, secret)),
    );
    this.backendUrl = pulumi.all([origins.cloud, acceptance.id]).apply(([url]) => url);
    this.siteUrl = pulumi.all([origins.site, acceptance.id]).apply(([url]) => url);
    this.inEngine = { network: network.name, options: ofEngine };
    this.registerOutputs({
      adminKey: this.adminKey,
      readOnlyAdminKey: this.readOnlyAdminKey,
      backendUrl: this.backendUrl,
      siteUrl: this.siteUrl,
    });
  }
}

/**
 * A backend is healthy if it answers and its database server does too: without the server, it still answers from memory. Only
 * a PostgreSQL server answers a request for encryption by GSSAPI (eight bytes), with G or N, and it needs no login for that. The
 * same with TLS would leave a line in PostgreSQL's log each time.
 */
function healthWith(postgresAddress: string): string {
  return (
    `curl -fs -o /dev/null http://localhost:${PORTS.api}/version && exec 3<>/dev/tcp/${postgresAddress.replace(":", "/")} && ` +
    String.raw`printf '\0\0\0\10\4\322\26\60' >&3 && read -rt 3 -n 1 answer <&3 && [[ $answer == [GN] ]]`
  );
}

/** On the droplet and in the image: the authorities that curl and the backend trust. */
const AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt";

/** The provider's credentials for registries. Without any, it has no such setting. */
function credentials(registries: Registry[]) {
  if (registries.length === 0) return {};
  return {
    registryAuth: registries.map(({ address, username, password }) => ({
      address,
      username,
      password: pulumi.secret(password),
    })),
  };
}

/** The arguments that both containers share. The backend stops gracefully only on SIGINT. */
function containerDefaults(name: string, image: string) {
  return {
    name,
    image,
    restart: "unless-stopped",
    stopSignal: "SIGINT",
    stopTimeout: 10,
    // Without it, the provider kills a container at once when it replaces it.
    destroyGraceSeconds: 10,
    logDriver: "json-file",
    logOpts: { "max-size": "10m", "max-file": "3" },
  };
}

/** A limit in MiB, without swap. Both are set, because Docker otherwise reports twice the memory as swap. */
function memoryShare(memoryMb: number, share: number) {
  const limit = Math.floor(memoryMb * share);
  return { memory: limit, memorySwap: limit };
}

/**
 * The backend's environment, sorted. Its start script reads any text in a flag as yes, also `false`, so a flag that is off is
 * left out.
 */
function environment(
  args: ConvexArgs,
  origins: ConvexArgs["origins"],
  authorityFile: pulumi.Output<string>,
  instanceSecret: pulumi.Output<string>,
): pulumi.Output<string[]> {
  const flags = {
    DISABLE_BEACON: !args.telemetry,
    REDACT_LOGS_TO_CLIENT: args.redactClientLogs,
    // Otherwise both ports show metrics to everybody.
    DISABLE_METRICS_ENDPOINT: true,
  };
  return pulumi
    .all([origins.cloud, origins.site, args.postgresUrl, authorityFile, instanceSecret, storageVariables(args.buckets)])
    .apply(([cloudOrigin, siteOrigin, postgresUrl, caFile, secret, storage]) =>
      Object.entries({
        ...args.backendEnvironment,
        ...Object.fromEntries(storage),
        // Node trusts only its own authorities, and these.
        ...(args.exposure.acmeAuthorityFile === undefined
          ? {}
          : { NODE_EXTRA_CA_CERTS: args.exposure.acmeAuthorityFile }),
        CONVEX_CLOUD_ORIGIN: cloudOrigin,
        CONVEX_SITE_ORIGIN: siteOrigin,
        DOCUMENT_RETENTION_DELAY: String(args.documentRetentionSeconds),
        INSTANCE_NAME: args.instanceName,
        INSTANCE_SECRET: secret,
        // Without DO_NOT_REQUIRE_SSL, the backend requires TLS, and a certificate that this file or the system's roots vouch for.
        PG_CA_FILE: caFile,
        POSTGRES_MAX_CONNECTIONS: String(args.postgresPoolSize),
        POSTGRES_URL: postgresUrl,
        RUST_LOG: args.logLevel,
        ...Object.fromEntries(
          Object.entries(flags)
            .filter(([, on]) => on)
            .map(([flag]) => [flag, "true"]),
        ),
      })
        .map(([variable, value]) => `${variable}=${value}`)
        .sort(),
    );
}
