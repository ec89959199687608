import { createHash } from "node:crypto";
import { readdirSync, readFileSync, statSync } from "node:fs";
import path from "node:path";

import type { types } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

/** How the command provider reaches a droplet: as root, with the stack's deploy key, the host key pinned. */
export type Connection = pulumi.Output<types.input.remote.ConnectionArgs>;

/** Where the scripts of `machine/` are on every droplet. */
const SCRIPTS = "/usr/local/lib/convex-droplet";

const SOURCE = path.join(import.meta.dirname, "..", "machine");

/** What to copy, and where to: the trailing slash copies the folder's content rather than the folder. */
export const machineFiles = {
  source: new pulumi.asset.FileArchive(`${SOURCE}/`),
  remotePath: SCRIPTS,
};

/**
 * The command line that runs one of the scripts of `machine/`. The scripts' fingerprint rides along as a comment, so that
 * a changed script is run again on machines that have run it before.
 */
export function runScript(script: string, ...args: pulumi.Input<string | number>[]): pulumi.Output<string> {
  const fingerprint = hashFolder(SOURCE);
  return pulumi
    .all(args)
    .apply((values) => `bash ${[`${SCRIPTS}/${script}`, ...values.map(quote)].join(" ")} # ${fingerprint}`);
}

/** Quotes one word for a POSIX shell. */
export function quote(word: string | number): string {
  return /^[\w@%+=:,./-]+$/.test(String(word)) ? String(word) : `'${String(word).replaceAll("'", `'\\''`)}'`;
}

function hashFolder(folder: string): string {
  const hash = createHash("sha256");
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  for (const file of files.filter((name) => statSync(path.join(folder, name)).isFile())) {
    hash
      .update(`${file}\0`)
      .update(readFileSync(path.join(folder, file)))
      .update("\0");
  }
  return hash.digest("hex").slice(0, 12);
}
