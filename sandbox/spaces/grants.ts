import type { S3Request } from "./request.ts";

export interface Grant {
  /** Empty for `fullaccess`, which is for all buckets. */
  bucket: string;
  permission: "read" | "readwrite" | "fullaccess";
}

/** The queries with which a limited key may read a bucket: lists, location and versioning. */
const BUCKET_QUERIES =
  /^(list-type|prefix|delimiter|marker|max-keys|encoding-type|continuation-token|start-after|fetch-owner|versions|key-marker|version-id-marker|uploads|upload-id-marker|max-uploads|location|versioning)$/;
const OBJECT_QUERIES = /^(versionId|partNumber|part-number-marker|max-parts|uploads|uploadId|response-.*|attributes)$/;
/** Signatures and hints, which do not change what a request is about. */
export const NEUTRAL_QUERIES = /^(x-id|x-amz-.*)$/i;

/**
 * Whether a key may do this. A key with full access may do everything. A limited key may read, or read and write, the objects
 * of its buckets, but neither create, delete or configure a bucket, nor list the account's.
 */
export function isAllowed(grants: readonly Grant[], request: S3Request): boolean {
  if (grants.some(({ permission }) => permission === "fullaccess")) return true;
  if (!request.isClear || request.bucket === undefined) return false;
  const may = (bucket: string | undefined, permissions: string[]) =>
    grants.some((grant) => grant.bucket === bucket && permissions.includes(grant.permission));
  const reads = request.method === "GET" || request.method === "HEAD";
  if (!may(request.bucket, reads ? ["read", "readwrite"] : ["readwrite"])) return false;
  if (request.copySource !== undefined && !may(request.copySource.split("/")[0], ["read", "readwrite"])) return false;
  const queries = [...request.query.keys()].filter((name) => !NEUTRAL_QUERIES.test(name));
  if (request.key !== undefined) return queries.every((name) => OBJECT_QUERIES.test(name));
  if (reads) return queries.every((name) => BUCKET_QUERIES.test(name));
  return request.method === "POST" && queries.length === 1 && queries[0] === "delete";
}
