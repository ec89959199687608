import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** A setting of the stack; if it is not set, the program's default. */
export async function readSetting(stack: string, key: string): Promise<string> {
  const { stdout } = await promisify(execFile)("pulumi", ["config", "get", key, "--stack", stack]);
  return stdout.trim();
}

/** The paths of findings that are about something else on the droplet, as the stack's settings list them. */
export async function readIgnored(stack: string): Promise<string[]> {
  return JSON.parse(await readSetting(stack, "driftIgnore")) as string[];
}
