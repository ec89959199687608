import type { IncomingMessage, ServerResponse } from "node:http";
import { Transform } from "node:stream";

import { type S3Error, S3_ERRORS } from "./errors.ts";

/**
 * A failure on demand of a request to Spaces, after `delayMilliseconds`:
 *
 * - `refused`: the key is not valid (403 InvalidAccessKeyId). `error`: 500 InternalError. `full`: 403 QuotaExceeded.
 * - `cut`: the connection is closed when half of the request's body, or of the answer's, has passed.
 * - `none`: only the delay.
 */
export interface SpacesFault {
  kind: "spaces";
  effect: "refused" | "error" | "full" | "cut" | "none";
  /** Undefined matches every method. */
  method?: string;
  /** A regular expression for `/BUCKET/KEY?QUERY`. */
  path: string;
  /** Undefined matches every key. */
  accessKey?: string;
  delayMilliseconds: number;
}

export const SPACES_EFFECTS = ["refused", "error", "full", "cut", "none"] as const;

export function errorOf(fault: SpacesFault): S3Error | undefined {
  if (fault.effect === "refused") return S3_ERRORS.refused;
  if (fault.effect === "error") return S3_ERRORS.internal;
  return fault.effect === "full" ? S3_ERRORS.full : undefined;
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
