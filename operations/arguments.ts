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
