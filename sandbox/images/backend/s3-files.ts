import { createHash, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import https from "node:https";
import type { CompletedPart, S3 } from "@aws-sdk/client-s3";
import { S3 as Client } from "@aws-sdk/client-s3";
import type { FileStorage, StoredFile } from "./stored-files.ts";

/** The smallest part of an upload that S3 accepts, except for the last one. */
const PART_BYTES = 5 * 1024 * 1024;

/** The authorities that the original trusts. Node has its own. */
const AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt";

type Environment = Record<string, string | undefined>;

/** Files in a bucket, below a prefix that is only this database's. As in the original, each is an upload in parts. */
export class S3Files implements FileStorage {
  readonly #client: S3;
  readonly #bucket: string;
  readonly #prefix: string;
  readonly #hints: { create: object; part: object };

  /** @throws Error without credentials */
  constructor(prefix: string, env: Environment) {
    const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey } = env;
    if (!accessKeyId || !secretAccessKey)
      throw new Error("No AWS credentials were found by the default provider chain.");
    const ca = readFileSync(env["SSL_CERT_FILE"] ?? AUTHORITIES);
    this.#client = new Client({
      region: env["AWS_REGION"] ?? "",
      credentials: { accessKeyId, secretAccessKey },
      forcePathStyle: env["AWS_S3_FORCE_PATH_STYLE"] === "true",
      requestHandler: { httpsAgent: new https.Agent({ ca, keepAlive: true }) },
      ...(env["S3_ENDPOINT_URL"] !== undefined && { endpoint: env["S3_ENDPOINT_URL"] }),
    });
    this.#bucket = env["S3_STORAGE_FILES_BUCKET"] ?? "";
    this.#prefix = prefix;
    const checksum = env["AWS_S3_DISABLE_CHECKSUMS"] === "true" ? {} : { ChecksumAlgorithm: "CRC32" };
    const encryption = env["AWS_S3_DISABLE_SSE"] === "true" ? {} : { ServerSideEncryption: "AES256" };
    this.#hints = { create: { ...checksum, ...encryption }, part: checksum };
  }

  async store(body: AsyncIterable<Uint8Array>): Promise<StoredFile> {
    const storageId = randomUUID();
    const object = this.#object(storageId);
    const hash = createHash("sha256");
    let size = 0;
    const { UploadId } = await this.#client.createMultipartUpload({ ...object, ...this.#hints.create });
    const upload = { ...object, UploadId };
    try {
      const parts: CompletedPart[] = [];
      for await (const part of inParts(body)) {
        hash.update(part);
        size += part.length;
        const PartNumber = parts.length + 1;
        const sent = await this.#client.uploadPart({ ...upload, ...this.#hints.part, PartNumber, Body: part });
        parts.push({ PartNumber, ETag: sent.ETag, ChecksumCRC32: sent.ChecksumCRC32 });
      }
      await this.#client.completeMultipartUpload({ ...upload, MultipartUpload: { Parts: parts } });
    } catch (error) {
      await this.#client.abortMultipartUpload(upload).catch(() => undefined);
      throw error;
    }
    return { storageId, sha256: hash.digest("base64"), size };
  }

  async read(storageId: string): Promise<ReadableStream<Uint8Array>> {
    const { Body } = await this.#client.getObject(this.#object(storageId));
    if (!Body) throw new Error(`${storageId}: has no content`);
    return Body.transformToWebStream() as ReadableStream<Uint8Array>;
  }

  #object(storageId: string): { Bucket: string; Key: string } {
    return { Bucket: this.#bucket, Key: `${this.#prefix}${storageId}` };
  }
}

/** At least one part, because an upload without any cannot be completed. */
async function* inParts(body: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  let chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    chunks.push(chunk);
    size += chunk.length;
    if (size < PART_BYTES) continue;
    yield Buffer.concat(chunks);
    [chunks, size] = [[], 0];
  }
  // An upload of exactly some parts ends with an empty one, which S3 accepts.
  yield Buffer.concat(chunks);
}
