import { readdirSync, readFileSync } from "node:fs";

/**
 * The id of the process with exactly this command line, if one runs. A file with its id would outlive it, and would be
 * missing if its parent was killed right after the start.
 */
export function findProcess(...command: string[]): number | undefined {
  const commandLine = command.map((word) => `${word}\0`).join("");
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry))
    .map(Number)
    .find((pid) => commandLineOf(pid) === commandLine);
}

function commandLineOf(pid: number): string | undefined {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    // It has ended.
    return undefined;
  }
}
