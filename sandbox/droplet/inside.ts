import { execa } from "execa";

/**
 * Runs one of the droplet's programs inside it, as root.
 *
 * @param init  this computer's id of the droplet's first process
 * @param input  for the program to read
 */
export async function runInside(init: number, command: string[], input = ""): Promise<void> {
  await execa("nsenter", ["--target", String(init), "--mount", "--pid", "--", ...command], { input });
}
