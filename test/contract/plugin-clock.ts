import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import type { Clock } from "../../sandbox/plugins/framework/state-change.ts";
import { systemClock } from "../../sandbox/plugins/framework/state-change.ts";

const SPEED = 100;

/**
 * A plugin's clock on which a hundred seconds take one. How long was slept is written to the file that `PLUGIN_SLEEPS`
 * names, for a test to look at with {@link sleepsIn}.
 */
export const fastClock: Clock = {
  now: () => systemClock.now() * SPEED,
  sleep: async (milliseconds, signal) => {
    const file = process.env["PLUGIN_SLEEPS"];
    if (file !== undefined) appendFileSync(file, `${milliseconds / 1000}\n`);
    await systemClock.sleep(milliseconds / SPEED, signal);
  },
};

/** Seconds of each sleep since the file was last looked at. */
export function sleepsIn(file: string): number[] {
  const lines = readFileSync(file, { encoding: "utf8", flag: "a+" }).split("\n");
  writeFileSync(file, "");
  return lines.filter((line) => line !== "").map(Number);
}
