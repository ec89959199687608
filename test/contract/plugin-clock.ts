import { appendFileSync, readFileSync, writeFileSync } from "node:fs";
import type { Clock } from "../../sandbox/plugins/framework/state-change.ts";
import { systemClock } from "../../sandbox/plugins/framework/state-change.ts";

const SPEED = 100;

/**
 * A plugin's clock on which a hundred seconds take one. It writes each sleep to the file that `PLUGIN_SLEEPS` names, which
 * tests read with {@link sleepsIn}.
 */
export const fastClock: Clock = {
  now: () => systemClock.now() * SPEED,
  sleep: async (milliseconds, signal) => {
    const file = process.env["PLUGIN_SLEEPS"];
    if (file !== undefined) appendFileSync(file, `${milliseconds / 1000}\n`);
    await systemClock.sleep(milliseconds / SPEED, signal);
  },
};

/** The sleeps since the file was last read, in seconds. */
export function sleepsIn(file: string): number[] {
  const lines = readFileSync(file, { encoding: "utf8", flag: "a+" }).split("\n");
  writeFileSync(file, "");
  return lines.filter((line) => line !== "").map(Number);
}

/**
 * The waits of an operation, for both kinds of plugin: a stand-in with the fast clock records them, an original really
 * waits.
 */
export class Waits {
  readonly #file: string;
  readonly #original: boolean;
  #since = performance.now();

  constructor(file: string, original: boolean) {
    this.#file = file;
    this.#original = original;
  }

  restart(): void {
    sleepsIn(this.#file);
    this.#since = performance.now();
  }

  /** Whether there were this many waits of this many seconds since the last look. */
  had(count: number, seconds: number): boolean {
    const sleeps = sleepsIn(this.#file);
    const passed = (performance.now() - this.#since) / 1000;
    this.restart();
    if (this.#original) return passed >= count * seconds && passed < (count + 1) * seconds;
    return sleeps.filter((sleep) => sleep === seconds).length === count;
  }

  /**
   * Whether these were the waits since the last look, in seconds; `rest` is a last one of any length. An original may take
   * some more time for its work.
   */
  were(...waits: (number | "rest")[]): boolean {
    const sleeps = sleepsIn(this.#file);
    const passed = (performance.now() - this.#since) / 1000;
    this.restart();
    const total = waits.reduce<number>((sum, wait) => sum + (wait === "rest" ? 0 : wait), 0);
    if (this.#original) return passed >= total * 0.98 && passed < total + 10;
    // On a busy computer, the rest may begin one wait earlier.
    const steps = waits.at(-1) === "rest" ? sleeps.slice(0, -1) : sleeps;
    const least = waits.at(-1) === "rest" ? waits.length - 2 : waits.length;
    return steps.length >= least && steps.every((sleep, index) => sleep === waits[index]);
  }
}
