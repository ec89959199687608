import { execFile } from "node:child_process";
import { promisify } from "node:util";

/** A setting of the stack; if it is not set, the program's default. */
export async function readSetting(stack: string, key: string): Promise<string> {
  const { stdout } = await promisify(execFile)("pulumi", ["config", "get", key, "--stack", stack]);
  return stdout.trim();
}
