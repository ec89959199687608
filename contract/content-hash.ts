import { createHash } from "node:crypto";

/** Eight hexadecimal digits for the name of a file that a container mounts: with another content, it is another file. */
export function contentHash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 8);
}
