import https from "node:https";

import { AwsV4Signer } from "aws4fetch";

/** A server, and a key to use it. */
export interface Server {
  /** Its URL, without a bucket. */
  endpoint: string;
  /** The region that signatures name. */
  region: string;
  /** The id of a key. */
  accessKey: string;
  /** The key itself; secret. */
  secretKey: string;
  /** Certificates of a private authority, PEM; if empty, public authorities are trusted. */
  authority: string;
}

/** What a server says about a bucket, or why it says nothing. */
export type Answer =
  | {
      status: number;
      /** The error's code, such as NoSuchBucket; empty if S3 did not answer with an error. */
      code: string;
      /** Whether it is the list of a bucket. */
      isList: boolean;
      /** The region that the server asks for; empty if it names none. */
      region: string;
    }
  | {
      /** Node's code, such as ENOTFOUND. */
      failure: string;
    };

/** How long a server may take. */
const SECONDS = 10;
/** More than any error needs. */
const LONGEST = 64 * 1024;

/**
 * Asks for the first object of a bucket. A request without a body in its answer, such as HeadBucket, would not show why it is refused.
 */
export async function askFor(bucket: string, server: Server): Promise<Answer> {
  const { endpoint, region, accessKey, secretKey, authority } = server;
  const url = `${endpoint}/${bucket}?list-type=2&max-keys=1`;
  const key = { accessKeyId: accessKey, secretAccessKey: secretKey };
  const { headers } = await new AwsV4Signer({ url, ...key, region, service: "s3" }).sign();
  try {
    return await get(url, Object.fromEntries(headers), authority);
  } catch (error) {
    return { failure: failureOf(error) };
  }
}

/** Not by fetch, which cannot trust a private authority. */
function get(url: string, headers: Record<string, string>, authority: string): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const trusted = authority === "" ? {} : { ca: authority };
    const signal = AbortSignal.timeout(SECONDS * 1000);
    https
      .get(url, { headers, ...trusted, agent: false, signal }, (response) => {
        let body = "";
        response.setEncoding("utf8");
        response.on("error", reject);
        response.on("data", (chunk: string) => {
          if (body.length < LONGEST) body += chunk;
        });
        response.on("end", () => {
          const named = response.headers["x-amz-bucket-region"];
          resolve({
            status: response.statusCode ?? 0,
            code: partOf(body, "Code"),
            isList: body.includes("<ListBucketResult"),
            region: typeof named === "string" && /^[\w-]+$/.test(named) ? named : partOf(body, "Region"),
          });
        });
      })
      .on("error", reject);
  });
}

/** A word in an answer of S3. Other texts are not shown: a server may repeat there what it was asked. */
function partOf(body: string, name: string): string {
  return new RegExp(`<${name}>([\\w-]{1,64})</${name}>`).exec(body)?.[1] ?? "";
}

function failureOf(error: unknown): string {
  if (!(error instanceof Error)) return "unknown";
  if (error.name === "AbortError" || error.name === "TimeoutError") return `no answer within ${SECONDS} s`;
  return "code" in error && typeof error.code === "string" ? error.code : error.name;
}
