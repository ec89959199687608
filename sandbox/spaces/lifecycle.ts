import { existsSync } from "node:fs";
import { mkdir, readFile, rm } from "node:fs/promises";
import type { ServerResponse } from "node:http";
import path from "node:path";

import { writeFileAtomically } from "../atomic-file.ts";
import { S3_ERRORS, sendError, sendXml } from "./errors.ts";

/**
 * The lifecycle rules of buckets, in files: versitygw has none. They are kept and shown, but not applied.
 */
export class Lifecycles {
  readonly #folder: string;

  /** @param folder  made with the first rules */
  constructor(folder: string) {
    this.#folder = folder;
  }

  /** Answers a request that versitygw has authorized for an existing bucket. */
  async answer(method: string, bucket: string, body: string, response: ServerResponse): Promise<void> {
    const file = this.#file(bucket);
    if (method === "GET") {
      if (existsSync(file)) sendXml(response, 200, await readFile(file, "utf8"));
      else sendError(response, S3_ERRORS.noLifecycle);
    } else if (method === "DELETE") {
      await this.forget(bucket);
      response.writeHead(204).end();
    } else if (isValid(body)) {
      await mkdir(this.#folder, { recursive: true, mode: 0o700 });
      await writeFileAtomically(file, body.replace(/^\s*<\?xml[^>]*\?>\s*/, ""));
      response.writeHead(200, { "content-length": 0 }).end();
    } else {
      sendError(response, S3_ERRORS.badXml);
    }
  }

  /** Removes a bucket's rules, if it has any. */
  async forget(bucket: string): Promise<void> {
    await rm(this.#file(bucket), { force: true });
  }

  #file(bucket: string): string {
    return path.join(this.#folder, `${bucket}.xml`);
  }
}

/** Checks what a wrong client most likely gets wrong: each rule has a status and an action, and each number of days counts. */
function isValid(xml: string): boolean {
  const rules = [...xml.matchAll(/<Rule>(.*?)<\/Rule>/gs)].map(([, rule = ""]) => rule);
  return (
    /^\s*(<\?xml[^>]*\?>\s*)?<LifecycleConfiguration[\s>].*<\/LifecycleConfiguration>\s*$/s.test(xml) &&
    rules.length > 0 &&
    rules.every(
      (rule) =>
        /<Status>(Enabled|Disabled)<\/Status>/.test(rule) &&
        /<(Expiration|NoncurrentVersionExpiration|AbortIncompleteMultipartUpload)>/.test(rule) &&
        [...rule.matchAll(/<(?:Noncurrent)?Days(?:AfterInitiation)?>(.*?)</g)].every(([, days = ""]) =>
          /^[1-9]\d*$/.test(days),
        ),
    )
  );
}
