import * as digitalocean from "@pulumi/digitalocean";
import * as pulumi from "@pulumi/pulumi";

import type { Nodes } from "../digitalocean/cost.ts";
import { DATABASE_VERSION, refuseSmallerDatabase } from "../digitalocean/database-sizes.ts";
import { deleteLostFromCloud } from "../error-hooks/cloud.ts";
import { reportGone } from "../error-hooks/gone.ts";
import { reportHalfDone } from "../error-hooks/half-done.ts";
import { tellWhile } from "./tell-while.ts";

export interface ManagedClusterArgs {
  /** Its name in the account. */
  label: string;
  /** Where the droplet is. If it changes, DigitalOcean moves the cluster. */
  region: string;
  /** Size of each node. It can grow in place; connections break once. */
  databaseSize: string;
  /** Nodes that take over when the primary one fails. Changed in place. */
  databaseStandbys: number;
  /** The only droplet that may connect. Changed in place. */
  dropletId: pulumi.Input<string>;
  /** Whether the cluster is protected from deletion. Otherwise `destroy` deletes it with its data. Not while the database is moved. */
  protectData: boolean;
  /** Refuses to make one where the database of a deployed instance is elsewhere, or where only an earlier run can have made it. */
  refuseNew: pulumi.ResourceHook[];
}

/**
 * A PostgreSQL cluster of DigitalOcean's Managed Databases.
 *
 * *Owns* the cluster and the rule that admits one droplet to it.
 * *Survives* a replaced droplet and, if it is protected, `destroy`.
 * *Replacing it means* another, empty cluster.
 */
export class ManagedCluster extends pulumi.ComponentResource {
  /** The cluster, with which everything in it disappears and is replaced. */
  readonly cluster: pulumi.Resource;
  /** The cluster's id at DigitalOcean. */
  readonly id: pulumi.Output<string>;
  readonly nodes: pulumi.Output<Nodes>;
  /** Its primary node's name in the private network, whichever node that is, and its port. */
  readonly host: pulumi.Output<string>;
  readonly port: pulumi.Output<number>;
  /** Who may make roles and databases, but is no superuser. */
  readonly administrator: pulumi.Output<string>;
  /** Secret. */
  readonly password: pulumi.Output<string>;
  /** The database that every cluster has. */
  readonly database: pulumi.Output<string>;
  /** The certificate that vouches for the cluster's, PEM. */
  readonly authority: pulumi.Output<string>;
  /** How much it can store, in MiB. */
  readonly storageMb: pulumi.Output<string>;
  /** Ready: resolves once the cluster admits the droplet. */
  readonly admits: pulumi.Output<string>;

  constructor(name: string, args: ManagedClusterArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:ManagedCluster", name, {}, opts);
    const reports = [reportGone(`${name}-cluster`), reportHalfDone(`${name}-cluster`)];
    const progress = tellWhile(`${name}-cluster`, "the database cluster", "usually 3 to 8 minutes");
    const cluster = new digitalocean.DatabaseCluster(
      `${name}-cluster`,
      {
        name: args.label,
        engine: "pg",
        version: DATABASE_VERSION,
        region: args.region,
        size: args.databaseSize,
        nodeCount: args.databaseStandbys + 1,
        tags: ["convex-droplet"],
      },
      {
        parent: this,
        // Names are unique in an account.
        deleteBeforeReplace: true,
        protect: args.protectData,
        retainOnDelete: args.protectData,
        // Somebody may have upgraded it in the control panel.
        ignoreChanges: ["version"],
        customTimeouts: { create: "40m", update: "40m" },
        hooks: {
          beforeCreate: [...args.refuseNew, progress.begin],
          afterCreate: [progress.end],
          beforeUpdate: [refuseSmallerDatabase(name), progress.begin],
          afterUpdate: [progress.end],
          onError: [deleteLostFromCloud(`${name}-cluster`), ...reports],
        },
      },
    );
    const firewall = new digitalocean.DatabaseFirewall(
      `${name}-cluster-firewall`,
      { clusterId: cluster.id, rules: [{ type: "droplet", value: args.dropletId }] },
      { parent: this, deletedWith: cluster, hooks: { onError: reports } },
    );

    this.cluster = cluster;
    this.id = cluster.id;
    this.nodes = pulumi.all([cluster.size, cluster.nodeCount]).apply(([size, count]) => ({ size, count }));
    this.host = cluster.privateHost;
    this.port = cluster.port;
    this.administrator = cluster.user;
    this.password = pulumi.secret(cluster.password);
    this.database = cluster.database;
    this.authority = digitalocean
      .getDatabaseCaOutput({ clusterId: cluster.id }, { parent: this })
      .certificate.apply((pem) => `${pem.trim()}\n`);
    this.storageMb = cluster.storageSizeMib;
    // It also changes with the droplet.
    this.admits = pulumi.all([firewall.id, firewall.rules]).apply(([id]) => id);
    this.registerOutputs({
      id: this.id,
      nodes: this.nodes,
      host: this.host,
      port: this.port,
      administrator: this.administrator,
      password: this.password,
      database: this.database,
      authority: this.authority,
      storageMb: this.storageMb,
      admits: this.admits,
    });
  }
}
