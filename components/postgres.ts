import * as command from "@pulumi/command";
import * as postgresql from "@pulumi/postgresql";
import * as pulumi from "@pulumi/pulumi";

import { type ContainerNetwork, HOST_IN_CONTAINERS, POSTGRES_PORT, rolesOf } from "../contract/names.ts";
import { scriptFiles } from "../contract/scripts.ts";
import { connectionsOf } from "../settings/connections.ts";
import type { FurtherDatabase } from "../settings/kinds/databases.ts";
import { patience, tellConfirmation } from "./database-shape.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, runScript } from "./machine.ts";
import type { ManagedCluster } from "./managed-cluster.ts";
import { refuseRemoval, scriptOf } from "./protected-databases.ts";
import { generatedPassword } from "./password.ts";
import type { RepositoryValues } from "./repository.ts";
import { serverCertificate } from "./server-certificate.ts";

export interface PostgresArgs {
  /** Connection to the machine that the server is installed on. */
  connection: Connection;
  /** Changes with each machine. Then packages and configuration are installed again. */
  machineId: pulumi.Input<string>;
  /** Mount point of the volume that has the server's data. */
  mountpoint: pulumi.Input<string>;
  /** Size of the volume. What waits to be archived may take a part of it. */
  volumeSizeGb: number;
  /** Port on this computer that leads to the server's socket. It must be the same in every run. */
  tunnelPort: pulumi.Input<number>;
  /** The network that may connect. The server listens at its gateway and on localhost, nowhere else. */
  network: ContainerNetwork;
  /** The database that the network may connect to. */
  database: string;
  /** The role that may connect to it. */
  role: string;
  /** Connections that the role may open. Changing it restarts the server. */
  postgresPoolSize: number;
  /** Further databases. The network may connect to each as its owner. Their connections add up; changing the sum restarts the server. */
  databases: FurtherDatabase[];
  /** Refuses to remove one of them in the run of a move. */
  refuseRemovalInMove: pulumi.ResourceHook;
  /** See `refuseOtherShape`. */
  refuseOtherShape: pulumi.ResourceHook;
  /** Whether removing one of them is refused, before anything of it is closed. */
  protectData: boolean;
  /** Whether to take over the data of an older version. Without it, such data is refused. */
  migratePostgres: boolean;
  /** See `databasePlace`. */
  place: pulumi.Input<string>;
  /** Whether the instance's data is moved here from the managed cluster. Without it, a move that was made is confirmed. */
  moveDatabase: boolean;
  /** For a move: each role and its password, as `role password`; secret. */
  passwords: pulumi.Input<string[]>;
  /** The managed cluster that has the instance, or had it until a move that is not confirmed; undefined if there is none. */
  cluster:
    | Pick<ManagedCluster, "id" | "host" | "port" | "administrator" | "password" | "authority" | "admits">
    | undefined;
  /** Where the server's log is archived, and a lost cluster can be restored from. Switching it on or off restarts the server. */
  repository: RepositoryValues;
  /** Lifetime of the packages and the configuration. */
  onMachine: Lifetime;
  /** Lifetime of roles and databases, which are in the cluster on the volume. */
  onVolume: Lifetime;
}

/**
 * The PostgreSQL server of a machine.
 *
 * *Owns* the packages, the cluster's configuration, the administrator and the server's certificate.
 * *Survives* a replaced droplet: the cluster on the volume.
 * *Replacing it means* that packages and configuration are installed again, and the cluster is adopted.
 */
export class Postgres extends pulumi.ComponentResource {
  /** Ready: the certificate that clients must trust, PEM, which the droplet has in `AUTHORITY_FILE`. */
  readonly authority: pulumi.Output<string>;
  /** Host and port at which containers reach the server. */
  readonly address = `${HOST_IN_CONTAINERS}:${POSTGRES_PORT}`;
  /** Ready: options for the server's roles and databases. */
  readonly inCluster: Lifetime & Required<Pick<pulumi.CustomResourceOptions, "provider">>;

  constructor(name: string, args: PostgresArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:Postgres", name, {}, opts);
    const child = { parent: this };
    const { administrator } = rolesOf(name);

    const password = generatedPassword(`${name}-admin-password`, child);
    const { key, certificate, authority } = serverCertificate(`${name}-postgres`, [HOST_IN_CONTAINERS], child);
    const script = runScript("postgres/postgres.sh", {
      mountpoint: args.mountpoint,
      // Only so that it runs again after each move.
      place: args.place,
      volume_gb: args.volumeSizeGb,
      gateway: args.network.gateway,
      subnet: args.network.subnet,
      database: args.database,
      role: args.role,
      administrator,
      max_connections: connectionsOf(args),
      databases: args.databases.map(described),
      migrate: String(args.migratePostgres),
      move: String(args.moveDatabase),
      passwords: pulumi.output(args.passwords),
      ...clusterValues(args.cluster),
      password: password.result,
      key: lines(key),
      certificate: lines(certificate),
      authority: lines(authority),
      scripts: scriptFiles(),
      ...args.repository,
    });
    const [limit, timeout] = patience(args.migratePostgres || args.moveDatabase);
    const server = new command.remote.Command(
      scriptOf(name, "droplet"),
      {
        connection: args.connection,
        ...script,
        create: `${limit}${script.create}`,
        triggers: [args.machineId],
        addPreviousOutputInEnv: false,
      },
      {
        ...child,
        ...args.onMachine,
        hooks: {
          ...args.onMachine.hooks,
          beforeCreate: [args.refuseOtherShape, args.refuseRemovalInMove],
          beforeUpdate: [
            args.refuseRemovalInMove,
            refuseRemoval(name, args),
            tellConfirmation(name, args.moveDatabase, "the managed cluster, if there is one"),
          ],
        },
        customTimeouts: { create: timeout, update: timeout },
      },
    );

    const provider = new postgresql.Provider(
      `${name}-provider`,
      {
        host: "127.0.0.1",
        port: args.tunnelPort,
        username: administrator,
        password: password.result,
        // SSH encrypts, and the server's socket has no TLS.
        sslmode: "disable",
        connectTimeout: 30,
      },
      // The same one with a managed server: a move changes where it leads, and nothing that it has made.
      { ...child, aliases: [{ parent: pulumi.createUrn(name, "convex-droplet:index:ManagedPostgres") }] },
    );

    // The provider works only if the server answers.
    this.inCluster = { ...args.onVolume, provider, dependsOn: [server] };
    // With the file on the droplet, which a container mounts.
    this.authority = pulumi.all([authority, server.id]).apply(([pem]) => pem);
    this.registerOutputs({ authority: this.authority, address: this.address });
  }
}

/** The values of the cluster that the database may be moved from; empty without. */
function clusterValues(cluster: PostgresArgs["cluster"]) {
  return {
    cluster: cluster?.id ?? "",
    cluster_host: cluster?.host ?? "",
    cluster_port: cluster?.port ?? "",
    cluster_administrator: cluster?.administrator ?? "",
    cluster_password: cluster?.password ?? "",
    cluster_authority: cluster === undefined ? "" : lines(cluster.authority),
    // Only so that it runs after the droplet was admitted.
    ...(cluster && { cluster_admits: cluster.admits }),
  };
}

/** A further database as the scripts take it: its name, and the words of its options. */
export function described({ name, shadow, replication }: FurtherDatabase): string {
  return [name, ...(shadow === undefined ? [] : ["shadow"]), ...(replication ? ["replication"] : [])].join(" ");
}

/** A text as a script takes it. */
function lines(text: pulumi.Output<string>): pulumi.Output<string[]> {
  return text.apply((known) => known.trim().split("\n"));
}
