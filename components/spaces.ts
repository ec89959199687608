import * as digitalocean from "@pulumi/digitalocean";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { reportLostBucket } from "../error-hooks/bucket.ts";
import { reportGone } from "../error-hooks/gone.ts";

export interface SpacesArgs {
  /** Start of the keys' names. */
  label: string;
}

/** What a bucket is for. */
export interface BucketArgs {
  /** Unique among the buckets of all customers. */
  name: pulumi.Input<string>;
  /** Logical name of the resource with the end of the name. */
  suffix: string;
  /** Changing it makes another, empty bucket. */
  region: string;
  /** For how many days what is deleted or replaced can be brought back. */
  daysOfOldVersions: number;
  /** After how many days an upload that was not completed is removed. */
  daysOfUploads: number;
  /** Whether it is protected from deletion. Otherwise `destroy` deletes it with all objects. */
  protectData: boolean;
  /** Refuses to create it in the place of another one. */
  refuseSwitch?: pulumi.ResourceHook;
}

/**
 * What makes buckets in the account's Spaces, and keys that can use only these. The buckets and their keys belong to the component
 * that needs them.
 *
 * *Owns* the key that may do everything, and the provider that uses it.
 * *Survives* droplet and volume.
 * *Replacing it means* another key; the buckets stay.
 */
export class Spaces extends pulumi.ComponentResource {
  readonly #provider: digitalocean.Provider;

  constructor(name: string, args: SpacesArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:Spaces", name, {}, opts);
    // Earlier releases had both in the repository of the backups.
    const child = {
      parent: this,
      aliases: [{ parent: pulumi.createUrn(name, "convex-droplet:index:Repository") }],
    };
    // Only a key that may do everything can create a bucket, and the provider needs it also to read one.
    const creator = new digitalocean.SpacesKey(
      `${name}-spaces-key`,
      { name: `${args.label}-spaces`, grants: [{ bucket: "", permission: "fullaccess" }] },
      { ...child, hooks: { onError: [reportGone(`${name}-spaces`)] } },
    );
    const token = new pulumi.Config("digitalocean").getSecret("token");
    this.#provider = new digitalocean.Provider(
      `${name}-spaces`,
      {
        ...(token === undefined ? {} : { token }),
        spacesAccessId: creator.accessKey,
        spacesSecretKey: pulumi.secret(creator.secretKey),
      },
      child,
    );
    this.registerOutputs({});
  }

  /** The end of buckets' names: a name is unique among those of all customers. */
  suffix(name: string, parent: pulumi.Resource): random.RandomPassword {
    return new random.RandomPassword(name, { length: 8, upper: false, special: false }, { parent });
  }

  /** A bucket of the account. */
  bucket(name: string, parent: pulumi.Resource, args: BucketArgs): digitalocean.SpacesBucket {
    return new digitalocean.SpacesBucket(
      name,
      {
        name: args.name,
        region: args.region,
        acl: "private",
        // What is deleted by mistake can be brought back for these days.
        versioning: { enabled: true },
        lifecycleRules: [
          {
            enabled: true,
            noncurrentVersionExpiration: { days: args.daysOfOldVersions },
            // Otherwise, each deletion leaves a mark for ever.
            expiration: { expiredObjectDeleteMarker: true },
            abortIncompleteMultipartUploadDays: args.daysOfUploads,
          },
        ],
        forceDestroy: !args.protectData,
      },
      {
        parent,
        provider: this.#provider,
        // Otherwise, the engine deletes the other one, with all objects, before it asks.
        ...(args.refuseSwitch && { deleteBeforeReplace: false }),
        hooks: {
          beforeCreate: args.refuseSwitch === undefined ? [] : [args.refuseSwitch],
          onError: [reportGone(name), reportLostBucket(name, args.suffix)],
        },
        protect: args.protectData,
        retainOnDelete: args.protectData,
      },
    );
  }

  /** A key that can only read and write the objects of these buckets. */
  key(
    name: string,
    parent: pulumi.Resource,
    label: string,
    buckets: readonly digitalocean.SpacesBucket[],
  ): digitalocean.SpacesKey {
    return new digitalocean.SpacesKey(
      name,
      { name: label, grants: buckets.map((bucket) => ({ bucket: bucket.name, permission: "readwrite" })) },
      { parent, hooks: { onError: [reportGone(name)] } },
    );
  }
}
