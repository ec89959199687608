import * as digitalocean from "@pulumi/digitalocean";
import * as pulumi from "@pulumi/pulumi";
import * as random from "@pulumi/random";

import { reportLostBucket } from "../error-hooks/bucket.ts";
import { reportGone } from "../error-hooks/gone.ts";
import type { Shape } from "../settings/postgres.ts";
import { generatedPassword } from "./password.ts";
import { onThisStack } from "../settings/on-this-stack.ts";

export interface RepositoryArgs {
  /** Start of the bucket's name; up to 50 characters. */
  label: string;
  /** `off`: nothing is backed up. `spaces`: a bucket of the account. `s3`: a bucket that exists. */
  backups: "off" | "spaces" | "s3";
  /** Region of the bucket. Changing it makes another, empty bucket. */
  backupRegion: string;
  /** For `s3`: the server's URL. */
  backupEndpoint: string;
  /** For `s3`: the bucket. */
  backupBucket: string;
  /** For `s3`: the id of a key for the bucket; secret. */
  backupAccessKey: string;
  /** For `s3`: the key itself; secret. */
  backupSecretKey: string;
  /** For `s3`: certificates of a private authority, in PEM; may be empty. */
  backupAuthority: string;
  /** For how many days every moment can be restored. Spaces keeps deleted objects as long. */
  backupDays: number;
  /** Where the database is. A managed one has backups of its own. */
  database: Shape;
  /** The volume's id. Each volume has its own part of the repository. */
  volumeId: pulumi.Input<string>;
  /** Whether the bucket and the encryption's secret are protected from deletion. Otherwise `destroy` deletes all backups. */
  protectData: boolean;
}

/** What the machine's scripts need to use a repository; without an endpoint, there are no backups. */
export type RepositoryValues = Record<string, pulumi.Input<string | number | string[]>>;

/**
 * The bucket that keeps an instance's backups, and the secrets to use it.
 *
 * *Owns* the secret that encrypts the backups, and for Spaces the bucket and its keys; without backups, nothing.
 * *Survives* droplet, volume and, if it is protected, `destroy`.
 * *Replacing it means* another, empty bucket.
 */
export class Repository extends pulumi.ComponentResource {
  /** Ready: the endpoint resolves once the bucket exists. */
  readonly values: RepositoryValues;

  constructor(name: string, args: RepositoryArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:Repository", name, {}, opts);
    if (args.backups === "off" && pulumi.runtime.isDryRun()) this.#tellOff(args);
    // Without it, nobody can read the backups.
    const passphrase =
      args.backups === "off"
        ? ""
        : generatedPassword(`${name}-backup-passphrase`, { parent: this, protect: args.protectData }).result;
    const place =
      args.backups === "spaces"
        ? this.#space(name, args)
        : {
            repository_endpoint: args.backups === "off" ? "" : new URL(args.backupEndpoint).host,
            repository_bucket: args.backupBucket,
            repository_key: pulumi.secret(args.backupAccessKey),
            repository_key_secret: pulumi.secret(args.backupSecretKey),
          };
    this.values = {
      ...place,
      stanza: args.volumeId,
      repository_region: args.backupRegion,
      repository_passphrase: passphrase,
      repository_authority: args.backupAuthority.trim().split("\n"),
      backup_days: args.backupDays,
    };
    this.registerOutputs({ values: this.values });
  }

  /** In a preview: a stack to keep gets a warning, another one only a remark. */
  #tellOff({ protectData, database }: RepositoryArgs): void {
    if (database === "managed") {
      const files = "Convex's files are only on the volume: keep copies with npx convex export --include-file-storage";
      void pulumi.log.info(`backups: DigitalOcean itself backs up the managed database. ${files}`, this);
      return;
    }
    const set = onThisStack("config set", "backups spaces");
    const text = `backups: are off, so what is lost with the volume cannot be restored. Switch them on with: ${set}`;
    const gone = "If the stack had them before, up deletes their bucket with all backups.";
    void (protectData ? pulumi.log.warn(text, this) : pulumi.log.info(`${text}. ${gone}`, this));
  }

  /** A bucket of the account, and a key that can use only this bucket. */
  #space(name: string, args: RepositoryArgs) {
    const child = { parent: this };
    const reports = [reportGone(`${name}-repository`)];
    const reported = { ...child, hooks: { onError: reports } };
    // Only a key that may do everything can create a bucket, and the provider needs it also to read one.
    const creator = new digitalocean.SpacesKey(
      `${name}-spaces-key`,
      { name: `${args.label}-spaces`, grants: [{ bucket: "", permission: "fullaccess" }] },
      reported,
    );
    const token = new pulumi.Config("digitalocean").getSecret("token");
    const spaces = new digitalocean.Provider(
      `${name}-spaces`,
      {
        ...(token === undefined ? {} : { token }),
        spacesAccessId: creator.accessKey,
        spacesSecretKey: pulumi.secret(creator.secretKey),
      },
      child,
    );
    // A bucket's name is unique among those of all customers.
    const suffix = new random.RandomPassword(
      `${name}-bucket-suffix`,
      { length: 8, upper: false, special: false },
      child,
    ).result;
    const bucket = new digitalocean.SpacesBucket(
      `${name}-bucket`,
      {
        name: pulumi.unsecret(pulumi.interpolate`${args.label.slice(0, 45)}-backups-${suffix}`),
        region: args.backupRegion,
        acl: "private",
        // What is deleted by mistake can be brought back for these days.
        versioning: { enabled: true },
        lifecycleRules: [
          {
            enabled: true,
            noncurrentVersionExpiration: { days: args.backupDays },
            // Otherwise, each deletion leaves a mark for ever.
            expiration: { expiredObjectDeleteMarker: true },
            abortIncompleteMultipartUploadDays: 1,
          },
        ],
        forceDestroy: !args.protectData,
      },
      {
        ...child,
        hooks: { onError: [...reports, reportLostBucket(name, `${name}-bucket-suffix`)] },
        provider: spaces,
        protect: args.protectData,
        retainOnDelete: args.protectData,
      },
    );
    const key = new digitalocean.SpacesKey(
      `${name}-backup-key`,
      { name: `${args.label}-backups`, grants: [{ bucket: bucket.name, permission: "readwrite" }] },
      reported,
    );
    return {
      repository_endpoint: bucket.endpoint,
      repository_bucket: bucket.name,
      repository_key: key.accessKey,
      repository_key_secret: pulumi.secret(key.secretKey),
    };
  }
}
