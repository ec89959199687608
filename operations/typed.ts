import { existsSync } from "node:fs";

import { ON_SANDBOX } from "../contract/commands.ts";
import { folderOf, stackFileIn } from "../contract/sandbox.ts";
import { quote } from "../contract/scripts.ts";

// Commands of this repository in messages; those of Pulumi are in contract/commands.ts.

/** A stack to name in an example: the sandbox's own is there. */
export const EXAMPLE_STACK = ON_SANDBOX ? "sandbox" : "dev";

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
