import { npmCommand } from "./typed.ts";

/**
 * The stack that a command was given.
 *
 * @throws Error with the way to name one
 */
export function requireStack(command: string, stack: string | undefined): string {
  if (stack === undefined) {
    throw new Error(`${command}: no stack given. Name one: ${npmCommand("dev", command)}`);
  }
  return stack;
}

/**
 * What prints in the format that was asked for.
 *
 * @throws Error naming those that there are
 */
export function chooseFormat<T>(formats: Record<string, T>, name: string): T {
  const format = formats[name];
  if (format === undefined) {
    throw new Error(`--format: ${name} is not known, it should be ${Object.keys(formats).join(", ")}.`);
  }
  return format;
}
