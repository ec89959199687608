import * as pulumi from "@pulumi/pulumi";

import { type Place, refuseBuckets } from "../s3/refuse-buckets.ts";
import type { Shape } from "../settings/postgres.ts";
import { generatedPassword } from "./password.ts";
import { onThisStack } from "../settings/on-this-stack.ts";
import type { Spaces } from "./spaces.ts";

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
  /** Where Convex's files are. */
  fileStorage: "volume" | "spaces" | "s3";
  /** The volume's id. Each volume has its own part of the repository. */
  volumeId: pulumi.Input<string>;
  /** Whether the bucket and the encryption's secret are protected from deletion. Otherwise `destroy` deletes all backups. */
  protectData: boolean;
  /** For `spaces`: what makes the bucket. */
  spaces: Spaces | undefined;
}

/** What the machine's scripts need to use a repository; without an endpoint, there are no backups. */
export type RepositoryValues = Record<string, pulumi.Input<string | number | string[]>>;

/**
 * The bucket that keeps an instance's backups, and the secrets to use it.
 *
 * *Owns* the secret that encrypts the backups, and for Spaces the bucket and its key; without backups, nothing.
 * *Survives* droplet, volume and, if it is protected, `destroy`.
 * *Replacing it means* another, empty bucket.
 */
export class Repository extends pulumi.ComponentResource {
  /** Ready: the endpoint resolves once the bucket exists. */
  readonly values: RepositoryValues;
  /** For what uses a bucket of another server. */
  readonly inPreview: pulumi.ResourceHook[];

  constructor(name: string, args: RepositoryArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:Repository", name, {}, opts);
    if (args.backups === "off" && pulumi.runtime.isDryRun()) this.#tellOff(args);
    // Without it, nobody can read the backups.
    const passphrase =
      args.backups === "off"
        ? ""
        : generatedPassword(`${name}-backup-passphrase`, { parent: this, protect: args.protectData }).result;
    const place =
      args.backups === "spaces" && args.spaces !== undefined
        ? this.#space(name, args, args.spaces)
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
    this.inPreview = args.backups === "s3" ? [refuseBuckets(`${name}-backup-bucket`, placeOf(args))] : [];
    this.registerOutputs({ values: this.values });
  }

  /** In a preview: a stack to keep gets a warning, another one only a remark. */
  #tellOff({ protectData, database, fileStorage }: RepositoryArgs): void {
    const set = onThisStack("config set", "backups spaces");
    if (database === "managed") {
      const own = "backups: are off. DigitalOcean itself keeps every moment of the database for 7 days";
      const text =
        fileStorage === "volume"
          ? `${own}, but nobody keeps Convex's files on the volume`
          : `${own}, and the files are in buckets; there is no copy elsewhere`;
      const isLost = protectData && fileStorage === "volume";
      void (isLost ? pulumi.log.warn : pulumi.log.info)(`${text}. Switch them on with: ${set}`, this);
      return;
    }
    const text = `backups: are off, so what is lost with the volume cannot be restored. Switch them on with: ${set}`;
    const gone = "If the stack had them before, up deletes their bucket with all backups.";
    void (protectData ? pulumi.log.warn(text, this) : pulumi.log.info(`${text}. ${gone}`, this));
  }

  /** A bucket of the account, and a key that can use only this bucket. */
  #space(name: string, args: RepositoryArgs, spaces: Spaces) {
    const suffix = spaces.suffix(`${name}-bucket-suffix`, this);
    const bucket = spaces.bucket(`${name}-bucket`, this, {
      name: pulumi.unsecret(pulumi.interpolate`${args.label.slice(0, 45)}-backups-${suffix.result}`),
      suffix: `${name}-bucket-suffix`,
      region: args.backupRegion,
      daysOfOldVersions: args.backupDays,
      daysOfUploads: 1,
      protectData: args.protectData,
    });
    const key = spaces.key(`${name}-backup-key`, this, `${args.label}-backups`, [bucket]);
    return {
      repository_endpoint: bucket.endpoint,
      repository_bucket: bucket.name,
      repository_key: key.accessKey,
      repository_key_secret: pulumi.secret(key.secretKey),
    };
  }
}

/** A bucket on another server. */
function placeOf(args: RepositoryArgs): Place {
  return {
    endpoint: args.backupEndpoint,
    region: args.backupRegion,
    accessKey: args.backupAccessKey,
    secretKey: args.backupSecretKey,
    authority: args.backupAuthority,
    buckets: [args.backupBucket],
    settings: {
      ...{ endpoint: "backupEndpoint", region: "backupRegion", bucket: "backupBucket" },
      ...{ accessKey: "backupAccessKey", secretKey: "backupSecretKey" },
    },
    named: { is: args.backupBucket, should: "a bucket there" },
  };
}
