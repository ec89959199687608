import * as pulumi from "@pulumi/pulumi";

import { type Place, refuseBuckets } from "../s3/refuse-buckets.ts";
import { bucketsWith, USES } from "../settings/file-storage.ts";
import type { Spaces } from "./spaces.ts";

export interface FileStorageArgs {
  /** Start of the buckets' names; up to 50 characters. */
  label: string;
  /** Region of the buckets. */
  fileRegion: string;
  /** For another server: the server's URL. */
  fileEndpoint: string;
  /** For another server: what the buckets' names begin with. */
  fileBucketPrefix: string;
  /** For another server: the id of a key for the buckets; secret. */
  fileAccessKey: string;
  /** For another server: the key itself; secret. */
  fileSecretKey: string;
  /** For how many days Spaces keep what the backend has deleted. */
  backupDays: number;
  /** Whether the buckets are protected from deletion. Otherwise `destroy` deletes them with all files. */
  protectData: boolean;
  /** What makes five buckets in the account. Without it, five are used that exist on another S3 server. */
  spaces: Spaces | undefined;
  /** Refuses other buckets for an instance that has run. Run before one is made. */
  refuseSwitch: pulumi.ResourceHook;
}

/** Five buckets, and what opens them. */
export interface FileBuckets {
  /** The server's URL. */
  endpoint: pulumi.Input<string>;
  region: string;
  accessKey: pulumi.Input<string>;
  secretKey: pulumi.Input<string>;
  /** In the order of `USES`. */
  names: pulumi.Input<string>[];
}

/**
 * The buckets in which Convex keeps its files, and the key to use them.
 *
 * *Owns* for Spaces the buckets and their key; for another server, nothing.
 * *Survives* droplet, volume and, if they are protected, `destroy`.
 * *Replacing it means* other, empty buckets. The backend would not notice, and all files would be gone, so it is refused.
 */
export class FileStorage extends pulumi.ComponentResource {
  /** Ready: the names resolve once the buckets exist. */
  readonly buckets: FileBuckets;
  /** For what uses buckets of another server first. */
  readonly inPreview: pulumi.ResourceHook[];

  constructor(name: string, args: FileStorageArgs, opts?: pulumi.ComponentResourceOptions) {
    super("convex-droplet:index:FileStorage", name, {}, opts);
    this.buckets = args.spaces === undefined ? existing(args) : this.#spaces(name, args, args.spaces);
    this.inPreview = args.spaces === undefined ? [refuseBuckets(`${name}-file-buckets`, placeOf(args))] : [];
    this.registerOutputs({ buckets: this.buckets });
  }

  /** Buckets of the account, and one key that can use only these. */
  #spaces(name: string, args: FileStorageArgs, spaces: Spaces): FileBuckets {
    const suffix = spaces.suffix(`${name}-file-buckets-suffix`, this);
    const start = args.label.slice(0, 37).replace(/-+$/, "");
    const buckets = USES.map((use) =>
      spaces.bucket(`${name}-${use}-bucket`, this, {
        name: pulumi.unsecret(pulumi.interpolate`${start}-${use}-${suffix.result}`),
        suffix: `${name}-file-buckets-suffix`,
        region: args.fileRegion,
        daysOfOldVersions: args.backupDays,
        // The backend accepts the parts of an import for as long.
        daysOfUploads: 7,
        protectData: args.protectData,
        refuseSwitch: args.refuseSwitch,
      }),
    );
    const key = spaces.key(`${name}-file-key`, this, `${args.label}-files`, buckets);
    return {
      endpoint: pulumi.interpolate`https://${buckets[0]?.endpoint ?? ""}`,
      region: args.fileRegion,
      accessKey: key.accessKey,
      secretKey: pulumi.secret(key.secretKey),
      names: buckets.map((bucket) => bucket.name),
    };
  }
}

/** Buckets that exist on another server. */
function existing(args: FileStorageArgs): FileBuckets {
  return {
    endpoint: args.fileEndpoint,
    region: args.fileRegion,
    accessKey: pulumi.secret(args.fileAccessKey),
    secretKey: pulumi.secret(args.fileSecretKey),
    names: bucketsWith(args.fileBucketPrefix),
  };
}

function placeOf(args: FileStorageArgs): Place {
  return {
    endpoint: args.fileEndpoint,
    region: args.fileRegion,
    accessKey: args.fileAccessKey,
    secretKey: args.fileSecretKey,
    authority: "",
    buckets: bucketsWith(args.fileBucketPrefix),
    settings: {
      ...{ endpoint: "fileEndpoint", region: "fileRegion", bucket: "fileBucketPrefix" },
      ...{ accessKey: "fileAccessKey", secretKey: "fileSecretKey" },
    },
    named: { is: args.fileBucketPrefix, should: "what the names of five buckets there begin with" },
  };
}

/**
 * The backend's variables for its files: all of them, or none. With some of them, its start script would only warn, and the instance would
 * have its files on the volume for ever.
 */
export function storageVariables(buckets: FileBuckets | undefined): pulumi.Output<[string, string][]> {
  if (buckets === undefined) return pulumi.output([]);
  const { endpoint, region, accessKey, secretKey, names } = buckets;
  return pulumi
    .all([endpoint, accessKey, secretKey, pulumi.all(names)])
    .apply(([url, id, secret, found]): [string, string][] => [
      ["AWS_REGION", region],
      ["AWS_ACCESS_KEY_ID", id],
      ["AWS_SECRET_ACCESS_KEY", secret],
      ["S3_ENDPOINT_URL", url],
      ...USES.map((use, index): [string, string] => [
        `S3_STORAGE_${use.replace("-", "_").toUpperCase()}_BUCKET`,
        found[index] ?? "",
      ]),
      // Every server knows this form of a URL, and a certificate for the host alone is enough.
      ["AWS_S3_FORCE_PATH_STYLE", "true"],
      // Spaces, Ceph and others fail at the checksums of parts, which newer clients send unasked. Convex compares its own.
      ["AWS_S3_DISABLE_CHECKSUMS", "true"],
      ["AWS_REQUEST_CHECKSUM_CALCULATION", "WHEN_REQUIRED"],
      ["AWS_RESPONSE_CHECKSUM_VALIDATION", "WHEN_REQUIRED"],
      // They refuse the header, and encrypt their disks without it.
      ["AWS_S3_DISABLE_SSE", "true"],
    ]);
}
