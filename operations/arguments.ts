import { parseArgs } from "node:util";

import { EXAMPLE_STACK, helpCommand, npmCommand } from "./typed.ts";

/** A mistake in a command's arguments. The command's help shows what they should be. */
export class UsageError extends Error {}

/**
 * The stack in a command's arguments.
 *
 * @throws Error if there is none; the message shows how to name one
 */
export function requireStack(command: string, stack: string | undefined): string {
  if (stack === undefined || stack === "") throw new Error(noStack(command));
  return stack;
}

/** What to print about a command's error; after a mistake in its arguments, also where its help is. */
export function messageOf(error: unknown, command: string): string {
  if (!(error instanceof Error)) return String(error);
  const { message, code } = error as NodeJS.ErrnoException;
  const isOfNode = code?.startsWith("ERR_PARSE_ARGS") === true;
  if (!isOfNode && !(error instanceof UsageError)) return message;
  if (isOfNode && /^Option '(-s, --stack <value>|--stack|-s)' argument/.test(message)) return noStack(command);
  // Node's further lines are about values that start with a dash, which no option has.
  return `${message.replace(/\n.*/s, "")}\nSee: ${helpCommand(command)}`;
}

function noStack(command: string): string {
  return `${command}: no stack given. Name one: ${npmCommand(EXAMPLE_STACK, command)}`;
}

/**
 * The function that prints in the format that was asked for.
 *
 * @throws Error if the format is unknown; the message lists the known ones
 */
export function chooseFormat<T>(formats: Record<string, T>, name: string): T {
  const format = formats[name];
  if (format === undefined) {
    throw new UsageError(`--format: ${name} is not known, it should be one of ${Object.keys(formats).join(", ")}.`);
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
