import type { IncomingMessage } from "node:http";

import { SPACES_DOMAIN, SPACES_REGIONS } from "../spaces-regions.ts";

/** What the sandbox must know about a request to Spaces before it passes it on. */
export interface S3Request {
  method: string;
  region: string;
  /** Path and query, as the client signed them. */
  target: string;
  /** Absent for a request about the account, such as a list of buckets. */
  bucket?: string;
  /** Absent for a request about a bucket. */
  key?: string;
  query: URLSearchParams;
  /** The id of the key that signed it; absent if it is anonymous. */
  accessKey?: string;
  /** The region in the signature; Spaces accepts any. */
  signedRegion: string;
  /** `BUCKET/KEY` of the object that it copies. */
  copySource?: string;
  /** Whether its parts can be understood in only one way. */
  isClear: boolean;
}

/** Whether a request is for Spaces: its host is one of their names. Clients that use a proxy put the host into the URL. */
export function isForSpaces(request: IncomingMessage): boolean {
  return hostOf(request).endsWith(SPACES_DOMAIN);
}

/** @returns undefined if no region has this host name */
export function readRequest(request: IncomingMessage): S3Request | undefined {
  const host = new RegExp(`^(?:([a-z0-9.-]+)\\.)?([a-z0-9]+)\\.${SPACES_DOMAIN.replace(".", "\\.")}$`).exec(
    hostOf(request),
  );
  const [, bucketOfHost, region = ""] = host ?? [];
  if (!SPACES_REGIONS.some((known) => known === region)) return undefined;
  const target = targetOf(request);
  const [path = "", search = ""] = splitOnce(target, "?");
  const segments = path.split("/").slice(1).map(decode);
  const bucket = bucketOfHost ?? segments.shift();
  const key = segments.join("/");
  const query = new URLSearchParams(search);
  const signers = [request.headers.authorization ?? "", query.get("X-Amz-Credential") ?? ""].filter(Boolean);
  const credential = /(?:^|Credential=)([^\s/,=]+)\/\d{8}\/([^/]+)\/s3\//.exec(signers[0] ?? "");
  const copied = request.headers["x-amz-copy-source"];
  const copySource = typeof copied === "string" ? decode(copied).replace(/^\//, "") : undefined;
  const paths = [...segments, ...(copySource?.split("/") ?? [])];
  return {
    ...{ method: request.method ?? "GET", region, target, query },
    ...(bucket && { bucket }),
    ...(bucket && key && { key }),
    ...(credential?.[1] !== undefined && { accessKey: credential[1] }),
    signedRegion: /^[a-z0-9-]{1,32}$/.exec(credential?.[2] ?? "")?.[0] ?? "us-east-1",
    ...(copySource !== undefined && { copySource }),
    // The server behind resolves such segments, and takes the first of several domains.
    isClear:
      signers.length < 2 &&
      !(bucketOfHost ?? "").includes(SPACES_DOMAIN) &&
      !paths.some((segment) => segment === "." || segment === "..") &&
      !path.startsWith("//"),
  };
}

function hostOf(request: IncomingMessage): string {
  const absolute = /^https?:\/\/([^/?]+)/.exec(request.url ?? "")?.[1];
  return (absolute ?? request.headers.host ?? "").toLowerCase().replace(/:\d+$/, "");
}

function targetOf(request: IncomingMessage): string {
  const target = (request.url ?? "").replace(/^https?:\/\/[^/?]+/, "");
  return target.startsWith("/") ? target : `/${target}`;
}

function splitOnce(text: string, separator: string): string[] {
  const index = text.indexOf(separator);
  return index < 0 ? [text] : [text.slice(0, index), text.slice(index + 1)];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
