import type { IncomingMessage, ServerResponse } from "node:http";
import { Transform } from "node:stream";

import { type S3Error, S3_ERRORS } from "./errors.ts";

/**
 * A failure on demand of a request to Spaces, after `delayMilliseconds`:
 *
 * - `refused`: the key is not valid (403 InvalidAccessKeyId). `expired`: it was (400 ExpiredToken). `error`: 500 InternalError. `full`: 403 QuotaExceeded.
 * - `cut`: the connection is closed when half of the request's body, or of the answer's, has passed.
 * - `none`: only the delay.
 */
export interface SpacesFault {
  kind: "spaces";
  effect: (typeof SPACES_EFFECTS)[number];
  /** Undefined matches every method. */
  method?: string;
  /** A regular expression for `/BUCKET/KEY?QUERY`. */
  path: string;
  /** Undefined matches every key. */
  accessKey?: string;
  delayMilliseconds: number;
}

export const SPACES_EFFECTS = ["refused", "expired", "error", "full", "cut", "none"] as const;

export function errorOf(fault: SpacesFault): S3Error | undefined {
  const { refused, expired, internal, full } = S3_ERRORS;
  return { refused, expired, error: internal, full, cut: undefined, none: undefined }[fault.effect];
}

/** Passes the first half of a message on, and then closes the client's connection. */
export function cutter(message: IncomingMessage, response: ServerResponse): Transform {
  const half = Number(message.headers["content-length"] ?? 2) / 2;
  let passed = 0;
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      const rest = Math.max(0, Math.floor(half) - passed);
      passed += chunk.length;
      if (passed < half) {
        done(null, chunk);
        return;
      }
      this.push(chunk.subarray(0, rest));
      // Lets the first half arrive.
      setTimeout(() => response.destroy(), 50);
    },
  });
}
