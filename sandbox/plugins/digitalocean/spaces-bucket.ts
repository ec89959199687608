import { randomBytes } from "node:crypto";

import type { BucketCannedACL, LifecycleRule, S3 } from "@aws-sdk/client-s3";

import { type Failure, resource, type ValueOf } from "../framework/definition.ts";
import { failed, initializing } from "../framework/errors.ts";
import type { Clock } from "../framework/state-change.ts";
import { isObject, type PropertyBag } from "../framework/values.ts";
import { type Client, ignoringCase } from "./client.ts";
import { codeOf, failedS3, isMissing, retryOn, s3For } from "./s3.ts";

const REGIONS = ["ams3", "atl1", "blr1", "fra1", "lon1", "nyc3", "sfo2", "sfo3", "sgp1", "syd1", "tor1"];

const RULE = {
  type: "object",
  properties: {
    id: { type: "string", computed: true },
    prefix: { type: "string" },
    enabled: { type: "boolean", required: true },
    abortIncompleteMultipartUploadDays: { type: "integer" },
    expiration: {
      type: "object",
      properties: {
        date: { type: "string" },
        days: { type: "integer" },
        expiredObjectDeleteMarker: { type: "boolean" },
      },
    },
    noncurrentVersionExpiration: { type: "object", properties: { days: { type: "integer" } } },
  },
} as const;

type Rule = ValueOf<typeof RULE>;

const inputs = {
  name: { type: "string", autoname: { maxLength: 255 } },
  region: { type: "string", default: "nyc3", replaces: true, same: ignoringCase, rewritten: true },
  // The API does not return it.
  acl: { type: "string", default: "private" },
  corsRules: { type: "unsupported" },
  forceDestroy: { type: "boolean", default: false },
  // If it is removed from the program, nothing changes.
  versioning: { type: "object", properties: { enabled: { type: "boolean", default: false } }, computed: true },
  lifecycleRules: { type: "list", items: RULE },
} as const;

export const spacesBucket = resource<Client>()({
  inputs,
  outputs: {
    bucketDomainName: { type: "string" },
    bucketUrn: { type: "string" },
    endpoint: { type: "string" },
  },

  check,

  create: async ({ client: { spaces, clock } }, bucket) => {
    const s3 = await s3For(spaces, bucket.region).catch(failed("Error creating bucket"));
    const Bucket = bucket.name;
    const ACL = bucket.acl as BucketCannedACL;
    await retryOn(clock, "OperationAborted", () => s3.createBucket({ Bucket, ACL })).catch(
      failedS3("Error creating Spaces bucket"),
    );
    await retryOn(clock, "NotFound", () => s3.headBucket({ Bucket })).catch(
      failedS3(`Failed to check availability of Spaces bucket ${Bucket}`),
    );
    const given = new Set(Object.keys(bucket));
    return { id: Bucket, outputs: await initializing(Bucket, {}, () => configure(s3, clock, Bucket, bucket, given)) };
  },

  read: async ({ client: { spaces, clock } }, { id, state, inputs: given }) => {
    const region = state.region ?? given.region;
    return read(await s3For(spaces, region).catch(failed("Error reading bucket")), clock, id, given.name);
  },

  update: async ({ client: { spaces, clock } }, { id }, bucket, changed) => {
    const s3 = await s3For(spaces, bucket.region).catch(failed("Error updating bucket"));
    return configure(s3, clock, id, bucket, changed);
  },

  delete: async ({ client: { spaces } }, { id, state, inputs: given }) => {
    const s3 = await s3For(spaces, state.region ?? given.region).catch(failed("Error deleting bucket"));
    const failure = failedS3("Error deleting Spaces Bucket", ` "${given.name}"`);
    for (;;) {
      try {
        await s3.deleteBucket({ Bucket: id });
        return;
      } catch (error) {
        if (codeOf(error) !== "BucketNotEmpty" || !given.forceDestroy) failure(error);
        await deleteObjects(s3, id).catch(failedS3("Error Spaces Bucket force_destroy error deleting"));
      }
    }
  },
});

function check({ region, lifecycleRules }: PropertyBag): Failure[] {
  const failures: Failure[] = [];
  if (typeof region === "string" && !REGIONS.includes(region.toLowerCase())) {
    const reason = `expected region to be one of ["${REGIONS.join('" "')}"], got ${region}`;
    failures.push({ property: "region", reason });
  }
  for (const [index, rule] of (Array.isArray(lifecycleRules) ? lifecycleRules : []).entries()) {
    const expiration = isObject(rule) ? rule["noncurrentVersionExpiration"] : undefined;
    const days = isObject(expiration) ? expiration["days"] : undefined;
    if (typeof days !== "number" || days >= 1) continue;
    const property = `lifecycleRules[${index}].noncurrentVersionExpiration.days`;
    failures.push({ property, reason: `expected ${property} to be at least (1), got ${days}` });
  }
  return failures;
}

type Bucket = Partial<{
  acl: string;
  versioning: { enabled: boolean } | undefined;
  lifecycleRules: Rule[] | undefined;
}>;

/** Puts the settings that changed. */
async function configure(
  s3: S3,
  clock: Clock,
  id: string,
  bucket: Bucket & { name: string },
  changed: ReadonlySet<string>,
) {
  const named = { Bucket: id };
  const put = (what: string, request: () => Promise<unknown>) =>
    retryOn(clock, "NoSuchBucket", request).catch(failedS3(`Error putting ${what}`));
  if (changed.has("acl")) {
    await put("Spaces ACL", () => s3.putBucketAcl({ ...named, ACL: bucket.acl as BucketCannedACL }));
  }
  if (changed.has("versioning")) {
    const Status = bucket.versioning?.enabled ? "Enabled" : "Suspended";
    await put("Spaces versioning", () => s3.putBucketVersioning({ ...named, VersioningConfiguration: { Status } }));
  }
  if (changed.has("lifecycleRules")) {
    const Rules = (bucket.lifecycleRules ?? []).map(sentRule);
    if (Rules.length === 0) await s3.deleteBucketLifecycle(named).catch(failedS3("Error removing S3 lifecycle"));
    else {
      const request = { ...named, LifecycleConfiguration: { Rules } };
      await put("S3 lifecycle", () => s3.putBucketLifecycleConfiguration(request));
    }
  }
  return (await read(s3, clock, id, bucket.name)) ?? {};
}

/** @returns undefined if the bucket is gone */
async function read(s3: S3, clock: Clock, id: string, name = id) {
  const named = { Bucket: id };
  const get = <T>(request: () => Promise<T>) => retryOn(clock, "NoSuchBucket", request);
  try {
    await get(() => s3.headBucket(named));
  } catch (error) {
    if (isMissing(error)) return undefined;
    failedS3(`error reading Spaces bucket "${id}"`)(error);
  }
  const location = await get(() => s3.getBucketLocation(named));
  const region = location.LocationConstraint ?? "nyc3";
  const versioning = await get(() => s3.getBucketVersioning(named));
  const rules = await get(() => s3.getBucketLifecycleConfiguration(named)).catch((error: unknown) => {
    if (codeOf(error) === "NoSuchLifecycleConfiguration") return { Rules: [] };
    throw error;
  });
  return {
    ...{ name, region, versioning: { enabled: versioning.Status === "Enabled" } },
    lifecycleRules: (rules.Rules ?? []).map(shownRule),
    bucketDomainName: `${name}.${region}.digitaloceanspaces.com`,
    bucketUrn: `do:space:${name}`,
    endpoint: `${region}.digitaloceanspaces.com`,
  };
}

function sentRule(rule: Rule): LifecycleRule {
  const { expiration, noncurrentVersionExpiration, abortIncompleteMultipartUploadDays: abortDays } = rule;
  return {
    Filter: { Prefix: rule.prefix ?? "" },
    ID: rule.id || `tf-s3-lifecycle-${randomBytes(13).toString("hex")}`,
    Status: rule.enabled ? "Enabled" : "Disabled",
    ...(abortDays && { AbortIncompleteMultipartUpload: { DaysAfterInitiation: abortDays } }),
    ...(expiration && {
      Expiration: expiration.date
        ? { Date: new Date(`${expiration.date}T00:00:00Z`) }
        : expiration.days
          ? { Days: expiration.days }
          : { ExpiredObjectDeleteMarker: expiration.expiredObjectDeleteMarker ?? false },
    }),
    ...(noncurrentVersionExpiration?.days && {
      NoncurrentVersionExpiration: { NoncurrentDays: noncurrentVersionExpiration.days },
    }),
  };
}

function shownRule(rule: LifecycleRule): Rule {
  const { AbortIncompleteMultipartUpload: abort, Expiration, NoncurrentVersionExpiration: noncurrent } = rule;
  const prefix = rule.Filter?.And?.Prefix ?? rule.Filter?.Prefix;
  return {
    ...(rule.ID && { id: rule.ID }),
    ...(prefix && { prefix }),
    enabled: rule.Status === "Enabled",
    ...(abort && { abortIncompleteMultipartUploadDays: abort.DaysAfterInitiation }),
    ...(Expiration && {
      expiration: {
        ...(Expiration.Date && { date: Expiration.Date.toISOString().slice(0, 10) }),
        ...(Expiration.Days !== undefined && { days: Expiration.Days }),
        ...(Expiration.ExpiredObjectDeleteMarker !== undefined && {
          expiredObjectDeleteMarker: Expiration.ExpiredObjectDeleteMarker,
        }),
      },
    }),
    ...(noncurrent && { noncurrentVersionExpiration: { days: noncurrent.NoncurrentDays } }),
  };
}

/** Deletes one page of the versions and delete markers. */
async function deleteObjects(s3: S3, Bucket: string): Promise<void> {
  const { DeleteMarkers = [], Versions = [] } = await s3.listObjectVersions({ Bucket });
  const Objects = [...DeleteMarkers, ...Versions].map(({ Key, VersionId }) => ({ Key, VersionId }));
  await s3.deleteObjects({ Bucket, Delete: { Objects } });
}
