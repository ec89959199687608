import * as postgresql from "@pulumi/postgresql";
import * as pulumi from "@pulumi/pulumi";

import { furtherDatabase } from "../contract/names.ts";
import type { AdoptedVolume } from "../digitalocean/adopted-volume.ts";
import { reportHalfDone } from "../error-hooks/half-done.ts";
import type { FurtherDatabase } from "../settings/kinds/databases.ts";
import { generatedPassword } from "./password.ts";
import type { Postgres } from "./postgres.ts";

export interface FurtherDatabasesArgs {
  /** Names and options. Another name is another, empty database; removing one deletes it with its data. */
  databases: FurtherDatabase[];
  /** The snapshot that the volume is made from; empty for none. The roles in it may have other passwords, so they get new ones. */
  snapshotId: string;
  /** The adopted volume, whose cluster has the roles and the databases; undefined if the cluster is new, or the stack's own. */
  adopted: AdoptedVolume | undefined;
  /** Whether the databases are protected from deletion. Their shadows are not: migration tools empty those themselves. */
  protectData: boolean;
  /** Host and port at which containers reach the server. */
  address: pulumi.Input<string>;
  /** Provider and lifetime of roles and databases. */
  inCluster: Postgres["inCluster"];
}

/**
 * The databases of apps beside the backend, each of which one role owns and no other can use.
 *
 * *Owns* for each of them role, password, database and grants, and the same database a second time if it has a shadow.
 * *Survives* a replaced droplet: all of it, in the cluster on the volume.
 * *Replacing it means* another volume, with empty databases.
 */
export class FurtherDatabases extends pulumi.ComponentResource {
  /**
   * Ready: `postgresql://role:password@host:port/database?sslmode=require` for each database by its name, and for each
   * shadow, once it exists; secret.
   */
  readonly urls: Record<string, pulumi.Output<string>>;
  /** Each role and its password, as `role password`; secret. Known before there is a server. */
  readonly passwords: pulumi.Output<string>[] = [];

  constructor(name: string, args: FurtherDatabasesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:FurtherDatabases", name, {}, opts);
    const inCluster = {
      ...{ parent: this, ...args.inCluster },
      hooks: { onError: [reportHalfDone(`${name}-further-databases`)] },
    };
    this.urls = Object.fromEntries(
      args.databases.flatMap((database) =>
        this.#declare(furtherDatabase(name, database.name), database, args, inCluster),
      ),
    );
    this.registerOutputs({ urls: this.urls, passwords: this.passwords });
  }

  #declare(
    name: string,
    { name: own, shadow, replication, connections }: FurtherDatabase,
    { snapshotId, adopted, protectData, address }: FurtherDatabasesArgs,
    inCluster: pulumi.CustomResourceOptions,
  ): [string, pulumi.Output<string>][] {
    // A preview of a new stack cannot ask the server, so it shows them as created.
    const imported = (id: string) => (adopted === undefined || pulumi.runtime.isDryRun() ? {} : { import: id });
    const password = generatedPassword(
      `${name}-password`,
      snapshotId === "" ? { parent: this, ignoreChanges: ["keepers"] } : { parent: this },
      snapshotId === "" ? undefined : { snapshot: snapshotId },
    );
    this.passwords.push(pulumi.secret(password.result.apply((secret) => `${own} ${secret}`)));
    const role = new postgresql.Role(
      `${name}-role`,
      { name: own, login: true, password: password.result, replication, connectionLimit: connections },
      { ...inCluster, ...imported(own) },
    );
    const databases = [
      { resource: name, database: own, protect: protectData },
      ...(shadow === undefined ? [] : [{ resource: `${name}-shadow`, database: shadow, protect: false }]),
    ];
    return databases.map(({ resource, database, protect }) => {
      const made = new postgresql.Database(
        resource,
        { name: database, owner: role.name, encoding: "UTF8", lcCollate: "C.UTF-8", lcCtype: "C.UTF-8" },
        { ...inCluster, ...imported(database), protect },
      );
      const privacy = new postgresql.Grant(
        `${resource}-privacy`,
        { database: made.name, objectType: "database", role: "public", privileges: [] },
        inCluster,
      );
      const url = pulumi
        .all([password.result, address, privacy.id])
        .apply(([secret, at]) => `postgresql://${own}:${secret}@${at}/${database}?sslmode=require`);
      return [database, url];
    });
  }
}

/** The component, if there are any: without, a stack has no such resource. */
export function furtherDatabases(name: string, args: FurtherDatabasesArgs): FurtherDatabases | undefined {
  return args.databases.length === 0 ? undefined : new FurtherDatabases(name, args);
}
