import { createInterface } from "node:readline";
import { PassThrough } from "node:stream";

import * as pulumi from "@pulumi/pulumi";

import { dial, type Target } from "./connect.ts";
import { runRemotely } from "./run.ts";

/**
 * Runs a command on a machine, from a hook of the program. The lines of its stderr appear in the log of the run.
 *
 * @throws Error with the last of these lines, if the command fails; UnreachableError if the machine cannot be reached
 */
export async function runLogged(target: Target, command: string, stdin: string): Promise<void> {
  const client = await dial(target);
  try {
    const stderr = new PassThrough();
    let last = "";
    createInterface(stderr).on("line", (line) => {
      last = line;
      void pulumi.log.info(line);
    });
    const { exitCode } = await runRemotely(client, command, stdin, stderr);
    if (exitCode !== 0) throw new Error(last === "" ? `${command}: ended with exit code ${exitCode}` : last);
  } finally {
    client.end();
  }
}
