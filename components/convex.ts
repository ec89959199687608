import * as command from "@pulumi/command";
import * as docker from "@pulumi/docker";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { removeLostFromEngine } from "../error-hooks/docker.ts";
import { tellOfHalfDone } from "../error-hooks/half-done.ts";
import { mintAdminKey, readOnlyKeyBeside } from "../contract/admin-key.ts";
import { CONTAINERS, HOST_IN_CONTAINERS, MOUNTPOINT, NETWORK, PORTS } from "../contract/names.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, runScript } from "./machine.ts";

export interface ConvexArgs {
  /** How to reach the machine the containers run on. */
  connection: Connection;
  /** The Docker engine's address, `unix:///…`. */
  dockerHost: pulumi.Input<string>;
  /** Folder on the machine for the backend's files: function code, stored files, search indexes. */
  dataDirectory: pulumi.Input<string>;
  /** The server without a database; secret. */
  postgresUrl: pulumi.Output<string>;
  /** Connections the backend may open. Changing it restarts the backend. */
  postgresPoolSize: number;
  /** The machine's memory in MiB; the containers are limited to shares of it. */
  memoryMb: number;
  /** Whether the instance secret refuses to be deleted: with it all admin keys would go. */
  protectData: boolean;
  /** Name of the instance, part of its admin keys and of its database's name. */
  instanceName: string;
  /** Backend image by digest. Changing it restarts the backend; its migrations only go forward. */
  backendImage: string;
  /** Dashboard image by digest, of the backend's revision. */
  dashboardImage: string;
  /** URL clients reach the API under. */
  cloudOrigin: pulumi.Input<string>;
  /** URL clients reach the HTTP actions under; never the API's. */
  siteOrigin: pulumi.Input<string>;
  /** Address the API's and the HTTP actions' ports are bound to: loopback, or all interfaces behind the firewall. */
  bindAddress: string;
  apiPort: number;
  sitePort: number;
  /** Always bound to loopback: the dashboard is reached through a tunnel. */
  dashboardPort: number;
  /** RUST_LOG of the backend. */
  logLevel: string;
  /** How long overwritten documents are kept, in seconds. */
  documentRetentionSeconds: number;
  /** Whether the backend reports to Convex every hour. */
  telemetry: boolean;
  /** Whether clients see function errors without details. */
  redactClientLogs: boolean;
  /** Further environment variables of the backend. */
  environment: Record<string, string>;
  /** Container network in CIDR notation; fixed, because PostgreSQL's rules name it. */
  subnet: string;
  /** The machine's address in that network. */
  gateway: string;
  /** Lifetime of network, images and containers. */
  onMachine: Lifetime;
}

/**
 * The Convex backend and its dashboard, as containers.
 *
 * *Owns* network, images, containers and the instance secret.
 * *Survives* a replaced droplet: the instance secret, and with it every admin key.
 * *Replacing it means* that the containers are started again on the same data.
 */
export class Convex extends pulumi.ComponentResource {
  /** Ready: a key that the running backend has accepted; secret. */
  readonly adminKey: pulumi.Output<string>;
  /**
   * Ready: a key of the accepted one's making that may look at everything and change nothing; secret. Undefined where the
   * backend accepts only keys of its own tool, which makes none of this kind.
   */
  readonly readOnlyAdminKey: pulumi.Output<string | undefined>;
  /** Ready: the API's URL, once the backend is healthy. */
  readonly backendUrl: pulumi.Output<string>;
  /** Ready: the HTTP actions' URL, once the backend is healthy. */
  readonly siteUrl: pulumi.Output<string>;
  /** The dashboard's URL at the near end of the tunnel. */
  readonly dashboardUrl: pulumi.Output<string>;

  constructor(name: string, args: ConvexArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:Convex", name, {}, opts);
    const child = { parent: this };

    // 64 hexadecimal digits. RandomBytes would carry the value, in clear, as its id.
    const instanceSecret = new random.RandomPassword(
      `${name}-instance-secret`,
      { length: 64, upper: false, lower: false, numeric: true, special: true, overrideSpecial: "abcdef" },
      { ...child, protect: args.protectData },
    );

    const engine = new docker.Provider(`${name}-docker`, { host: args.dockerHost }, child);
    const inEngine = {
      ...child,
      ...args.onMachine,
      provider: engine,
      // Names and ports can be held once: a forced replacement, too, has to delete before it creates.
      deleteBeforeReplace: true,
      hooks: { onError: [removeLostFromEngine(name, args.dockerHost), tellOfHalfDone(`${name}-convex`)] },
    };
    const network = new docker.Network(
      `${name}-network`,
      { name: NETWORK.name, driver: "bridge", ipamConfigs: [{ subnet: args.subnet, gateway: args.gateway }] },
      inEngine,
    );
    const pull = (role: string, image: string) =>
      new docker.RemoteImage(`${name}-${role}-image`, { name: image, keepLocally: true }, inEngine);
    const backendImage = pull("backend", args.backendImage);
    const dashboardImage = pull("dashboard", args.dashboardImage);

    const backend = new docker.Container(
      `${name}-backend`,
      {
        ...containerDefaults(CONTAINERS.backend, args.backendImage),
        envs: pulumi.secret(backendEnvironment(args, instanceSecret.result)),
        networksAdvanced: [{ name: network.name, aliases: ["backend"] }],
        // By address: Docker's own "host-gateway" is the default bridge, where PostgreSQL does not listen.
        hosts: [{ host: HOST_IN_CONTAINERS, ip: args.gateway }],
        ports: [
          { internal: PORTS.api, external: args.apiPort, ip: args.bindAddress },
          { internal: PORTS.site, external: args.sitePort, ip: args.bindAddress },
        ],
        volumes: [{ hostPath: args.dataDirectory, containerPath: "/convex/data" }],
        healthcheck: {
          tests: ["CMD", "bash", "-c", HEALTH],
          interval: "10s",
          timeout: "5s",
          retries: 5,
          startPeriod: "30s",
        },
        ...memoryShare(args.memoryMb, 0.6),
      },
      // The provider would show a changed health check as an update and not apply it.
      { ...inEngine, dependsOn: [backendImage], replaceOnChanges: ["healthcheck"] },
    );

    const minted = instanceSecret.result.apply((secret) => mintAdminKey(args.instanceName, secret));
    const acceptance = new command.remote.Command(
      `${name}-acceptance`,
      {
        connection: args.connection,
        ...runScript("convex/backend.sh", {
          container: CONTAINERS.backend,
          name: args.instanceName,
          port: args.apiPort,
          mountpoint: MOUNTPOINT,
          key: minted,
        }),
        // A backend started anew has to prove itself anew.
        triggers: [backend.id],
        logging: command.remote.Logging.Stderr,
        addPreviousOutputInEnv: false,
      },
      {
        ...child,
        ...args.onMachine,
        additionalSecretOutputs: ["stdout"],
        customTimeouts: { create: "10m", update: "10m" },
      },
    );

    new docker.Container(
      `${name}-dashboard`,
      {
        ...containerDefaults(CONTAINERS.dashboard, args.dashboardImage),
        // The browser that shows the page calls this URL; it is filled in for the person who logs in.
        envs: [pulumi.interpolate`NEXT_PUBLIC_DEPLOYMENT_URL=${args.cloudOrigin}`],
        networksAdvanced: [{ name: network.name, aliases: ["dashboard"] }],
        ports: [{ internal: PORTS.dashboard, external: args.dashboardPort, ip: "127.0.0.1" }],
        ...memoryShare(args.memoryMb, 0.15),
      },
      { ...inEngine, dependsOn: [dashboardImage, acceptance] },
    );

    this.adminKey = pulumi.secret(acceptance.stdout);
    this.readOnlyAdminKey = pulumi.secret(
      pulumi
        .all([acceptance.stdout, instanceSecret.result])
        .apply(([accepted, secret]) => readOnlyKeyBeside(accepted, args.instanceName, secret)),
    );
    this.backendUrl = pulumi.all([args.cloudOrigin, acceptance.id]).apply(([url]) => url);
    this.siteUrl = pulumi.all([args.siteOrigin, acceptance.id]).apply(([url]) => url);
    this.dashboardUrl = pulumi.output(`http://127.0.0.1:${args.dashboardPort}`);
    this.registerOutputs({
      adminKey: this.adminKey,
      readOnlyAdminKey: this.readOnlyAdminKey,
      backendUrl: this.backendUrl,
      siteUrl: this.siteUrl,
      dashboardUrl: this.dashboardUrl,
    });
  }
}

/**
 * Healthy is a backend that answers, and whose database could take a write: without one it goes on answering from memory. A
 * PostgreSQL server, and nothing else, answers the question for TLS (eight bytes) with S or N, before anybody logs in.
 */
const HEALTH =
  `curl -fs -o /dev/null http://localhost:${PORTS.api}/version && exec 3<>/dev/tcp/${HOST_IN_CONTAINERS}/5432 && ` +
  String.raw`printf '\0\0\0\10\4\322\26\57' >&3 && read -rt 3 -n 1 answer <&3 && [[ $answer == [NS] ]]`;

/** What both containers have in common. The backend ends in order on SIGINT only. */
function containerDefaults(name: string, image: string) {
  return {
    name,
    image,
    restart: "unless-stopped",
    stopSignal: "SIGINT",
    stopTimeout: 10,
    // Without it the provider kills at once when it replaces a container.
    destroyGraceSeconds: 10,
    logDriver: "json-file",
    logOpts: { "max-size": "10m", "max-file": "3" },
  };
}

/** A limit in MiB and no swap beyond it. Both are given: Docker reports twice the memory for swap where only one is. */
function memoryShare(memoryMb: number, share: number) {
  const limit = Math.floor(memoryMb * share);
  return { memory: limit, memorySwap: limit };
}

/**
 * The backend's environment, sorted. Its start script takes any text in a flag for yes, `false` too, so a flag that is
 * off is left out.
 */
function backendEnvironment(args: ConvexArgs, instanceSecret: pulumi.Output<string>): pulumi.Output<string[]> {
  const flags = {
    DISABLE_BEACON: !args.telemetry,
    REDACT_LOGS_TO_CLIENT: args.redactClientLogs,
    // Together with sslmode=disable in the URL; one without the other fails.
    DO_NOT_REQUIRE_SSL: true,
    // Otherwise both ports tell their metrics to anybody.
    DISABLE_METRICS_ENDPOINT: true,
  };
  return pulumi
    .all([args.cloudOrigin, args.siteOrigin, args.postgresUrl, instanceSecret])
    .apply(([cloudOrigin, siteOrigin, postgresUrl, secret]) =>
      Object.entries({
        ...args.environment,
        CONVEX_CLOUD_ORIGIN: cloudOrigin,
        CONVEX_SITE_ORIGIN: siteOrigin,
        DOCUMENT_RETENTION_DELAY: String(args.documentRetentionSeconds),
        INSTANCE_NAME: args.instanceName,
        INSTANCE_SECRET: secret,
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
