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
  const up = startPulumi(cloud, ["up", "--skip-preview", "--stack", stack]);
  try {
    await eventually(moment, 240, async () => {
      if (!(await isTime(up.printed()))) throw new Error(up.printed().slice(-2000));
    });
    process.kill(how === "kill" ? up.pid : -up.pid, how === "kill" ? "SIGKILL" : "SIGINT");
    // After a kill, plugins keep running: they check only every five minutes whether the engine is there. After Ctrl-C, all
    // processes end once the command on the droplet has ended.
    if (how === "Ctrl-C") {
      await eventually("the interrupted up to end, and all that it started", 120, async () => {
        expect((await processesOf(cloud.home)).filter((other) => !before.includes(other))).toEqual([]);
      });
    }
  } catch (error) {
    // An `up` that is still running never came to the moment.
    up.kill();
    throw error;
  }
  return up.ended;
}

/**
 * Starts a command of Pulumi and kills the CLI as soon as it prints that the work on so many resources has ended.
 *
 * @returns whether it was killed, and the resource that it printed last; it is not killed if it ends before
 */
export async function killedAfter(
  cloud: TestCloud,
  words: string[],
  resources: number,
): Promise<Run & { killed: boolean; last: string }> {
  const command = startPulumi(cloud, words);
  const done = () => [...command.printed().matchAll(/:(\w+) ([\w-]+) ((?:creat|updat|replac|delet)ed)(?: \w+)* \(/g)];
  const isTime = new Promise<void>((resolve) => {
    command.onPrinted(() => {
      if (done().length >= resources) resolve();
    });
  });
  const first = await Promise.race([isTime.then(() => "time"), command.ended.then(() => "end")]);
  const [, , name = "", what = ""] = done()[resources - 1] ?? [];
  command.kill("CLI");
  return { ...(await command.ended), killed: first === "time", last: `${name} ${what}` };
}

/** Starts a command of Pulumi in a process group of its own. */
export function startPulumi(cloud: TestCloud, words: string[]) {
  const command = execa("pulumi", [...words, "--yes", "--non-interactive"], {
    cwd: projectFolder(cloud.home),
    env: cloud.env,
    stdin: "ignore",
    all: true,
    reject: false,
    detached: true,
  });
  const pid = command.pid ?? 0;
  let printed = "";
  command.all.on("data", (chunk: Buffer) => (printed += chunk.toString()));
  return {
    pid,
    printed: () => printed,
    onPrinted: (act: () => void) => command.all.on("data", act),
    kill: (what: "CLI" | "all" = "all") => {
      if (command.exitCode === null) process.kill(what === "CLI" ? pid : -pid, "SIGKILL");
    },
    ended: command.then(({ exitCode, stdout, all }): Run => ({ exitCode: exitCode ?? 137, stdout, all })),
  };
}
