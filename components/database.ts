import * as postgresql from "@pulumi/postgresql";
import * as pulumi from "@pulumi/pulumi";

import { reportHalfDone } from "../error-hooks/half-done.ts";
import type { AdoptedVolume } from "../digitalocean/adopted-volume.ts";
import type { Postgres } from "./postgres.ts";
import { generatedPassword } from "./password.ts";
import { onThisStack } from "../settings/on-this-stack.ts";

export interface DatabaseArgs {
  /** Name of the database. With another name, it is another, empty database. */
  database: string;
  /** Name of the role that owns it. */
  role: string;
  /** The snapshot that the volume is made from; empty for none. The role in it may have another password, so it gets a new one. */
  snapshotId: string;
  /** The adopted volume, whose cluster has the role and the database; undefined if the cluster is new, or the stack's own. */
  adopted: AdoptedVolume | undefined;
  /** Whether the database is protected from deletion. It is never dropped in either case: its data goes with the volume. */
  protectData: boolean;
  /** Host and port at which containers reach the server. */
  address: pulumi.Input<string>;
  /** Provider and lifetime of role and database. */
  inCluster: Postgres["inCluster"];
}

/**
 * The database of an instance, which one role owns and no other can use.
 *
 * *Owns* role, password, database and grants.
 * *Survives* a replaced droplet: all of it, in the cluster on the volume.
 * *Replacing it means* another volume, with an empty database.
 */
export class Database extends pulumi.ComponentResource {
  /**
   * Ready: `postgresql://role:password@host:port`, once the database exists; secret. The
   * Convex backend accepts no database in it.
   */
  readonly url: pulumi.Output<string>;
  /** The role and its password, as `role password`; secret. Known before there is a server. */
  readonly password: pulumi.Output<string>;

  constructor(name: string, args: DatabaseArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:Database", name, {}, opts);
    // These resources once belonged to the server's component.
    const child = { parent: this, aliases: [{ parent: pulumi.createUrn(name, "convex-droplet:index:Postgres") }] };

    const isRestored = args.snapshotId !== "";
    const password = generatedPassword(
      `${name}-password`,
      isRestored ? child : { ...child, ignoreChanges: ["keepers"] },
      isRestored ? { snapshot: args.snapshotId } : undefined,
    );
    const inCluster = { ...child, ...args.inCluster, hooks: { onError: [reportHalfDone(`${name}-postgres`)] } };
    // A preview of a new stack cannot ask the server, so it shows them as created.
    const imported = (id: string) => (args.adopted === undefined || pulumi.runtime.isDryRun() ? {} : { import: id });
    const role = new postgresql.Role(
      `${name}-role`,
      { name: args.role, login: true, password: password.result },
      {
        ...(isRestored
          ? { ...inCluster, hooks: { ...inCluster.hooks, beforeCreate: [refuseNewRole(name)] } }
          : inCluster),
        ...imported(args.role),
      },
    );
    const database = new postgresql.Database(
      `${name}-database`,
      { name: args.database, owner: role.name, encoding: "UTF8", lcCollate: "C.UTF-8", lcCtype: "C.UTF-8" },
      { ...inCluster, ...imported(args.database), protect: args.protectData, retainOnDelete: true },
    );
    const privacy = new postgresql.Grant(
      `${name}-privacy`,
      // PUBLIC has no privileges: the role of another application cannot even connect.
      { database: database.name, objectType: "database", role: "public", privileges: [] },
      inCluster,
    );

    this.url = pulumi.secret(
      pulumi
        .all([password.result, args.address, privacy.id])
        .apply(([secret, address]) => `postgresql://${args.role}:${secret}@${address}`),
    );
    this.password = pulumi.secret(password.result.apply((secret) => `${args.role} ${secret}`));
    this.registerOutputs({ url: this.url, password: this.password });
  }
}

/** Refuses, also in a preview, to create what is in the snapshot. The provider would only report that it already exists. */
function refuseNewRole(name: string): pulumi.ResourceHook {
  const refuse = () => {
    throw new Error(
      "convex-droplet:volumeSnapshot: this stack has no database yet, whose place the one of the snapshot could take. " +
        `Deploy it without a snapshot first: ${onThisStack("config rm", "volumeSnapshot")} && ${onThisStack("up")}; then set it again`,
    );
  };
  return new pulumi.ResourceHook(`${name}-new-role`, refuse, { onDryRun: true });
}
