import { execa } from "execa";

/**
 * Runs a command of the droplet's own inside it, as root.
 *
 * @param init the droplet's first process, as this computer numbers it.
 */
export async function runInside(init: number, command: string[]): Promise<void> {
  await execa("nsenter", ["--target", String(init), "--mount", "--pid", "--", ...command]);
}
