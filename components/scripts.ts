import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";

/** Where the scripts of `machine/` are on every droplet. */
export const SCRIPTS = "/usr/local/lib/convex-droplet";

/** And where they are here. */
export const SOURCE = path.join(import.meta.dirname, "..", "machine");

/** Quotes one word for a POSIX shell. */
export function quote(word: string | number): string {
  return /^[\w@%+=:,./-]+$/.test(String(word)) ? String(word) : `'${String(word).replaceAll("'", `'\\''`)}'`;
}

/** Names what the scripts say and do now: another text in any of them gives another fingerprint. */
export function fingerprint(): string {
  const hash = createHash("sha256");
  for (const file of scriptFiles()) {
    hash
      .update(`${file}\0`)
      .update(readFileSync(path.join(SOURCE, file)))
      .update("\0");
  }
  return hash.digest("hex").slice(0, 12);
}

/** All files of `machine/`, by their path below it, sorted. */
export function scriptFiles(): string[] {
  return readdirSync(SOURCE, { recursive: true, encoding: "utf8" })
    .filter((name) => statSync(path.join(SOURCE, name)).isFile())
    .toSorted();
}
