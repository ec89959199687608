import type { types } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { fingerprint, namedValues, SCRIPTS, SOURCE, type Values } from "../contract/scripts.ts";

/** How the command provider reaches a droplet: as root, with the stack's deploy key, the host key pinned. */
export type Connection = pulumi.Output<types.input.remote.ConnectionArgs>;

/** What to copy, and where to: the trailing slash copies the folder's content rather than the folder. */
export const machineFiles = {
  source: new pulumi.asset.FileArchive(`${SOURCE}/`),
  remotePath: SCRIPTS,
};

/**
 * A run of one of the scripts of `machine/`: the command, and its values by name on stdin, where a secret among them is in no
 * process list. The scripts' fingerprint rides along as a comment, so that a changed script is run again on machines that have
 * run it before.
 */
export function runScript(
  script: string,
  values: Record<string, pulumi.Input<string | number | string[]>>,
): { create: string; stdin: pulumi.Output<string> } {
  return {
    create: `bash ${SCRIPTS}/${script} # ${fingerprint()}`,
    stdin: pulumi.output(values).apply((known) => namedValues(known as Values)),
  };
}
