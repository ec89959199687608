import { execa } from "execa";

/**
 * Runs one of the programs of a droplet or another container inside it, as root.
 *
 * @param init  this computer's id of the container's first process
 * @param input  for the program to read
 * @returns what it prints
 */
export async function runInside(init: number, command: string[], input = ""): Promise<string> {
  const { stdout } = await execa("nsenter", ["--target", String(init), "--mount", "--pid", "--", ...command], {
    input,
  });
  return stdout;
}
