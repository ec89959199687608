import { existsSync } from "node:fs";

import { folderOf, stackFileIn } from "../contract/sandbox.ts";
import { quote } from "../contract/scripts.ts";

/**
 * Commands in messages, as the reader has to type them. On a sandbox, all go through the sandbox's own command, which knows
 * its state, cloud and passphrase. That command sets this variable for the programs that it runs.
 */
const ON_SANDBOX = process.env["CONVEX_DROPLET_ON_SANDBOX"] === "true";

/** A stack to name in an example: the sandbox's own is there. */
export const EXAMPLE_STACK = ON_SANDBOX ? "sandbox" : "dev";

/** The Pulumi CLI, for example `npx pulumi`. */
export const PULUMI = ON_SANDBOX ? "npm run sandbox -- pulumi" : "npx pulumi";

/** A command of Pulumi on a stack, for example `npx pulumi up --stack dev --refresh`. */
export function pulumiCommand(stack: string, verb: string, ...rest: string[]): string {
  return [PULUMI, verb, "--stack", stack, ...rest].join(" ");
}

/** A command of this repository on a stack, for example `npm run drift -- --stack dev`. */
export function npmCommand(stack: string, name: string, ...rest: string[]): string {
  return [command(name), "--stack", stack, ...rest].join(" ");
}

/** The command that explains another one, for example `npm run drift -- --help`. */
export function helpCommand(name: string): string {
  return `${command(name)} --help`;
}

function command(name: string): string {
  return ON_SANDBOX ? `npm run sandbox -- ${name}` : `npm run ${name} --`;
}

/** A command in the sandbox's form, if the checkout's sandbox has this stack and the command was not given to it; otherwise undefined. */
export function sandboxCommand(stack: string, words: string[]): string | undefined {
  if (ON_SANDBOX || !existsSync(stackFileIn(folderOf(process.env), stack))) return undefined;
  return ["npm run sandbox --", ...words.map(quote)].join(" ");
}
