import { parseArgs } from "node:util";

import { npmCommand } from "./typed.ts";

/**
 * The stack in a command's arguments.
 *
 * @throws Error if there is none; the message shows how to name one
 */
export function requireStack(command: string, stack: string | undefined): string {
  if (stack === undefined) {
    throw new Error(`${command}: no stack given. Name one: ${npmCommand("dev", command)}`);
  }
  return stack;
}

/**
 * The function that prints in the format that was asked for.
 *
 * @throws Error if the format is unknown; the message lists the known ones
 */
export function chooseFormat<T>(formats: Record<string, T>, name: string): T {
  const format = formats[name];
  if (format === undefined) {
    throw new Error(`--format: ${name} is not known, it should be ${Object.keys(formats).join(", ")}.`);
  }
  return format;
}

/**
 * The arguments of a command with verbs, of which one lists something. Prints the help if it is asked for.
 *
 * @returns undefined after the help; otherwise stack, format and the words, such as a verb
 * @throws Error if an option is unknown, there is no stack, or the format is unknown
 */
export function readListing<T>(
  command: string,
  help: string,
  formats: Record<string, T>,
  args: string[],
): { stack: string; format: T; words: string[] } | undefined {
  const { values, positionals } = parseArgs({
    args,
    options: {
      stack: { type: "string", short: "s" },
      format: { type: "string", default: "text" },
      help: { type: "boolean", short: "h" },
    },
    allowPositionals: true,
  });
  if (values.help === true) {
    process.stdout.write(help);
    return undefined;
  }
  return {
    stack: requireStack(command, values.stack),
    format: chooseFormat(formats, values.format),
    words: positionals,
  };
}
