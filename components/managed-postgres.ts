import * as command from "@pulumi/command";
import * as postgresql from "@pulumi/postgresql";
import * as pulumi from "@pulumi/pulumi";

import { scriptFiles } from "../contract/scripts.ts";
import type { FurtherDatabase } from "../settings/kinds/databases.ts";
import { patience, tellConfirmation } from "./database-shape.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, runScript } from "./machine.ts";
import type { ManagedCluster } from "./managed-cluster.ts";
import { described, type Postgres } from "./postgres.ts";
import { refuseRemoval, scriptOf } from "./protected-databases.ts";

export interface ManagedPostgresArgs {
  /** The cluster: where it is, its administrator, and what vouches for it. */
  cluster: Pick<
    ManagedCluster,
    | "cluster"
    | "id"
    | "host"
    | "port"
    | "administrator"
    | "password"
    | "database"
    | "authority"
    | "admits"
    | "storageMb"
  >;
  /** Connection to the machine whose scripts and containers use it. */
  connection: Connection;
  /** Changes with each machine. Then the client is installed again. */
  machineId: pulumi.Input<string>;
  /** Mount point of the volume, which knows the cluster that its files belong to. */
  mountpoint: pulumi.Input<string>;
  /** Port on this computer that leads to the cluster through the machine. It must be the same in every run. */
  tunnelPort: pulumi.Input<number>;
  /** Path on this computer of the authority's certificate. It must be the same in every run. */
  authorityFile: pulumi.Input<string>;
  /** The instance's database, and the role that owns it. */
  database: string;
  role: string;
  /** See `databasePlace`. */
  place: pulumi.Input<string>;
  /** Whether the instance's data is moved here from the machine's own server, which keeps it. Without it, what a move has kept is removed. */
  moveDatabase: boolean;
  /** For a move: each role and its password, as `role password`; secret. */
  passwords: pulumi.Input<string[]>;
  /** Further databases, whose removal is refused if data is protected. */
  databases: FurtherDatabase[];
  /** Refuses to remove one of them in the run of a move. */
  refuseRemovalInMove: pulumi.ResourceHook;
  /** See `refuseOtherShape`. */
  refuseOtherShape: pulumi.ResourceHook;
  /** Whether removing one of them is refused. */
  protectData: boolean;
  /** Lifetime of the client on the machine. */
  onMachine: Lifetime;
}

/**
 * A managed PostgreSQL server, as a machine and its containers use it.
 *
 * *Owns* the client on the machine, with what its scripts need to connect, and the way for roles and databases.
 * *Survives* a replaced droplet: everything in the cluster.
 * *Replacing it means* that the client is installed again.
 */
export class ManagedPostgres extends pulumi.ComponentResource implements Pick<Postgres, "authority" | "inCluster"> {
  /** Ready: the certificate that clients must trust, PEM, which the droplet has in `AUTHORITY_FILE`. */
  readonly authority: pulumi.Output<string>;
  /** Ready: the server's host and port for containers. */
  readonly address: pulumi.Output<string>;
  /** Ready: options for the server's roles and databases. */
  readonly inCluster: Postgres["inCluster"];

  constructor(name: string, args: ManagedPostgresArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:ManagedPostgres", name, {}, opts);
    const child = { parent: this };
    const { cluster, host, port, administrator, password, authority, admits } = args.cluster;
    const script = runScript("managed/managed.sh", {
      mountpoint: args.mountpoint,
      // Only so that it runs again after each move.
      place: args.place,
      cluster: args.cluster.id,
      host,
      port,
      administrator,
      password,
      authority: authority.apply((pem) => pem.trim().split("\n")),
      database: args.database,
      role: args.role,
      databases: args.databases.map(described),
      move: String(args.moveDatabase),
      passwords: pulumi.output(args.passwords),
      capacity_mb: args.cluster.storageMb,
      // Only so that it runs after the droplet was admitted.
      admitted: admits,
      scripts: scriptFiles(),
    });
    const [limit, timeout] = patience(args.moveDatabase);
    const kept = "the database of the droplet's own server, on the volume";
    const client = new command.remote.Command(
      scriptOf(name, "managed"),
      {
        connection: args.connection,
        ...script,
        create: `${limit}${script.create}`,
        triggers: [args.machineId],
        logging: command.remote.Logging.Stderr,
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
            tellConfirmation(name, args.moveDatabase, kept),
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
        password,
        database: args.cluster.database,
        superuser: false,
        // The name is that of the tunnel's end, so only the authority is verified. SSH leads to the droplet, and nobody else's.
        sslmode: "verify-ca",
        sslrootcert: args.authorityFile,
        connectTimeout: 30,
      },
      // The same one with a server on the droplet: a move changes where it leads, and nothing that it has made.
      { ...child, aliases: [{ parent: pulumi.createUrn(name, "convex-droplet:index:Postgres") }] },
    );

    this.inCluster = { deletedWith: cluster, replaceWith: [cluster], provider, dependsOn: [client] };
    this.authority = pulumi.all([authority, client.id]).apply(([pem]) => pem);
    this.address = pulumi.all([host, port, client.id]).apply(([known, at]) => `${known}:${at}`);
    this.registerOutputs({ authority: this.authority, address: this.address });
  }
}
