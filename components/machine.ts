import type { types } from "@pulumi/command";
import * as pulumi from "@pulumi/pulumi";

import { valueOf } from "../contract/value-of.ts";
import { fingerprint, namedValues, SCRIPTS, SOURCE, type Values } from "../contract/scripts.ts";

/** The command provider's connection to a droplet: as root, with the stack's deploy key, the host key pinned. */
export type Connection = pulumi.Output<types.input.remote.ConnectionArgs>;

/** A machine, as a hook reaches it. */
interface Target {
  host: string;
  privateKey: string;
  hostKey: string;
}

/** Runs a command on a machine from a hook, with its stderr in the log of the run; rejects if it fails. */
export type RunLogged = (target: Target, command: string, stdin: string) => Promise<void>;

/** The machine that a connection of the command provider leads to. */
export async function targetOf(connection: Connection): Promise<Target> {
  const { host, privateKey = "", hostKey = "" } = await valueOf(connection);
  return { host, privateKey, hostKey };
}

/** The scripts, and their folder on the droplet. The trailing slash copies the folder's content instead of the folder. */
export const machineFiles = {
  source: new pulumi.asset.FileArchive(`${SOURCE}/`),
  remotePath: SCRIPTS,
};

/**
 * A run of a script of `machine/`: the command, and the values by name on stdin, where no process list shows a secret. A comment
 * contains the scripts' fingerprint, so that a changed script runs again on existing machines.
 */
export function runScript(
  script: string,
  values: Record<string, pulumi.Input<string | number | pulumi.Input<string>[]>>,
): { create: string; stdin: pulumi.Output<string> } {
  return {
    create: `bash ${SCRIPTS}/${script} # ${fingerprint()}`,
    stdin: pulumi.output(values).apply((known) => namedValues(known as Values)),
  };
}
