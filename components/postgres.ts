import * as command from "@pulumi/command";
import * as postgresql from "@pulumi/postgresql";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { HOST_IN_CONTAINERS, ROLES } from "../contract/names.ts";
import { scriptFiles } from "../contract/scripts.ts";
import { tellOfHalfDone } from "../error-hooks/half-done.ts";
import type { Lifetime } from "./host.ts";
import { type Connection, runScript } from "./machine.ts";

export interface PostgresArgs {
  /** How to reach the machine the server is installed on. */
  connection: Connection;
  /** Another one with each machine: then packages and configuration are made again. */
  machineId: pulumi.Input<string>;
  /** Mount point of the volume its data goes to. */
  mountpoint: pulumi.Input<string>;
  /** Port on this computer that leads to the server's socket; `0` is not possible here, it must not move between runs. */
  tunnelPort: pulumi.Input<number>;
  /** Name of the database; another name makes another, empty database. */
  database: string;
  /** Connections its role may open. Changing it restarts the server. */
  poolSize: number;
  /** Network its role connects from, in CIDR notation. */
  subnet: string;
  /** The machine's own address in that network; the server listens there and on localhost, nowhere else. */
  gateway: string;
  /** Whether the database refuses to be deleted. It is never dropped in either case: its data goes with the volume. */
  protectData: boolean;
  /** Lifetime of the packages and the configuration. */
  onMachine: Lifetime;
  /** Lifetime of roles and databases, which are in the cluster on the volume. */
  onVolume: Lifetime;
}

/** Connections kept for administration and monitoring beside the pool. */
const RESERVED_CONNECTIONS = 20;

/**
 * PostgreSQL on the host, with a database that one role owns and one network may reach.
 *
 * *Owns* the packages, the cluster's configuration, role and database.
 * *Survives* a replaced droplet: the cluster with role and database, as it lies on the volume.
 * *Replacing it means* that packages and configuration are made again, and the cluster adopted.
 */
export class Postgres extends pulumi.ComponentResource {
  /**
   * Ready: `postgresql://role:password@host.docker.internal:5432?sslmode=disable`, without a database, as the Convex
   * backend wants it, once the database exists; secret.
   */
  readonly url: pulumi.Output<string>;

  constructor(name: string, args: PostgresArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:Postgres", name, {}, opts);
    const child = { parent: this };

    // Letters and digits only: no layer between here and the server has to quote them.
    const administrator = password(`${name}-admin-password`, this);
    const owner = password(`${name}-password`, this);

    const server = new command.remote.Command(
      `${name}-server`,
      {
        connection: args.connection,
        ...runScript("postgres/postgres.sh", {
          mountpoint: args.mountpoint,
          gateway: args.gateway,
          subnet: args.subnet,
          database: args.database,
          role: ROLES.owner,
          administrator: ROLES.administrator,
          max_connections: args.poolSize + RESERVED_CONNECTIONS,
          password: administrator.result,
          scripts: scriptFiles(),
        }),
        triggers: [args.machineId],
        addPreviousOutputInEnv: false,
      },
      { ...child, ...args.onMachine, customTimeouts: { create: "20m", update: "20m" } },
    );

    const provider = new postgresql.Provider(
      `${name}-provider`,
      {
        host: "127.0.0.1",
        port: args.tunnelPort,
        username: ROLES.administrator,
        password: administrator.result,
        // SSH encrypts; on the other side is the server's socket, which knows no TLS.
        sslmode: "disable",
        connectTimeout: 30,
      },
      child,
    );
    const inCluster = {
      ...child,
      ...args.onVolume,
      provider,
      // It can be asked once the server answers.
      dependsOn: [server],
      hooks: { onError: [tellOfHalfDone(`${name}-postgres`)] },
    };

    const role = new postgresql.Role(
      `${name}-role`,
      { name: ROLES.owner, login: true, password: owner.result },
      inCluster,
    );
    const database = new postgresql.Database(
      `${name}-database`,
      { name: args.database, owner: role.name, encoding: "UTF8", lcCollate: "C.UTF-8", lcCtype: "C.UTF-8" },
      { ...inCluster, protect: args.protectData, retainOnDelete: true },
    );
    const privacy = new postgresql.Grant(
      `${name}-privacy`,
      // No privileges for everybody: a neighbour's role cannot even connect.
      { database: database.name, objectType: "database", role: "public", privileges: [] },
      inCluster,
    );

    this.url = pulumi.secret(
      pulumi
        .all([owner.result, privacy.id])
        .apply(([secret]) => `postgresql://${ROLES.owner}:${secret}@${HOST_IN_CONTAINERS}:5432?sslmode=disable`),
    );
    this.registerOutputs({ url: this.url });
  }
}

function password(name: string, parent: pulumi.Resource): random.RandomPassword {
  return new random.RandomPassword(name, { length: 40, special: false }, { parent });
}
