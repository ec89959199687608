import { execa } from "execa";
import { expect } from "vitest";

import { processesOf } from "../../sandbox/engine/processes.ts";
import { projectFolder } from "../../sandbox/project.ts";
import { eventually, type Run, type TestCloud } from "./harness.ts";

/**
 * Starts an `up` and interrupts or kills it. Ctrl-C reaches all processes in a terminal's foreground; a kill only the CLI.
 *
 * @param isTime  gets the output so far
 */
export async function endedUp(
  cloud: TestCloud,
  stack: string,
  how: "Ctrl-C" | "kill",
  moment: string,
  isTime: (printed: string) => boolean | Promise<boolean>,
): Promise<Run> {
  const before = await processesOf(cloud.home);
  const up = execa("pulumi", ["up", "--yes", "--skip-preview", "--non-interactive", "--stack", stack], {
    cwd: projectFolder(cloud.home),
    env: cloud.env,
    stdin: "ignore",
    all: true,
    reject: false,
    detached: true,
  });
  const pid = up.pid ?? 0;
  let printed = "";
  up.all.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  try {
    await eventually(moment, 240, async () => {
      if (!(await isTime(printed))) throw new Error(printed.slice(-2000));
    });
    process.kill(how === "kill" ? pid : -pid, how === "kill" ? "SIGKILL" : "SIGINT");
    // After a kill, plugins keep running: they check only every five minutes whether the engine is there. After Ctrl-C, all
    // processes end once the command on the droplet has ended.
    if (how === "Ctrl-C") {
      await eventually("the interrupted up to end, and all that it started", 120, async () => {
        expect((await processesOf(cloud.home)).filter((other) => !before.includes(other))).toEqual([]);
      });
    }
  } catch (error) {
    // An `up` that is still running never came to the moment.
    if (up.exitCode === null) process.kill(-pid, "SIGKILL");
    throw error;
  }
  const { exitCode, stdout, all } = await up;
  return { exitCode: exitCode ?? 137, stdout, all };
}
