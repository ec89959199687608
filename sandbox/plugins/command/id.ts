import { randomBytes } from "node:crypto";

/** The official plugin's ids: a prefix and eight random hexadecimal digits. */
export function uniqueId(prefix: string): string {
  return prefix + randomBytes(4).toString("hex");
}
