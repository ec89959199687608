import type { types } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { fingerprint, quote, SCRIPTS, SOURCE } from "./scripts.ts";

/** How the command provider reaches a droplet: as root, with the stack's deploy key, the host key pinned. */
export type Connection = pulumi.Output<types.input.remote.ConnectionArgs>;

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
  const version = fingerprint();
  return pulumi
    .all(args)
    .apply((values) => `bash ${[`${SCRIPTS}/${script}`, ...values.map(quote)].join(" ")} # ${version}`);
}
