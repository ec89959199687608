import * as command from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import type { Lifetime } from "./host.ts";
import { type Connection, runScript } from "./machine.ts";
import type { RepositoryValues } from "./repository.ts";

export interface BackupsArgs {
  /** Connection to the machine that is backed up. */
  connection: Connection;
  /** Changes with each machine. */
  machineId: pulumi.Input<string>;
  /** Mount point of the volume that has the data. */
  mountpoint: pulumi.Input<string>;
  /** With a managed database: the databases of which dumps are made, Convex's first. Otherwise none, because PostgreSQL's log is archived. */
  dumped: string[];
  /** Whether a move of the database is not confirmed yet, so that what the former place needs stays. */
  moveDatabase: boolean;
  /** Where the backups go; without an endpoint, there are none. */
  repository: RepositoryValues;
  /** Ask in a preview whether a bucket can be used that the stack does not make. */
  inPreview: pulumi.ResourceHook[];
  /** What is backed up, which has to be there first. */
  after: pulumi.Resource[];
  /** Lifetime of the jobs on the machine. */
  onMachine: Lifetime;
}

/**
 * The jobs that back up an instance: every minute a restore point of database and files, every night a backup of the
 * database. Of a managed one, every hour a restore point with dumps.
 *
 * *Owns* the jobs' timers on the machine.
 * *Survives* a replaced droplet: everything that is in the bucket.
 * *Replacing it means* that the timers are installed again.
 */
export class Backups extends pulumi.ComponentResource {
  constructor(name: string, args: BackupsArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:Backups", name, {}, opts);
    new command.remote.Command(
      `${name}-backups`,
      {
        connection: args.connection,
        ...runScript("backups/backups.sh", {
          ...{ mountpoint: args.mountpoint, dumped: args.dumped, move: String(args.moveDatabase) },
          ...args.repository,
        }),
        triggers: [args.machineId],
        addPreviousOutputInEnv: false,
      },
      {
        parent: this,
        ...args.onMachine,
        hooks: { ...args.onMachine.hooks, beforeCreate: args.inPreview, beforeUpdate: args.inPreview },
        dependsOn: [...[args.onMachine.dependsOn ?? []].flat(), ...args.after] as pulumi.Resource[],
        customTimeouts: { create: "10m", update: "10m" },
      },
    );
    this.registerOutputs({});
  }
}
